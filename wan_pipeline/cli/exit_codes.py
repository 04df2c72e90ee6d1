"""What a script can tell from the command's end."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit codes of `wan`, the worst last where several sets end differently."""

    COMPLETE = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    STOPPED = 4
    INTERRUPTED = 130
