"""What a streak of bad answers means for the whole batch: a pause, or its end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from wan_pipeline.wan.answers import ErrorKind
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from wan_pipeline.generation.pacing import Pacer
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Clock, Terms
    from wan_pipeline.wan.answers import ApiError

__all__ = ["Breaker"]


class Breaker:
    """Counts streaks of creates, which an accepted one ends, and failures among finished tasks.

    Its bounds are the batch's terms.
    """

    def __init__(
        self, pacer: Pacer, terms: Terms, *, tally: Tally, stop: Stop, clock: Clock
    ) -> None:
        self._pacer = pacer
        self._terms = terms
        self._tally = tally
        self._stop = stop
        self._clock = clock
        self._in_doubt = 0
        self._unsent = 0
        self._refused = 0
        self._throttled_since: float | None = None
        self._finished: deque[bool] = deque(maxlen=terms.finished_watched)

    async def accepted(self) -> None:
        """The provider has a task."""
        self._in_doubt = self._unsent = self._refused = 0
        self._throttled_since = None
        await self._pacer.went_well()

    async def throttled(self, retry_after_s: float | None) -> None:
        """429: everyone pauses; the end when nothing is accepted for too long."""
        self._unsent = 0
        self._tally.throttled += 1
        now = self._clock.monotonic()
        if self._throttled_since is None:
            self._throttled_since = now
        if now - self._throttled_since > self._terms.throttle_patience_s:
            self._stop.set(StopReason.THROTTLED, "no create was accepted for too long")
        await self._pause(retry_after_s)

    async def unreached(self, reason: str) -> None:
        """No connection: everyone pauses; the end after some in a row."""
        self._unsent += 1
        if self._unsent >= self._terms.unsent_in_a_row:
            self._stop.set(StopReason.UNREACHABLE, reason)
        await self._pause(None)

    def doubted(self, reason: str) -> None:
        """A task may exist: the end after some in a row, before more money is in doubt."""
        self._in_doubt += 1
        if self._in_doubt >= self._terms.unknown_in_a_row:
            self._stop.set(
                StopReason.UNKNOWN_CREATES, f"{self._in_doubt} creates in a row: {reason}"
            )

    def refused(self, error: ApiError) -> None:
        """A provider that refuses everything refuses us, not the requests."""
        self._unsent = 0
        if error.kind is ErrorKind.MODERATION:
            return
        self._refused += 1
        if self._refused >= self._terms.refused_in_a_row:
            self._stop.set(StopReason.REFUSALS, f"{self._refused} creates in a row: {error}")

    def finished(self, *, failed: bool) -> None:
        """A task ended: the end of submitting when too many of the last ones failed."""
        self._finished.append(failed)
        failures = sum(self._finished)
        watched = self._terms.finished_watched
        if len(self._finished) == watched and failures > self._terms.failed_share * watched:
            self._stop.set(
                StopReason.FAILURES, f"{failures} of the last {watched} finished tasks failed"
            )

    async def _pause(self, retry_after_s: float | None) -> None:
        await self._pacer.pause(
            retry_after_s,
            first_s=self._terms.pause_first_s,
            longest_s=self._terms.pause_longest_s,
        )
