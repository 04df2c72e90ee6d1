"""The program `wan`.

A command imports some hundred thousand objects that stay, and Python's collector of garbage walks
them again and again meanwhile: a fifth of the processor time of a `wan run`. It is asked to come
less often before anything is imported. What it holds back in exchange is a few megabytes.
"""

from __future__ import annotations

import gc

__all__ = ["main"]

OBJECTS = 20_000  # made beyond those that went, before it comes; Python's own figure is 700


def main() -> None:
    """Run the command that is typed."""
    gc.set_threshold(OBJECTS, 20, 20)
    from wan_pipeline.cli.app import app  # noqa: PLC0415  what is imported from here on is meant

    app()
