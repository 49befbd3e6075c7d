"""The owner's side of a secure fleet: certificates, access lists, the broker's configuration."""
