"""The hub: keeps a fleet's releases, gives out parts, and leads from one release to the next."""
