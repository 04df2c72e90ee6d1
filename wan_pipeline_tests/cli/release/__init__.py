"""`wan release`."""
