"""Errors of traces; each message says what is wrong and what to do."""

from __future__ import annotations

__all__ = [
    "NothingFoundError",
    "TraceError",
    "UnclearTraceError",
    "UnknownFileError",
    "UnreadableFileError",
]


class TraceError(Exception):
    """What was asked for leads nowhere, or to several things."""


class NothingFoundError(TraceError):
    """Nothing is known under that word."""


class UnknownFileError(TraceError):
    """The file is there, its bytes are no image that is known, and it names none."""


class UnclearTraceError(TraceError):
    """The word means several things."""


class UnreadableFileError(TraceError):
    """The file cannot be read."""
