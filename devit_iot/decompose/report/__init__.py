"""What a run has reached, in words, tables and pictures."""
