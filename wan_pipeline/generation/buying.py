"""Requests bought one by one, unless something stands in the ledger already."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from wan_pipeline.generation.files import restore_found
from wan_pipeline.generation.outcomes import Submitted
from wan_pipeline.generation.proving import Proving
from wan_pipeline.generation.submit import NotBought
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from wan_pipeline.generation.course import Course
    from wan_pipeline.generation.ends import Ends
    from wan_pipeline.generation.pacing import Window
    from wan_pipeline.generation.submit import Submitter
    from wan_pipeline.generation.taking_up import TakingUp
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["Buying"]

CHUNK = 500  # requests looked up in the ledger at once


class Buying:
    """Buys what is missing.

    Attributes:
        foreign: requests whose purchase a live run works on, by their ids.
    """

    def __init__(
        self,
        course: Course,
        group: asyncio.TaskGroup,
        *,
        window: Window,
        submitter: Submitter,
        taking_up: TakingUp,
        ends: Ends,
    ) -> None:
        self.foreign: dict[str, GenerationRequest] = {}
        self._course = course
        self._ports = course.ports
        self._terms = course.terms
        self._tally = course.tally
        self._stop = course.stop
        self._group = group
        self._window = window
        self._submitter = submitter
        self._proving = Proving(
            submitter.form,
            clock=course.ports.clock,
            patience_s=course.terms.proof_patience_s,
        )
        self._taking_up = taking_up
        self._ends = ends
        self._place_taken = False  # at the provider, for the next request
        self._under_way: set[asyncio.Task[None]] = set()
        self._counted_twice: set[str] = set()  # taken up, and in the count of the plan

    async def buy(
        self,
        requests: Iterable[GenerationRequest],
        *,
        counted: bool,
        taken: Collection[str] = (),
    ) -> None:
        """Buy each, in their order, and wait until every create has its outcome.

        Args:
            requests: streamed; repeats, and what was taken up, are skipped.
            counted: whether the tally counts them already.
            taken: ids of what was taken up before, which need not be among them.
        """
        self._tally.requests += len(taken)
        self._counted_twice = set(taken) if counted else set()
        for chunk in _chunks(self._distinct(requests)):
            self._tally.requests += 0 if counted else len(chunk)
            await self._buy_chunk(chunk)
        await self.settled()

    async def buy_one(self, request: GenerationRequest) -> None:
        """Start buying; the first ones go alone, until one proves that we are understood.

        Accepted is enough for the layout of the body; that what is in it is read, too, is proven by
        a finished task, see `forms`.
        """
        await self._enter(request)
        if self._stop or not self._submitter.form.allows_creates():
            self._ends.is_left(request)
            return
        if self._bought_meanwhile(request):
            return
        self._place_taken = False
        buying = self._group.create_task(self._submit(request))
        self._under_way.add(buying)
        buying.add_done_callback(self._under_way.discard)
        if not self._submitter.form.understood:
            await asyncio.wait([buying])

    async def settled(self) -> None:
        """Give back a place that nobody needs, and wait until every create has its outcome."""
        if self._place_taken:
            self._place_taken = False
            await self._window.leave()
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    def has_lost(self, purchase: Purchase) -> bool:
        """Whether a paid image of a purchase can no longer arrive."""
        lost = self._ports.ledger.requests_with_lost_images(
            [purchase.request_id], series=self._terms.series
        )
        return bool(lost)

    async def _buy_chunk(self, chunk: list[tuple[str, GenerationRequest]]) -> None:
        request_ids = [request_id for request_id, _ in chunk]
        taken = await self._taking_up.take_up(request_ids)
        ledger, series = self._ports.ledger, self._terms.series
        images = ledger.images(request_ids, series=series)
        await restore_found(self._ports, images)
        taken |= await self._taking_up.fetch_again(images)
        standing = ledger.purchases(request_ids, series=series)
        lost = ledger.requests_with_lost_images(request_ids, series=series)
        self._course.told()
        for request_id, request in chunk:
            if request_id in taken:
                continue
            purchase, is_lost = standing.get(request_id), request_id in lost
            if purchase is None or self._may_buy(purchase, lost=is_lost):
                await self.buy_one(request)
            else:
                self._settle_or_await(purchase, request, lost=is_lost)

    async def _enter(self, request: GenerationRequest) -> None:
        """Take a place at the provider, unless one is taken already or there is no use in it."""
        alone = self._proving.waits_for_proof(request.n)
        if self._place_taken and alone():  # it may be one among others
            self._place_taken = False
            await self._window.leave()
        if not self._stop and not self._place_taken:
            self._place_taken = await self._window.enter(alone=alone)

    def _bought_meanwhile(self, request: GenerationRequest) -> bool:
        """Whether another run was faster while we waited; then the place is the next request's."""
        request_id = request.request_id
        ledger, series = self._ports.ledger, self._terms.series
        purchase = ledger.purchases([request_id], series=series).get(request_id)
        if purchase is None or self._may_buy(purchase):
            return False
        self._settle_or_await(purchase, request)
        return True

    def _may_buy(self, purchase: Purchase, *, lost: bool | None = None) -> bool:
        """Whether what stands leaves room for an intent; lost images are looked up when None."""
        if purchase.state is PurchaseState.PLANNED:
            return True
        if lost is None:
            lost = self.has_lost(purchase)
        request_id, again = purchase.request_id, purchase.attempt > 1
        released = self._ports.ledger.released_attempts([request_id])[request_id] if again else 0
        return self._terms.retry.allows(purchase, lost=lost, released=released)

    def _settle_or_await(
        self, purchase: Purchase, request: GenerationRequest, *, lost: bool | None = None
    ) -> None:
        """Another run's: wait for its end, or count it when it has ended."""
        if purchase.state.unfinished:
            self.foreign[purchase.request_id] = request
            return
        if lost is None:
            lost = self.has_lost(purchase)
        self._ends.was_settled(purchase, lost=lost)

    async def _submit(self, request: GenerationRequest) -> None:
        try:
            bought = await self._submitter.submit(request)
        except TransitionError:
            self._ends.taken_by_another_run()
            bought = NotBought.RECORDED
        if isinstance(bought, Submitted):
            self._ends.collect(bought)
        else:
            await self._window.leave()
            if bought is NotBought.LEFT:
                self._ends.is_left(request)
            elif bought is NotBought.RECORDED:
                self._tally.failed += 1
            else:
                self._settle_or_await(bought, request)
        self._course.told()

    def _distinct(
        self, requests: Iterable[GenerationRequest]
    ) -> Iterator[tuple[str, GenerationRequest]]:
        seen = self._taking_up.seen
        for request in requests:
            request_id = request.request_id
            if request_id in self._counted_twice:
                self._counted_twice.discard(request_id)
                self._tally.requests -= 1
            if request_id not in seen:
                seen.add(request_id)
                yield request_id, request


def _chunks(
    items: Iterable[tuple[str, GenerationRequest]],
) -> Iterator[list[tuple[str, GenerationRequest]]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
