"""How fast we may ask and how much may be at the provider, with everyone who shares the account.

The moments and the room are handed out by the ledger's database; here a batch waits for its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from wan_pipeline.ledger.pace import US, Pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.ledger.account import AccountLimits

__all__ = ["Pacer", "Window"]

# A hair under the declared rate: at the rate itself, jitter of the network trips the limit.
SAFE_SHARE = 0.985
BLOCK_S = 0.05  # moments closer together than this are fetched from the database in blocks
ROOM_EVERY_S = 0.25  # room that another process gives back is found after so long


def _never() -> bool:
    return False


class Pacer:
    """Waits for moments at an even distance under one limit of the account.

    Args:
        account: hands the moments out.
        limit: which of the account's limits.
        per_second: the declared limit.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        account: AccountLimits,
        limit: str,
        per_second: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._account = account
        self._limit = limit
        self._step_us = max(round(US / (per_second * SAFE_SHARE)), 1)
        self._block = max(int(BLOCK_S * US / self._step_us), 1)
        self._clock = clock
        self._sleep = sleep
        self._moments: deque[tuple[int, float]] = deque()  # the server's, and on our clock
        self._fetching = asyncio.Lock()
        self._pauses_in_a_row = 0

    async def slot(self) -> int:
        """Wait for the next moment; a pause that begins meanwhile is waited out too.

        Returns:
            The moment on the database server's clock, in microseconds since 1970.
        """
        while True:
            moment_us, at = await self._next()
            while (wait := at - self._clock()) > 0:
                await self._sleep(wait)
            if moment_us >= self._account.paused_until_us(self._limit):
                return moment_us

    async def _next(self) -> tuple[int, float]:
        async with self._fetching:
            paused_until = self._account.paused_until_us(self._limit)
            while self._moments:
                moment = self._moments.popleft()
                # An old one would come in a burst with others, one under a pause is void.
                if moment[1] >= self._clock() and moment[0] >= paused_until:
                    return moment
            got = await self._account.reserve(self._limit, step_us=self._step_us, count=self._block)
            self._pauses_in_a_row = got.pauses_in_a_row
            first_at = self._clock() + got.wait_s
            self._moments.extend(
                (got.first_us + number * got.step_us, first_at + number * got.step_us / US)
                for number in range(1, got.count)
            )
            return got.first_us, first_at

    async def pause(
        self, retry_after_s: float | None, *, first_s: float, longest_s: float
    ) -> float:
        """Hold everyone back for Retry-After, else for a doubling pause; returns its seconds."""
        self._pauses_in_a_row += 1
        asked = Pause(retry_after_s=retry_after_s, first_s=first_s, longest_s=longest_s)
        return await self._account.pause(self._limit, asked)

    async def went_well(self) -> None:
        """An answer that was no refusal ends the streak of doubling pauses."""
        if self._pauses_in_a_row:
            self._pauses_in_a_row = 0
            await self._account.went_well(self._limit)


class Window:
    """Waits for room at the provider, which everyone who shares the account takes from.

    It is larger than what the provider runs at once, so that its queue is never empty. Tasks
    found from earlier runs count, but are never kept waiting.

    Args:
        account: hands the room out.
        size: tasks at the provider at once.
        stop: ends every wait for room.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        account: AccountLimits,
        size: int,
        *,
        stop: Stop,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.size = size
        self._account = account
        self._stop = stop
        self._sleep = sleep
        self._held: list[int] = []  # our tickets; which task has which does not matter
        self._left = asyncio.Event()

    @property
    def used(self) -> int:
        """Places that this batch holds."""
        return len(self._held)

    async def enter(self, *, alone: Callable[[], bool] = _never) -> bool:
        """Wait until there is room for a new task; False when the batch stops first.

        Args:
            alone: whether there is room only when nothing of the account is at the provider;
                asked again and again.
        """
        number: int | None = None
        try:
            while not self._stop:
                self._left.clear()
                size = 1 if alone() else self.size
                ticket = await self._account.take_ticket(number, size=size)
                number = ticket.number
                if ticket.granted:
                    self._held.append(number)
                    return True
                await self._stop.cuts_short(self._room())
        except asyncio.CancelledError:
            if number is not None:
                await self._account.give_back(number)
            raise
        if number is not None:
            await self._account.give_back(number)
        return False

    async def add(self) -> None:
        """Count a task that is at the provider already."""
        self._held.append((await self._account.add_ticket()).number)

    async def leave(self) -> None:
        """A task is no longer at the provider."""
        number = self._held.pop()
        self._left.set()
        await self._account.give_back(number)

    async def _room(self) -> None:
        """Until one of ours leaves, or it is time to look whether one of the others' did."""
        left = asyncio.ensure_future(self._left.wait())
        waited = asyncio.ensure_future(self._sleep(ROOM_EVERY_S))
        try:
            await asyncio.wait({left, waited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            waited.cancel()
