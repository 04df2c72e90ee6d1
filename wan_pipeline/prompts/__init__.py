"""Prompt tables: reading, validation, expansion into requests, identity and seeds."""
