"""Whatever happens to reproductions, the dataset is as if there were none: random histories."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis
import hypothesis.strategies as st

from wan_pipeline.ledger.decisions import Decision, release, write_off
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.lookup import find_purchases
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline_tests.ledger.conftest import LATER, PROFILE, FakeTime, intention

if TYPE_CHECKING:
    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import Purchase

S = PurchaseState
ANYTHING = RetryRule(what=frozenset(Retry), max_attempts=100)
REQUESTS = ("r1", "r2")
SERIES = (None, None, "reproduce/kites@v1/may", "reproduce/kites@v1/june")
# What can be done to a purchase, by its state.
NEXT = {
    S.INTENT: ("not_sent", "refuse", "doubt", "submit", "submit"),
    S.SUBMITTED: ("expire", "succeed", "succeed"),
    S.SUCCEEDED: ("store", "lose"),
    S.UNKNOWN: ("release", "write_off", "submit"),
}


class Move(NamedTuple):
    """Something is done to a request's purchase of a series, or of the dataset."""

    series: str | None
    request_id: str
    choice: int


moves = st.builds(
    Move,
    series=st.sampled_from(SERIES),
    request_id=st.sampled_from(REQUESTS),
    choice=st.integers(0, 4),
)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(st.lists(moves, min_size=8, max_size=40))
def test_the_dataset_is_as_without_reproductions(history: list[Move]) -> None:
    """A twin that sees the dataset's moves only ends the same; and all money is accounted for."""
    both = asyncio.run(end_of(history))
    alone = asyncio.run(end_of([move for move in history if move.series is None]))
    assert both == alone


async def end_of(history: list[Move]) -> Any:
    """What the dataset sees after a history; what must hold for all of it is asserted."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(Path(folder) / "ledger.sqlite", PROFILE, now=FakeTime()) as ledger,
        ledger.owner("run") as owner,
    ):
        for move in history:
            await make(move, ledger, owner)
        everything, _ = find_purchases(ledger, RowFilter())
        bought = Counter((each.request_id, each.series) for each in everything if each.series)
        assert set(bought.values()) <= {1}
        paid = sum((each.cost_usd or 0 for each in everything), Decimal(0))
        assert ledger.spent() == paid
        assert ledger.committed() == paid + ledger.reserved()
        images = ledger.images()
        return (
            {each.request_id: told(each) for each in ledger.purchases().values()},
            {name: [(each.attempt, each.state) for each in images[name]] for name in images},
            {name: told(shown.purchase) for name, shown in shown_of(ledger, REQUESTS).items()},
            ledger.requests_with_lost_images(),
            ledger.committed(prompt_set="tests"),
        )


def told(purchase: Purchase) -> tuple[Any, ...]:
    """All of it but who worked on it."""
    money = (purchase.reserved_usd, purchase.cost_usd, purchase.cost_source)
    return (purchase.attempt, purchase.state, purchase.task_id, purchase.bought_by_set, *money)


async def make(move: Move, ledger: Ledger, owner: Owner) -> None:  # noqa: C901  one arm per move
    """The move that the state allows; where none does, an intent is tried."""
    series, request_id = move.series, move.request_id
    purchase = ledger.purchases([request_id], series=series).get(request_id)
    if purchase is None or purchase.state not in NEXT:
        wanted = intention(
            request_id,
            bought_by_set=series or "tests",
            reproduction=series is not None,
            retry=ANYTHING,
        )
        await ledger.intend(wanted, owner=owner)
        return
    key, choices = purchase.key, NEXT[purchase.state]
    decision = Decision(request_id=request_id, series=series, who="mei", why="looked")
    match choices[move.choice % len(choices)]:
        case "not_sent":
            await ledger.not_sent(key, owner, "429")
        case "refuse":
            await ledger.refused(key, owner, code="x", message="no", kind="other")
        case "doubt":
            await ledger.unknown(key, owner, "timeout")
        case "submit":
            task = f"{series} {request_id} {key.attempt if series is None else 0}"
            await ledger.submitted(key, owner, task_id=task, lifetime_s=3600)
        case "expire":
            await ledger.expired(key, owner, "too late")
        case "succeed":
            await ledger.succeeded(
                key,
                owner,
                links=[("https://h/0", "job")],
                url_expires_at=ledger.now() + timedelta(hours=1),
                cost_usd=Decimal("0.02"),
                cost_source="reported",
                final_answer="{}",
            )
        case "store":
            await ledger.image(key, owner, 0, ImageState.STORED, image_id="i", path="p")
        case "lose":
            await ledger.image(key, owner, 0, ImageState.LOST, problem="gone")
        case "release":
            ledger.apply_now(partial(release, profile=PROFILE, decision=decision, now=LATER))
        case _:
            ledger.apply_now(partial(write_off, profile=PROFILE, decision=decision, now=LATER))
