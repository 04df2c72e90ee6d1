"""The person who looks into the provider's console and decides what became of unknown creates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.decisions import Decision, adopt, release
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wan_pipeline.ledger.ledger import Ledger

__all__ = ["attempts", "decide"]

WHO = "mei"
LIFETIME_S = 3600.0


def attempts(ledger: Ledger) -> list[Purchase]:
    """Every purchase, earlier attempts too."""
    table = schema.purchases
    with ledger._read() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.request_id, table.c.attempt))
        return [Purchase.from_row(row) for row in rows]


def decide(ledger: Ledger, book: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
    """Adopt or release every unknown purchase; how many there were.

    Args:
        ledger: the ledger.
        book: the provider's tasks by the request that they are the result of.
    """
    everything = attempts(ledger)
    held = {purchase.task_id for purchase in everything}
    in_doubt = [each for each in everything if each.state is PurchaseState.UNKNOWN]
    if not in_doubt:
        return 0
    with ledger.owner("decisions") as owner:
        for purchase in in_doubt:
            task_id = _free(book.get(purchase.request_id, ()), held)
            decide_on = partial(
                Decision, request_id=purchase.request_id, series=purchase.series, who=WHO
            )
            if task_id is None:
                change = partial(release, decision=decide_on(why="no such task"))
            else:
                decision = decide_on(why="found it")
                change = partial(
                    adopt, decision=decision, task_id=task_id, lifetime_s=LIFETIME_S, owner=owner
                )
            ledger.apply_now(partial(change, profile=ledger.profile, now=ledger.now()))
    return len(in_doubt)


def _free(tasks: Iterable[Mapping[str, Any]], held: set[str | None]) -> str | None:
    """The id of a task that no purchase has."""
    return next((task["id"] for task in tasks if task["id"] not in held), None)
