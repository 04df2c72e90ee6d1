"""Prompt matrices: from a YAML file to the rows of a prompt table."""
