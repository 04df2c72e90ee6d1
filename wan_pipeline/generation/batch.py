"""One batch: take up what earlier runs left, buy what is missing, follow everything to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from wan_pipeline.generation.collect import Collector
from wan_pipeline.generation.files import reopen_broken, restore_found
from wan_pipeline.generation.heartbeat import kept_alive
from wan_pipeline.generation.pacing import Window
from wan_pipeline.generation.progress import BatchReport, Progress, SilentProgress, Tally
from wan_pipeline.generation.rescue import adopt_rescued
from wan_pipeline.generation.stop import Stop
from wan_pipeline.generation.submit import NotBought, Submitted, Submitter
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable, Iterator, Mapping, Sequence

    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.ledger.records import ImageRecord, Purchase, PurchaseKey
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["recover", "run_batch"]

ZERO = Decimal(0)
CHUNK = 500
FOREIGN_EVERY_S = 1.0


async def run_batch(
    requests: Iterable[GenerationRequest],
    *,
    ports: Ports,
    terms: Terms,
    progress: Progress | None = None,
    total: int | None = None,
) -> BatchReport:
    """Bring every request to its end, buying each at most once.

    Errors of single requests are counted and stand in the ledger; what ends the batch early is
    in the report. A cancellation stops submitting, waits for creates on their way, records
    them, and is raised on; tasks at the provider are taken up by the next batch.

    Args:
        requests: in the order in which they are bought; streamed, repeats are skipped.
        ports: what the batch works through.
        terms: on which terms it buys.
        progress: told about every change.
        total: distinct requests, where it is known beforehand, for the progress.

    Raises:
        LedgerUnavailableError: nothing is bought without a ledger.
    """
    batch = _Batch(ports, terms, progress or SilentProgress())
    return await batch.run(requests, total=total)


async def recover(*, ports: Ports, terms: Terms, progress: Progress | None = None) -> BatchReport:
    """Poll and fetch everything that dead runs left unfinished; never creates."""
    batch = _Batch(ports, terms, progress or SilentProgress())
    return await batch.run((), everything=True)


@dataclass(slots=True)
class _Batch:
    ports: Ports
    terms: Terms
    progress: Progress
    tally: Tally = field(default_factory=Tally)
    stop: Stop = field(default_factory=Stop)
    left: int = 0
    left_images: int = 0
    place_taken: bool = False  # at the provider, for the next request
    seen: set[str] = field(default_factory=set)
    resumed: set[PurchaseKey] = field(default_factory=set)
    foreign: dict[str, GenerationRequest] = field(default_factory=dict)
    buying: set[asyncio.Task[None]] = field(default_factory=set)
    window: Window = field(init=False)
    submitter: Submitter = field(init=False)
    collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        clock = self.ports.clock
        account = AccountLimits(self.ports.ledger, self.ports.owner, now=clock.pace_now)
        self.window = Window(account, self.terms.window, stop=self.stop, sleep=clock.sleep)
        self.submitter = Submitter(self.ports, self.terms, tally=self.tally, stop=self.stop)
        self.collector = Collector(
            self.ports,
            self.terms,
            tally=self.tally,
            stop=self.stop,
            window=self.window,
            breaker=self.submitter.breaker,
        )

    async def run(
        self,
        requests: Iterable[GenerationRequest],
        *,
        everything: bool = False,
        total: int | None = None,
    ) -> BatchReport:
        self.tally.requests = total or 0
        try:
            async with kept_alive(self.ports.ledger, self.ports.owner):
                try:
                    await self._work(requests, everything=everything, counted=total is not None)
                finally:
                    self.stop.cancel()
                    await self.submitter.finish()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self.progress.update(self.tally)
        return BatchReport(
            tally=self.tally,
            stop=self.stop.reason,
            stop_detail=self.stop.detail,
            left=self.left,
            left_cost_usd=(self.terms.price_usd or ZERO) * self.left_images,
        )

    async def _work(
        self, requests: Iterable[GenerationRequest], *, everything: bool, counted: bool
    ) -> None:
        """Take up, buy and follow, until nothing is left to do."""
        async with asyncio.TaskGroup() as group:
            await self._take_up(group, None if everything else ())
            for purchase in await adopt_rescued(self.ports, self.terms):
                await self._resume(group, purchase)
            if everything:
                await restore_found(self.ports, self.ports.ledger.images_lost())
                alive = self.ports.ledger.stored_images_alive(self.ports.clock.now())
                await self._fetch_again(group, alive)
            await self._buy(group, requests, counted=counted)
            await self._await_foreign(group)

    # --- taking up ---

    async def _take_up(
        self, group: asyncio.TaskGroup, request_ids: Collection[str] | None
    ) -> set[str]:
        """Go on with what dead owners left, oldest deadline first; the ids taken."""
        taken = await self.ports.ledger.take_over(
            self.ports.owner, request_ids, series=self.terms.series
        )
        found = {purchase.key: purchase for purchase in taken}
        if any(purchase.state is PurchaseState.UNKNOWN for purchase in taken):
            adopted = await adopt_rescued(self.ports, self.terms)
            found |= {purchase.key: purchase for purchase in adopted}
        for purchase in found.values():
            self._know(purchase)
            self.tally.requests += request_ids is None
            if purchase.state is PurchaseState.UNKNOWN:
                self._settle(purchase)
                continue
            await self._resume(group, purchase)
        return {purchase.request_id for purchase in found.values() if self._concerns_us(purchase)}

    async def _resume(self, group: asyncio.TaskGroup, purchase: Purchase) -> None:
        """Go on with a paid purchase that is this batch's by now."""
        self._know(purchase)
        self.resumed.add(purchase.key)
        self.tally.taken_up += 1
        if purchase.state is PurchaseState.SUCCEEDED:
            group.create_task(self._follow(self._fetch_all(purchase.key)))
        else:
            await self.window.add()
            group.create_task(self._collect(_resumed(purchase)))

    def _know(self, purchase: Purchase) -> None:
        """Its request needs no buying, if it stands where this batch would put its own."""
        if self._concerns_us(purchase):
            self.seen.add(purchase.request_id)

    def _concerns_us(self, purchase: Purchase) -> bool:
        """Whether it is of the series that this batch buys for, or of the dataset as this batch."""
        return purchase.series == self.terms.series

    async def _fetch_all(self, key: PurchaseKey) -> bool:
        """Fetch what has not arrived of a purchase, and what did and is gone since."""
        images = {key.request_id: self.ports.ledger.images_of(key)}
        await reopen_broken(self.ports, images, tally=self.tally)
        return await self.collector.fetch(key)

    async def _fetch_again(
        self, group: asyncio.TaskGroup, images: Mapping[str, Sequence[ImageRecord]]
    ) -> set[str]:
        """Fetch stored images whose files are gone or damaged; the ids of their requests."""
        keys = await reopen_broken(self.ports, images, tally=self.tally, but=self.resumed)
        for key in keys:
            self.seen.add(key.request_id)
            group.create_task(self._follow(self.collector.fetch(key)))
        return {key.request_id for key in keys}

    async def _await_foreign(self, group: asyncio.TaskGroup) -> None:
        """Wait for purchases of live owners; when one dies or gives up, go on in its place.

        Patience is for standstill: as long as the others' purchases get done, it starts anew.
        """
        clock, ledger = self.ports.clock, self.ports.ledger
        patience, waiting = clock.monotonic() + self.terms.task_patience_s, len(self.foreign)
        while self.foreign and not self.stop and clock.monotonic() <= patience:
            await clock.sleep(FOREIGN_EVERY_S)
            for request_id in await self._take_up(group, frozenset(self.foreign)):
                self.foreign.pop(request_id, None)
            for purchase in ledger.purchases(self.foreign, series=self.terms.series).values():
                if purchase.state is PurchaseState.PLANNED:
                    await self._buy_one(group, self.foreign.pop(purchase.request_id))
                elif not purchase.state.unfinished:
                    del self.foreign[purchase.request_id]
                    self._settle(purchase, lost=self._has_lost(purchase))
            await self._bought()
            if len(self.foreign) < waiting:
                patience = clock.monotonic() + self.terms.task_patience_s
                waiting = len(self.foreign)
            self.progress.update(self.tally)
        if self.foreign:
            self.tally.problems["left to the run that bought it"] += len(self.foreign)
            self.tally.failed += len(self.foreign)

    # --- buying ---

    async def _buy(
        self,
        group: asyncio.TaskGroup,
        requests: Iterable[GenerationRequest],
        *,
        counted: bool,
    ) -> None:
        for chunk in _chunks(self._distinct(requests)):
            self.tally.requests += 0 if counted else len(chunk)
            request_ids = [request_id for request_id, _ in chunk]
            taken = await self._take_up(group, request_ids)
            ledger, series = self.ports.ledger, self.terms.series
            images = ledger.images(request_ids, series=series)
            await restore_found(self.ports, images)
            taken |= await self._fetch_again(group, images)
            standing = ledger.purchases(request_ids, series=series)
            lost = ledger.lost_images(request_ids, series=series)
            self.progress.update(self.tally)
            for request_id, request in chunk:
                if request_id in taken:
                    continue
                purchase, is_lost = standing.get(request_id), request_id in lost
                if purchase is None or self._may_buy(purchase, lost=is_lost):
                    await self._buy_one(group, request)
                else:
                    self._settle_or_await(purchase, request, lost=is_lost)
        await self._bought()

    async def _bought(self) -> None:
        """Give back a place that nobody needs, and wait until every create has its outcome."""
        if self.place_taken:
            self.place_taken = False
            await self.window.leave()
        if self.buying:
            await asyncio.wait(set(self.buying))

    async def _buy_one(self, group: asyncio.TaskGroup, request: GenerationRequest) -> None:
        """Start buying; the first ones go alone, until one proves that we are understood."""
        await self._enter()
        if self.stop:
            self._leave(request)
            return
        if self._bought_meanwhile(request):
            return
        self.place_taken = False
        buying = group.create_task(self._submit(group, request))
        self.buying.add(buying)
        buying.add_done_callback(self.buying.discard)
        if not self.submitter.understood:
            await asyncio.wait([buying])

    async def _enter(self) -> None:
        """Take a place at the provider, unless one is taken already or there is no use in it."""
        if not self.stop and not self.place_taken:
            self.place_taken = await self.window.enter()

    def _bought_meanwhile(self, request: GenerationRequest) -> bool:
        """Whether another run was faster while we waited; then the place is the next request's."""
        request_id = request.request_id
        ledger, series = self.ports.ledger, self.terms.series
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
            lost = self._has_lost(purchase)
        return self.terms.retry.allows(purchase, lost=lost)

    def _has_lost(self, purchase: Purchase) -> bool:
        """Whether a paid image of a purchase can no longer arrive."""
        return bool(self.ports.ledger.lost_images([purchase.request_id], series=self.terms.series))

    def _settle_or_await(
        self, purchase: Purchase, request: GenerationRequest, *, lost: bool | None = None
    ) -> None:
        """Another run's: wait for its end, or count it when it has ended."""
        if purchase.state.unfinished:
            self.foreign[purchase.request_id] = request
            return
        if lost is None:
            lost = self._has_lost(purchase)
        self._settle(purchase, lost=lost)

    def _leave(self, request: GenerationRequest) -> None:
        """Count a request that the stop kept from being bought."""
        self.left += 1
        self.left_images += request.n
        self.tally.failed += 1

    async def _submit(self, group: asyncio.TaskGroup, request: GenerationRequest) -> None:
        try:
            bought = await self.submitter.submit(request)
        except TransitionError:
            self.tally.problems["taken over by another run"] += 1
            bought = NotBought.RECORDED
        if isinstance(bought, Submitted):
            group.create_task(self._collect(bought))
        else:
            await self.window.leave()
            if bought is NotBought.LEFT:
                self._leave(request)
            elif bought is NotBought.RECORDED:
                self.tally.failed += 1
            else:
                self._settle_or_await(bought, request)
        self.progress.update(self.tally)

    # --- following ---

    async def _collect(self, submitted: Submitted) -> None:
        self.progress.update(self.tally)
        await self._follow(self.collector.collect(submitted))

    async def _follow(self, end: Coroutine[Any, Any, bool]) -> None:
        """Count how a purchase ended; one that another run took over is that run's to end."""
        try:
            complete = await end
        except TransitionError:
            self.tally.problems["taken over by another run"] += 1
            complete = False
        self._count(complete=complete)

    def _count(self, *, complete: bool) -> None:
        if complete:
            self.tally.done += 1
        else:
            self.tally.failed += 1
        self.progress.update(self.tally)

    def _settle(self, purchase: Purchase, *, lost: bool = False) -> None:
        """Count a purchase that was at its end before this batch came to it."""
        if purchase.state is PurchaseState.STORED and not lost:
            self.tally.already_stored += 1
        else:
            self.tally.failed += 1

    # --- the rest ---

    def _distinct(
        self, requests: Iterable[GenerationRequest]
    ) -> Iterator[tuple[str, GenerationRequest]]:
        for request in requests:
            request_id = request.request_id
            if request_id not in self.seen:
                self.seen.add(request_id)
                yield request_id, request


def _resumed(purchase: Purchase) -> Submitted:
    assert purchase.task_id is not None  # noqa: S101  a submitted row has one
    assert purchase.submitted_at is not None  # noqa: S101
    assert purchase.deadline_at is not None  # noqa: S101
    return Submitted(
        key=purchase.key,
        n=purchase.n,
        price_usd=purchase.price_usd,
        task_id=purchase.task_id,
        submitted_at=purchase.submitted_at,
        deadline_at=purchase.deadline_at,
        ours=False,
    )


def _chunks(
    items: Iterable[tuple[str, GenerationRequest]],
) -> Iterator[list[tuple[str, GenerationRequest]]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single error: a batch ends by one cause, the others follow from it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
