"""Classes of one's own on a fleet that is there: a head is fitted to its features, and measured."""
