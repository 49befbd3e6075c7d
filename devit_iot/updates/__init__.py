"""A member's side of an update: fetches a release, proves it, serves it, returns from it."""
