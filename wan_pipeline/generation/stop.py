"""The one decision that ends submitting for a whole batch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wan_pipeline.wan.errors import StopReason

__all__ = ["Stop"]

T = TypeVar("T")


class Stop:
    """Set once; what is in flight is finished, nothing new is sent."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.detail = ""
        self.cancelled = False
        self._is_set = asyncio.Event()

    def __bool__(self) -> bool:
        return self._is_set.is_set()

    def set(self, reason: StopReason, detail: str) -> None:
        """The first reason is kept."""
        if self.reason is None:
            self.reason, self.detail = reason, detail
        self._is_set.set()

    def cancel(self) -> None:
        """A person or a supervisor ends the batch."""
        self.cancelled = True
        self._is_set.set()

    async def wait(self) -> None:
        """Until it is set."""
        await self._is_set.wait()

    async def cuts_short(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """What comes of waiting; None when the stop comes first, and then the waiting is over.

        Args:
            waiting: is cancelled by the stop, so it must hold nothing that it would have to give
                back.
        """
        waiter = asyncio.ensure_future(waiting)
        stopped = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({waiter, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            waiter.cancel()
            await asyncio.wait({waiter})
        return None if waiter.cancelled() else waiter.result()
