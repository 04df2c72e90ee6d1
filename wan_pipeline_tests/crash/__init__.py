"""Killing whole processes, and what the next run makes of it."""
