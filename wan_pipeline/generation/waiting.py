"""Requests that another live run buys: waited for, and bought in its place when it gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from wan_pipeline.generation.buying import Buying
    from wan_pipeline.generation.course import Course
    from wan_pipeline.generation.ends import Ends
    from wan_pipeline.generation.taking_up import TakingUp

__all__ = ["await_other_runs"]

LOOK_EVERY_S = 1.0


async def await_other_runs(
    course: Course, *, buying: Buying, taking_up: TakingUp, ends: Ends
) -> None:
    """Wait for purchases of live owners; when one dies or gives up, go on in its place.

    Patience is for standstill: as long as the others' purchases get done, it starts anew.
    """
    clock, ledger, terms = course.ports.clock, course.ports.ledger, course.terms
    foreign = buying.foreign
    patience, waiting = clock.monotonic() + terms.task_patience_s, len(foreign)
    while foreign and not course.stop and clock.monotonic() <= patience:
        await clock.sleep(LOOK_EVERY_S)
        for request_id in await taking_up.take_up(frozenset(foreign)):
            foreign.pop(request_id, None)
        for purchase in ledger.purchases(foreign, series=terms.series).values():
            if purchase.state is PurchaseState.PLANNED:
                await buying.buy_one(foreign.pop(purchase.request_id))
            elif not purchase.state.unfinished:
                del foreign[purchase.request_id]
                ends.was_settled(purchase, lost=buying.has_lost(purchase))
        await buying.settled()
        if len(foreign) < waiting:
            patience = clock.monotonic() + terms.task_patience_s
            waiting = len(foreign)
        course.told()
    if foreign:
        course.tally.problems["left to the run that bought it"] += len(foreign)
        course.tally.failed += len(foreign)
