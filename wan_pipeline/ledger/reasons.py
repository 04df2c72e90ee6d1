"""Words for what became of a request, that every page, check and command uses."""

from __future__ import annotations

__all__ = ["LOST", "problem_of"]

LOST = "lost"
"""Beside the states of purchases: stored, but for an image that can no longer arrive."""


def problem_of(code: str | None, message: str | None) -> str:
    """An error in one line; empty when there is none."""
    return f"{code}: {message}" if code else message or ""
