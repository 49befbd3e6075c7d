"""What a run keeps on disk, its progress and its clock."""
