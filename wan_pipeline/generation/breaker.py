"""What a streak of bad answers means for the whole batch: a pause, or its end."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from wan_pipeline.told import counted, reason_told
from wan_pipeline.wan.answers import ErrorKind
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.generation.circuit import Circuit, Turn
    from wan_pipeline.generation.pacing import Pacer
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Clock, Terms
    from wan_pipeline.ledger.records import PurchaseKey
    from wan_pipeline.wan.answers import ApiError

__all__ = ["Breaker"]

REASONS = 3  # told of a streak of refusals
NAMED = 3  # requests told for each
PUT_BACK = "None was accepted before, so they count as not bought yet"
TOLD_FROM_S = 5.0  # of a pause for the rate limit; shorter ones are ordinary
ID_DIGITS = 12  # of a request id, enough for `wan ledger show`


class Breaker:
    """Counts streaks of creates, which an accepted one ends, and finished tasks without an image.

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
        self._refused: list[tuple[PurchaseKey, ApiError]] = []  # since a create was accepted
        self._put_back = 0  # of them
        self._is_understood = False  # a create of this batch was accepted
        self._throttled_since: float | None = None
        self._told_until = float("-inf")  # the end of the last pause that was told
        self._finished: deque[str | None] = deque(maxlen=terms.finished_watched)  # as told
        self._finished_since = 0  # the same for tasks
        self._for_nothing: list[str] | None = []  # as told; None once an image was stored

    @property
    def awaits_first_image(self) -> bool:
        """Whether no image that this batch paid for was stored so far."""
        return self._for_nothing is not None

    async def accepted(self, turn: Turn) -> None:
        """The provider has a task."""
        self._unsent = 0
        self._refused.clear()
        self._is_understood = True
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

    def refused(self, key: PurchaseKey, error: ApiError) -> Sequence[PurchaseKey]:
        """A provider that refuses everything may refuse us, not the requests.

        Returns:
            Purchases that are to be put back, since the batch stops, none of its creates was ever
            accepted, and all were refused with one code: that is about the key, the address or
            the body, and no request's own fault.
        """
        self._unsent = 0
        if error.kind is ErrorKind.MODERATION:
            return ()
        self._refused.append((key, error))
        if len(self._refused) < self._terms.refused_in_a_row:
            return ()
        is_ours = not self._is_understood and len({each.code for _, each in self._refused}) == 1
        told = f"{len(self._refused)} requests in a row, {_by_reason(self._refused)}"
        self._stop.set(StopReason.REFUSALS, f"{told}. {PUT_BACK}" if is_ours else told)
        if not is_ours:
            return ()
        blameless = [each for each, _ in self._refused[self._put_back :]]
        self._put_back = len(self._refused)
        return blameless

    async def finished(self, *, problem: str | None, trips: int, paid: bool) -> None:
        """A task ended: the circuit opens when too many of the last ones brought nothing.

        Until this batch has stored its first image it opens after fewer of them: when nothing
        arrives at all, each is paid for nothing.

        Args:
            problem: why no image of it could be stored; None when one was.
            trips: of the circuit, before its create.
            paid: whether this batch bought it, and it did not fail for nothing.
        """
        if trips < self._finished_since:
            return
        self._finished.append(problem)
        if paid and await self._was_for_nothing(problem):
            return
        problems, watched = (
            [each for each in self._finished if each is not None],
            self._terms.finished_watched,
        )
        if len(self._finished) < watched:
            return
        if len(problems) <= self._terms.failed_share * watched:
            self._circuit.got_better(StopReason.FAILURES)
            return
        await self._failures(
            f"{len(problems)} of the last {watched} finished tasks failed or brought no image that"
            f" could be stored: {_most(problems)}"
        )

    async def _was_for_nothing(self, problem: str | None) -> bool:
        """Whether the circuit opens, because all that was paid so far brought nothing."""
        if problem is None:
            self._for_nothing = None
        if self._for_nothing is None or problem is None:
            return False
        self._for_nothing.append(problem)
        problems = self._for_nothing
        if len(problems) < self._terms.paid_for_nothing:
            return False
        self._for_nothing = []
        tasks = counted(len(problems), "paid task")
        await self._failures(
            f"the first {tasks} brought no image that could be stored: {_most(problems)}"
        )
        return True

    async def _failures(self, detail: str) -> None:
        self._finished.clear()
        self._finished_since = self._circuit.trips + 1
        await self._circuit.open(StopReason.FAILURES, detail)

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


def _most(problems: Sequence[str]) -> str:
    """The most frequent reason of some."""
    told, count = Counter(map(reason_told, problems)).most_common(1)[0]
    return told if count == len(problems) else f"most often {told}"


def _by_reason(refused: Sequence[tuple[PurchaseKey, ApiError]]) -> str:
    """The provider's words, most frequent first, and the first requests that each was said of."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for key, error in refused:
        by_reason[str(error)].append(key.request_id)
    told: list[str] = []
    for reason, request_ids in sorted(by_reason.items(), key=lambda each: -len(each[1]))[:REASONS]:
        named = ", ".join(each[:ID_DIGITS] for each in request_ids[:NAMED])
        more = ", ..." if len(request_ids) > NAMED else ""
        told.append(f"{len(request_ids)} with {reason} (requests {named}{more})")
    if len(by_reason) > REASONS:
        told.append(f"the others for {len(by_reason) - REASONS} further reasons")
    return "; ".join(told)
