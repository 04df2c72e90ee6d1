"""The shared limits of one account, as a batch uses them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from wan_pipeline.ledger import pace, tickets

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.pace import Pause, Reservation
    from wan_pipeline.ledger.tickets import Ticket

__all__ = ["AccountLimits"]


class AccountLimits:
    """Moments and room, taken from the ledger's database so that everyone shares them.

    Args:
        ledger: whose database it is.
        owner: who takes room.
        now: the clock of a database without a server; the ledger's own by default.

    Raises from every method:
        LedgerUnavailableError: the database cannot be read or written.
    """

    def __init__(
        self, ledger: Ledger, owner: Owner, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._ledger = ledger
        self._now = now or ledger.now
        self._profile = ledger.profile
        self._owner = owner

    async def reserve(self, limit: str, *, step_us: int, count: int = 1) -> Reservation:
        """Take the next `count` moments under a limit, `step_us` microseconds apart."""
        return await self._ledger.apply(
            partial(
                pace.reserve,
                profile=self._profile,
                limit=limit,
                step_us=step_us,
                count=count,
                now=self._now(),
            )
        )

    async def pause(self, limit: str, asked: Pause) -> float:
        """Hold everyone back; the seconds until the pause ends."""
        return await self._ledger.apply(
            partial(
                pace.pause,
                profile=self._profile,
                limit=limit,
                asked=asked,
                now=self._now(),
            )
        )

    async def went_well(self, limit: str) -> None:
        """End the streak of doubling pauses."""
        await self._ledger.apply(partial(pace.went_well, profile=self._profile, limit=limit))

    def paused_until_us(self, limit: str) -> int:
        """Moments before this one are void: a pause began after they were taken."""
        return self._ledger.paused_until_us(limit)

    async def take_ticket(self, number: int | None, *, size: int) -> Ticket:
        """Ask for room at the provider; again with the number got before."""
        return await self._ledger.apply(
            partial(
                tickets.take_ticket,
                profile=self._profile,
                number=number,
                owner=self._owner,
                size=size,
                now=self._ledger.now(),
            )
        )

    async def add_ticket(self) -> Ticket:
        """Count a task that is at the provider already."""
        return await self._ledger.apply(
            partial(tickets.add_ticket, profile=self._profile, owner=self._owner)
        )

    async def give_back(self, number: int) -> None:
        """A task is no longer at the provider."""
        await self._ledger.apply(partial(tickets.give_back, number=number))
