"""Purchases followed to their end, and requests counted: each once, as done, failed or before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from wan_pipeline.generation.collect import Collector
    from wan_pipeline.generation.course import Course
    from wan_pipeline.generation.outcomes import Submitted
    from wan_pipeline.ledger.records import Purchase, PurchaseKey
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["Ends"]


class Ends:
    """Follows purchases to their end and keeps the batch's count of requests.

    Args:
        course: the batch's; its tally counts the requests.
        group: in which everything that is followed runs.
        collector: brings purchases to their end.

    Attributes:
        left: requests that the stop kept from being bought.
        left_images: how many images these are.
    """

    def __init__(self, course: Course, group: asyncio.TaskGroup, collector: Collector) -> None:
        self.left = 0
        self.left_images = 0
        self._course = course
        self._tally = course.tally
        self._group = group
        self._collector = collector

    def collect(self, submitted: Submitted) -> None:
        """Follow a task; the window has been entered for it."""
        self._group.create_task(self._collect(submitted))

    def fetch(self, key: PurchaseKey) -> None:
        """Follow what can still arrive of a finished task."""
        self.follow(self._collector.images.complete(key))

    def follow(self, end: Coroutine[Any, Any, bool]) -> None:
        """Count how a purchase ends: whether it is complete."""
        self._group.create_task(self._follow(end))

    def was_settled(self, purchase: Purchase, *, lost: bool = False) -> None:
        """Count a purchase that was at its end before this batch came to it."""
        if purchase.state is PurchaseState.STORED and not lost:
            self._tally.already_stored += 1
        else:
            self._tally.failed += 1

    def is_left(self, request: GenerationRequest) -> None:
        """Count a request that the stop kept from being bought."""
        self.left += 1
        self.left_images += request.n
        self._tally.failed += 1
        self._tally.left += 1

    def taken_by_another_run(self) -> None:
        """Note that what this batch worked on is that run's to end."""
        self._tally.problems["taken over by another run"] += 1

    async def _collect(self, submitted: Submitted) -> None:
        self._course.told()
        await self._follow(self._collector.collect(submitted))

    async def _follow(self, end: Coroutine[Any, Any, bool]) -> None:
        try:
            complete = await end
        except TransitionError:
            self.taken_by_another_run()
            complete = False
        if complete:
            self._tally.done += 1
        else:
            self._tally.failed += 1
        self._course.told()
