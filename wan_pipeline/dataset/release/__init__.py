"""Immutable, named versions of prompt sets: made once, checked by every reader, never changed."""
