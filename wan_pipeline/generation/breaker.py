"""What a streak of bad answers means for the whole batch: a pause, or its end."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from wan_pipeline.wan.answers import ErrorKind
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.generation.circuit import Circuit, Turn
    from wan_pipeline.generation.pacing import Pacer
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Clock, Terms
    from wan_pipeline.wan.answers import ApiError

__all__ = ["Breaker"]

REASONS = 3  # told of a streak of refusals
NAMED = 3  # requests told for each
TOLD_FROM_S = 5.0  # of a pause for the rate limit; shorter ones are ordinary
ID_DIGITS = 12  # of a request id, enough for `wan ledger show`


class Breaker:
    """Counts streaks of creates, which an accepted one ends, and failures among finished tasks.

    Its bounds are the batch's terms. Doubts and failures open the circuit; what was under way by
    then says nothing about the time after the pause, so it no longer counts. Other streaks pause
    by themselves, longer each time, and end the batch.
    """

    def __init__(
        self,
        pacer: Pacer,
        circuit: Circuit,
        terms: Terms,
        *,
        tally: Tally,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self._pacer = pacer
        self._circuit = circuit
        self._terms = terms
        self._tally = tally
        self._stop = stop
        self._clock = clock
        self._in_doubt = 0
        self._doubts_since = 0  # trips of the circuit; earlier creates no longer count
        self._unsent = 0
        self._refused: list[tuple[str, ApiError]] = []  # requests, since one was accepted
        self._throttled_since: float | None = None
        self._told_until = float("-inf")  # the end of the last pause that was told
        self._finished: deque[bool] = deque(maxlen=terms.finished_watched)
        self._finished_since = 0  # the same for tasks

    async def accepted(self, turn: Turn) -> None:
        """The provider has a task."""
        self._unsent = 0
        self._refused.clear()
        self._throttled_since = None
        if turn.trips >= self._doubts_since:
            self._in_doubt = 0
            self._circuit.got_better(StopReason.UNKNOWN_CREATES)
        self._circuit.accepted(turn)
        await self._pacer.went_well()

    async def throttled(self, retry_after_s: float | None) -> None:
        """429: everyone pauses; the end when nothing is accepted for too long."""
        self._unsent = 0
        self._tally.throttled += 1
        now = self._clock.monotonic()
        if self._throttled_since is None:
            self._throttled_since = now
        if now - self._throttled_since > self._terms.throttle_patience_s:
            self._stop.set(
                StopReason.THROTTLED,
                f"no create was accepted for {self._terms.throttle_patience_s:g} s",
            )
        self._tell(await self._pause(retry_after_s), asked=retry_after_s is not None)

    async def unreached(self, reason: str) -> None:
        """No connection: everyone pauses; the end after some in a row."""
        self._unsent += 1
        if self._unsent >= self._terms.unsent_in_a_row:
            self._stop.set(
                StopReason.UNREACHABLE,
                f"{self._unsent} creates in a row found no connection: {reason}",
            )
        await self._pause(None)

    async def doubted(self, reason: str, turn: Turn) -> None:
        """A task may exist: the circuit opens after some in a row, so that few are in doubt."""
        if turn.trips < self._doubts_since:
            return
        self._in_doubt += 1
        if self._in_doubt >= self._terms.unknown_in_a_row:
            detail = f"{self._in_doubt} creates in a row without a known outcome: {reason}"
            self._doubts_since = self._circuit.trips + 1
            await self._circuit.open(StopReason.UNKNOWN_CREATES, detail)

    def refused(self, request_id: str, error: ApiError) -> None:
        """A provider that refuses everything may refuse us, not the requests."""
        self._unsent = 0
        if error.kind is ErrorKind.MODERATION:
            return
        self._refused.append((request_id, error))
        if len(self._refused) >= self._terms.refused_in_a_row:
            self._stop.set(
                StopReason.REFUSALS,
                f"{len(self._refused)} requests in a row, {_by_reason(self._refused)}",
            )

    async def finished(self, *, failed: bool, trips: int) -> None:
        """A task ended: the circuit opens when too many of the last ones failed.

        Args:
            failed: how it ended.
            trips: of the circuit, before its create.
        """
        if trips < self._finished_since:
            return
        self._finished.append(failed)
        failures, watched = sum(self._finished), self._terms.finished_watched
        if len(self._finished) < watched:
            return
        if failures <= self._terms.failed_share * watched:
            self._circuit.got_better(StopReason.FAILURES)
            return
        self._finished.clear()
        self._finished_since = self._circuit.trips + 1
        await self._circuit.open(
            StopReason.FAILURES, f"{failures} of the last {watched} finished tasks failed"
        )

    def _tell(self, pause_s: float, *, asked: bool) -> None:
        """A pause that is worth a word, once when it begins: its other refusals say nothing new."""
        ends_at = self._clock.monotonic() + pause_s
        if pause_s < TOLD_FROM_S or ends_at < self._told_until + TOLD_FROM_S:
            return
        self._told_until = ends_at
        why = ", as it asks" if asked else ""
        self._tally.paused(
            f"creates pause for {pause_s:.0f} s{why}: the provider says that the account is over"
            " its rate limit (429)"
        )

    async def _pause(self, retry_after_s: float | None) -> float:
        """Hold everyone back; for how many seconds."""
        return await self._pacer.pause(
            retry_after_s,
            first_s=self._terms.pause_first_s,
            longest_s=self._terms.pause_longest_s,
        )


def _by_reason(refused: Sequence[tuple[str, ApiError]]) -> str:
    """The provider's words, most frequent first, and the first requests that each was said of."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for request_id, error in refused:
        by_reason[str(error)].append(request_id)
    told: list[str] = []
    for reason, request_ids in sorted(by_reason.items(), key=lambda each: -len(each[1]))[:REASONS]:
        named = ", ".join(each[:ID_DIGITS] for each in request_ids[:NAMED])
        more = ", ..." if len(request_ids) > NAMED else ""
        told.append(f"{len(request_ids)} with {reason} (requests {named}{more})")
    if len(by_reason) > REASONS:
        told.append(f"the others for {len(by_reason) - REASONS} further reasons")
    return "; ".join(told)
