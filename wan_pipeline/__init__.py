"""Prompt tables in, trainable image datasets out, every image paid for once."""

__all__ = ["__version__"]

__version__ = "0.1.0"
