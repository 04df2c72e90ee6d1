"""What earlier runs left unfinished, taken up; and stored images whose files are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.generation.files import reopen_broken
from wan_pipeline.generation.form_memory import form_named
from wan_pipeline.generation.outcomes import Submitted
from wan_pipeline.generation.rescue import adopt_rescued
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wan_pipeline.generation.collect import Collector
    from wan_pipeline.generation.course import Course
    from wan_pipeline.generation.ends import Ends
    from wan_pipeline.generation.pacing import Window
    from wan_pipeline.ledger.records import ImageRecord, Purchase, PurchaseKey

__all__ = ["TakingUp"]


class TakingUp:
    """Goes on in the place of dead runs.

    Attributes:
        seen: requests that need no buying any more, by their ids.
    """

    def __init__(self, course: Course, *, window: Window, collector: Collector, ends: Ends) -> None:
        self.seen: set[str] = set()
        self._ports = course.ports
        self._terms = course.terms
        self._tally = course.tally
        self._window = window
        self._collector = collector
        self._ends = ends
        self._resumed: set[PurchaseKey] = set()

    async def take_up(self, request_ids: Collection[str] | None) -> set[str]:
        """Go on with what dead owners left, oldest deadline first; the ids taken.

        Args:
            request_ids: of these requests only; of every series and set when None.
        """
        taken = await self._ports.ledger.take_over(
            self._ports.owner, request_ids, series=self._terms.series
        )
        found = {purchase.key: purchase for purchase in taken}
        if any(purchase.state is PurchaseState.UNKNOWN for purchase in taken):
            adopted = await adopt_rescued(self._ports, self._terms)
            found |= {purchase.key: purchase for purchase in adopted}
        for purchase in found.values():
            self._know(purchase)
            self._tally.requests += request_ids is None
            if purchase.state is PurchaseState.UNKNOWN:
                self._ends.was_settled(purchase)
                continue
            await self._resume(purchase)
        return {purchase.request_id for purchase in found.values() if self._concerns_us(purchase)}

    async def take_up_own(self) -> set[str]:
        """Go on with what dead runs bought for this set, or series; the ids taken.

        Rows may be gone from its file since: what was paid for them is fetched all the same.
        """
        own = {
            purchase.request_id
            for purchase in self._ports.ledger.unfinished()
            if purchase.bought_by_set == self._terms.prompt_set
            and purchase.series == self._terms.series
        }
        return await self.take_up(own)

    async def take_up_rescued(self) -> None:
        """Go on with paid tasks that only a rescue file knew."""
        for purchase in await adopt_rescued(self._ports, self._terms):
            await self._resume(purchase)

    async def fetch_again(self, images: Mapping[str, Sequence[ImageRecord]]) -> set[str]:
        """Fetch stored images whose files are gone or damaged; the ids of their requests."""
        keys = await reopen_broken(self._ports, images, tally=self._tally, but=self._resumed)
        for key in keys:
            self.seen.add(key.request_id)
            self._ends.fetch(key)
        return {key.request_id for key in keys}

    async def _resume(self, purchase: Purchase) -> None:
        """Go on with a paid purchase that is this batch's by now."""
        self._know(purchase)
        self._resumed.add(purchase.key)
        self._tally.taken_up += 1
        if purchase.state is PurchaseState.SUCCEEDED:
            self._ends.follow(self._fetch_all(purchase.key))
        else:
            await self._window.add()
            self._ends.collect(_resumed(purchase))

    async def _fetch_all(self, key: PurchaseKey) -> bool:
        """Fetch what has not arrived of a purchase, and what did and is gone since."""
        images = {key.request_id: self._ports.ledger.images_of(key)}
        await reopen_broken(self._ports, images, tally=self._tally)
        return await self._collector.images.complete(key)

    def _know(self, purchase: Purchase) -> None:
        """Its request needs no buying, if it stands where this batch would put its own."""
        if self._concerns_us(purchase):
            self.seen.add(purchase.request_id)

    def _concerns_us(self, purchase: Purchase) -> bool:
        """Whether it is of the series that this batch buys for, or of the dataset as this batch."""
        return purchase.series == self._terms.series


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
        form=form_named(purchase.form),
        ours=False,
    )
