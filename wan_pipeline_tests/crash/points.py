"""Named moments in the life of a request, at one of which a process kills itself.

A point is a kind and how often it was passed: `submitted.before_commit#2` is the second time that
a transaction with a task id is about to be committed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

__all__ = ["Trap", "kind_of", "names_of"]


class Trap:
    """Counts the points that a process passes, and kills it at one of them.

    Args:
        kill_at: the point's name; None to pass them all.
    """

    def __init__(self, kill_at: str | None = None) -> None:
        self.passed: Counter[str] = Counter()
        self._kill_at = kill_at
        self._lock = threading.Lock()

    def reached(self, label: str) -> None:
        """The process is at this point; it may go no further."""
        with self._lock:
            self.passed[label] += 1
            if f"{label}#{self.passed[label]}" == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def names_of(passed: Counter[str]) -> list[str]:
    """All names of a run's points."""
    return [
        f"{label}#{number}" for label in sorted(passed) for number in range(1, passed[label] + 1)
    ]


def kind_of(name: str) -> str:
    """A point's name without its number."""
    return name.partition("#")[0]
