"""The file format of a fleet: manifest, shapes, tensors, storage, signature."""
