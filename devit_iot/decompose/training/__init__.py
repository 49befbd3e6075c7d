"""The training loop, its batches, and the stored answers of the teacher."""
