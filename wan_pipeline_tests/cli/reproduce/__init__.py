"""`wan reproduce`."""
