"""Where a request counts in plans, ticks and tables, and the plan's own file."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from wan_pipeline.generation.planning import Plan, Standing, _place
from wan_pipeline.ledger.states import PurchaseState


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (PurchaseState.PLANNED, "to_buy"),
        (PurchaseState.INTENT, "in_flight"),
        (PurchaseState.SUBMITTED, "in_flight"),
        (PurchaseState.SUCCEEDED, "in_flight"),
        (PurchaseState.STORED, "stored"),
        (PurchaseState.REFUSED, "failed"),
        (PurchaseState.FAILED, "failed"),
        (PurchaseState.EXPIRED, "failed"),
        (PurchaseState.UNKNOWN, "unknown"),
    ],
)
def test_every_state_has_one_place(state: PurchaseState, place: str) -> None:
    """The counts add up to the requests."""
    assert _place(state, lost=False) == place


def test_an_image_that_can_still_arrive_is_work_although_its_neighbour_is_lost() -> None:
    """The night must fetch it; only when nothing more can come does the request count as lost."""
    assert _place(PurchaseState.SUCCEEDED, lost=True) == "in_flight"
    assert _place(PurchaseState.STORED, lost=True) == "lost"


@pytest.mark.parametrize("price", [None, Decimal("0.027500001")])
def test_a_plan_comes_back_from_its_file_as_it_was(price: Decimal | None) -> None:
    """Money exactly, times with their zone."""
    plan = Plan(
        prompt_set="集",
        profile="vtrix",
        planned_at=datetime(2026, 1, 2, 3, tzinfo=UTC),
        source_file="集.csv",
        source_mtime_ns=1_767_322_800_123_456_789,
        rows=3,
        requests=2,
        images=5,
        rejections=1,
        seed_with_prompt_extend=0,
        data_version="abc",
        price_usd=price,
        price_source="WAN_PRICE_USD",
        standing=Standing(to_buy=2, images_to_buy=5),
    )
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.cost_to_buy_usd == (None if price is None else Decimal("0.137500005"))
    assert (plan.standing.requests, plan.standing.incomplete) == (2, 2)
