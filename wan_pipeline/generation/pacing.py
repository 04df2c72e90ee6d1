"""How fast we may ask: evenly spaced slots, and pauses that hold for everyone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Pacer", "Window"]

# A hair under the declared rate: at the rate itself, jitter of the network trips the limit.
SAFE_SHARE = 0.985


class Pacer:
    """Grants slots at an even distance.

    Args:
        per_second: the declared limit.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._step = 1 / (per_second * SAFE_SHARE)
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._paused_until = self._next
        self._pauses_in_a_row = 0

    async def slot(self) -> None:
        """Wait for the next slot; a pause that begins meanwhile is waited out too."""
        granted = self._reserve()
        while (wait := granted - self._clock()) > 0:
            await self._sleep(wait)
            if granted < self._paused_until:
                granted = self._reserve()

    def _reserve(self) -> float:
        granted = max(self._next, self._clock())
        self._next = granted + self._step
        return granted

    def pause(self, retry_after_s: float | None, *, first_s: float, longest_s: float) -> float:
        """Hold everyone back for Retry-After, else for a doubling pause; returns its seconds.

        Refusals that come back while a pause holds belong to it and double nothing.
        """
        if self._paused_until > self._clock() and retry_after_s is None:
            return self._paused_until - self._clock()
        doubled = min(first_s * 2**self._pauses_in_a_row, longest_s)
        self._pauses_in_a_row += 1
        pause = doubled if retry_after_s is None else retry_after_s
        self._paused_until = max(self._paused_until, self._clock() + pause)
        self._next = max(self._next, self._paused_until)
        return pause

    def went_well(self) -> None:
        """An answer that was no refusal ends the streak of doubling pauses."""
        self._pauses_in_a_row = 0


class Window:
    """How many tasks may be at the provider at once.

    It is larger than what the provider runs at once, so that its queue is never empty. Tasks
    found from earlier runs count, but are never kept waiting.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._changed = asyncio.Condition()

    async def enter(self) -> None:
        """Wait until there is room for a new task."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.used < self.size)
            self.used += 1

    def add(self) -> None:
        """Count a task that is at the provider already."""
        self.used += 1

    async def leave(self) -> None:
        """A task is no longer at the provider."""
        async with self._changed:
            self.used -= 1
            self._changed.notify_all()
