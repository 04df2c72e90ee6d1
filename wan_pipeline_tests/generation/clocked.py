"""A clock that only moves when somebody waits, and an account whose limits go by it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wan_pipeline.generation.pacing import SAFE_SHARE, Pacer, Window
from wan_pipeline.generation.stop import Stop
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.ledger import Ledger

if TYPE_CHECKING:
    from wan_pipeline.ledger.owner import Owner

__all__ = ["STEP_S", "CountingLedger", "FakeClock", "Scene"]

STEP_S = round(1e6 / (5.0 * SAFE_SHARE)) / 1e6
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


class FakeClock:
    """Seconds that pass only while everybody sleeps; the ledger's work takes none."""

    def __init__(self, ledger: Ledger) -> None:
        self.now = 100.0
        self._ledger = ledger
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        """The time."""
        return self.now

    def date(self) -> datetime:
        """The same as the wall clock has it."""
        return EPOCH + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        """Be woken when that much time has passed."""
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def run_out(self) -> None:
        """Let time pass until nobody sleeps any more."""
        await self.settle()
        while self._sleepers:
            when, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # its sleeper may have been cancelled
                self.now = max(self.now, when)
                woken.set_result(None)
                await self.settle()

    async def wake(self) -> None:
        """Wake everybody who sleeps now, and let them act."""
        sleepers, self._sleepers = self._sleepers, []
        for when, _, woken in sorted(sleepers, key=lambda each: each[:2]):
            self.now = max(self.now, when)
            if not woken.done():
                woken.set_result(None)
        await self.settle()

    async def settle(self) -> None:
        """Let every task that can run do so, and the ledger do what they asked."""
        quiet = 0
        while quiet < 3:
            for _ in range(10):
                await asyncio.sleep(0)
            before = self._ledger.asked
            await self._ledger.apply(lambda _: None)
            quiet = quiet + 1 if self._ledger.asked == before + 1 else 0


class CountingLedger(Ledger):
    """Knows how many changes were asked for."""

    asked = 0

    async def apply(self, change: Any) -> Any:
        """Count and go on."""
        self.asked += 1
        return await super().apply(change)


@dataclass
class Scene:
    """One account, one owner and the clock."""

    ledger: CountingLedger
    owner: Owner
    clock: FakeClock

    @property
    def account(self) -> AccountLimits:
        """The shared limits by the fake clock."""
        return AccountLimits(self.ledger, self.owner, now=self.clock.date)

    def pacer(self, per_second: float = 5.0) -> Pacer:
        """A pacer of the account; several share its moments."""
        return Pacer(self.account, "creates", per_second, clock=self.clock, sleep=self.clock.sleep)

    def window(self, size: int) -> Window:
        """A window of the account; several share its room."""
        return Window(self.account, size, stop=Stop(), sleep=self.clock.sleep)

    async def granted(self, *pacers: Pacer, each: int) -> list[float]:
        """When so many callers of each pacer, all asking now, get their slots."""
        times: list[float] = []

        async def ask(pacer: Pacer) -> None:
            await pacer.slot()
            times.append(self.clock.now)

        asking = [asyncio.ensure_future(ask(pacer)) for pacer in pacers for _ in range(each)]
        await self.clock.run_out()
        await asyncio.gather(*asking)
        return times
