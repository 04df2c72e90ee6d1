"""Whether creates may go: all of them, none during a pause, or one alone after it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.told import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wan_pipeline.generation.pacing import Pacer
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Terms
    from wan_pipeline.wan.errors import StopReason

__all__ = ["Circuit", "Turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A create's turn to be sent.

    Attributes:
        trips: how often the circuit had been opened by then.
        alone: whether no other create may start before this one's outcome.
    """

    trips: int = 0
    alone: bool = False


class Circuit:
    """Closed, creates go at the account's pace. Opened, everybody who shares the account pauses.

    After the pause it is half-open: creates go one at a time, until one is accepted. When it is
    opened again for the same reason before things got better, too often in a row, the batch stops.

    Args:
        pacer: of the creates; its pause holds for every run of the account.
        terms: how long a pause is, and how many there are in a row.
        tally: told about each pause.
        stop: set when pausing did not help; also ends every wait for a turn.
    """

    def __init__(self, pacer: Pacer, terms: Terms, *, tally: Tally, stop: Stop) -> None:
        self.trips = 0
        self._pacer = pacer
        self._pause_s = terms.breaker_pause_s
        self._most_in_a_row = terms.breaker_pauses if terms.breaker_pause_s else 0
        self._tally = tally
        self._stop = stop
        self._in_a_row: Counter[StopReason] = Counter()
        self._is_half_open = False
        self._pausing = 0  # pauses that are being written down
        self._is_taken = False  # somebody has the turn to go alone
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[Turn | None]:
        """Wait until a create may go; None when the batch stops first.

        A turn to go alone lasts until the block is left.
        """
        turn = await self._next_turn()
        try:
            yield turn
        finally:
            if turn is not None:
                self._leave(turn)

    async def open(self, reason: StopReason, detail: str) -> None:
        """Pause everybody, or stop the batch when that was done often enough.

        Args:
            reason: why the batch stops in the end.
            detail: what happened, in words.
        """
        pauses = self._in_a_row[reason]
        if pauses >= self._most_in_a_row:
            after = (
                f", also after {counted(pauses, 'pause')} of {self._pause_s:g} s" if pauses else ""
            )
            self._stop.set(reason, f"{detail}{after}")
            return
        self._in_a_row[reason] += 1
        self.trips += 1
        self._is_half_open = True
        self._tally.pauses.append(
            f"creates pause for {self._pause_s:g} s, then one goes alone: {detail}"
        )
        self._pausing += 1
        try:
            await self._pacer.pause(self._pause_s, first_s=self._pause_s, longest_s=self._pause_s)
        finally:
            self._pausing -= 1
            self._look_again()

    def holds(self, turn: Turn) -> bool:
        """Whether a turn still holds: it was got after the last pause began."""
        return turn.trips == self.trips

    def accepted(self, turn: Turn) -> None:
        """The provider has a task of that turn: if it went alone, all may go again."""
        if turn.alone and self.holds(turn):
            self._is_half_open = False
            self._look_again()

    def got_better(self, reason: StopReason) -> None:
        """The next pause for it would be the first in a row."""
        del self._in_a_row[reason]

    async def _next_turn(self) -> Turn | None:
        while not self._stop:
            turn = Turn(trips=self.trips, alone=self._is_half_open)
            if turn.alone and (self._is_taken or self._pausing):
                await self._stop.cuts_short(self._changed.wait())
                continue
            self._is_taken |= turn.alone
            try:
                moment = await self._stop.cuts_short(self._pacer.slot())
            except BaseException:
                self._leave(turn)
                raise
            # One that began to wait while all could go must not go beside another one now.
            if moment is not None and self.holds(turn) and not self._stop:
                return turn
            self._leave(turn)
        return None

    def _leave(self, turn: Turn) -> None:
        """Somebody else may go alone."""
        if turn.alone:
            self._is_taken = False
            self._look_again()

    def _look_again(self) -> None:
        """Wake whoever waits for a turn."""
        self._changed.set()
        self._changed = asyncio.Event()
