"""Waiting in tests for what another process or thread does: in one place, and bounded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wait_for"]

Seen = TypeVar("Seen")


def wait_for(
    look: Callable[[], Seen | None], *, what: str, within_s: float, every_s: float = 0.01
) -> Seen:
    """The first thing that `look` sees and that counts as true.

    Nobody tells a test of it when another process has come so far, so it looks again and again. An
    exception of `look` ends the waiting: a server that died has not to be waited for.

    Raises:
        TimeoutError: nothing did within so many seconds; tells what was awaited and last seen.
    """
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s:g} s; last seen: {seen!r}")
        time.sleep(every_s)
    return seen
