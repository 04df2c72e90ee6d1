"""Caps: reserved with the intent, released, adjusted, and never passed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.errors import BudgetExceededError
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline_tests.ledger.conftest import intention

if TYPE_CHECKING:
    from wan_pipeline_tests.ledger.conftest import Life

S = PurchaseState
CENTS_9 = Decimal("0.09")


async def until_stopped(life: Life, caps: Caps, *, prefix: str = "r", **values: object) -> int:
    """Intend requests of 0.03 USD until one is refused; how many there were."""
    for number in range(100):
        try:
            await life.intend(f"{prefix}{number}", caps=caps, **values)
        except BudgetExceededError:
            assert f"{prefix}{number}" not in life.ledger.purchases()
            return number
    return 100


@pytest.mark.parametrize(
    "caps",
    [Caps(run=CENTS_9), Caps(day=CENTS_9), Caps(prompt_set=CENTS_9), Caps(total=CENTS_9)],
    ids=str,
)
async def test_each_cap_is_reached_and_not_passed(caps: Caps, life: Life) -> None:
    """Three images of 0.03 fit under 0.09, and nothing is written for the fourth."""
    assert await until_stopped(life, caps) == 3
    assert life.ledger.committed() == life.ledger.reserved() == CENTS_9


async def test_of_many_intents_in_one_group_only_those_that_fit_are_written(life: Life) -> None:
    """They share a commit, and each sees what those before it took."""
    asked = [life.intend(f"r{number}", caps=Caps(total=Decimal(1))) for number in range(100)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BudgetExceededError)]
    assert len(refused) == 67
    assert life.ledger.committed() == Decimal("0.99")
    assert len(life.ledger.purchases()) == 33


async def test_one_expensive_request_does_not_fit_where_a_cheap_one_does(life: Life) -> None:
    """Four images of 0.03 pass what is left of 0.10, one does not."""
    caps = Caps(total=Decimal("0.10"))
    with pytest.raises(BudgetExceededError, match=r"budget of the profile is 0\.10 USD"):
        await life.intend("four", n=4, caps=caps)
    await life.intend("one", n=1, caps=caps)
    assert life.ledger.committed() == Decimal("0.03")


@pytest.mark.parametrize(
    ("end", "free"),
    [
        (S.PLANNED, True),
        (S.REFUSED, True),
        (S.FAILED, True),
        (S.RELEASED, True),
        (S.UNKNOWN, False),
        (S.SUBMITTED, False),
        (S.EXPIRED, False),
        (S.WRITTEN_OFF, False),
        (S.STORED, False),
    ],
)
async def test_what_cost_nothing_is_free_again(end: PurchaseState, free: bool, life: Life) -> None:
    """What may have cost something is not."""
    caps = Caps(total=Decimal("0.03"))
    await life.reach(end, "first")
    if free:
        await life.intend("second", caps=caps)
    else:
        with pytest.raises(BudgetExceededError):
            await life.intend("second", caps=caps)
    assert life.ledger.committed() == Decimal("0.03")


async def test_reported_cost_takes_the_place_of_the_reserved_price(life: Life) -> None:
    """Cheaper leaves room; dearer passes the cap by what was in flight, and then nothing goes."""
    caps = Caps(total=CENTS_9)
    await life.intend("r1", n=2, caps=caps)
    await life.go(S.SUBMITTED)
    await life.succeed(images=1)
    assert life.ledger.committed() == Decimal("0.03")
    await life.intend("r2", n=2, caps=caps)
    await life.go(S.SUBMITTED, "r2")
    await life.succeed("r2", images=4)
    assert life.ledger.committed() == Decimal("0.15")
    with pytest.raises(BudgetExceededError, match=r"0\.15 USD of it are paid or reserved"):
        await life.intend("r3", caps=caps)


async def test_day_is_the_day_of_the_intent(life: Life) -> None:
    """A minute before midnight UTC is yesterday; what it bought later stays yesterday's."""
    caps = Caps(day=CENTS_9)
    life.time.now = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
    assert await until_stopped(life, caps, prefix="evening") == 3
    life.time.pass_(120)
    await life.go(S.SUBMITTED, "evening0")
    await life.succeed("evening0")
    assert await until_stopped(life, caps, prefix="morning") == 3
    assert life.ledger.committed(day="2026-11-22") == CENTS_9
    assert life.ledger.committed(day="2026-11-23") == CENTS_9


async def test_set_and_run_are_the_buyer_s(life: Life) -> None:
    """A shared purchase counts for the set that bought it; another run starts at nothing."""
    by_set, by_run = Caps(prompt_set=CENTS_9), Caps(run=CENTS_9)
    assert await until_stopped(life, by_set, prefix="a", bought_by_set="first") == 3
    standing = await life.intend("a0", caps=by_set, bought_by_set="second")
    assert isinstance(standing, Purchase)
    assert await until_stopped(life, by_set, prefix="b", bought_by_set="second") == 3
    with life.ledger.owner("another run") as other:
        for number in range(3):
            await life.ledger.intend(intention(f"c{number}", caps=by_run), owner=other)
        with pytest.raises(BudgetExceededError, match="one run"):
            await life.ledger.intend(intention("c3", caps=by_run), owner=other)
    assert life.ledger.committed(run_id="another run") == CENTS_9
    assert life.ledger.committed(prompt_set="first") == CENTS_9


def test_run_may_only_tighten() -> None:
    """Whoever presses the button cannot spend more than whoever pays allows."""
    house = Caps(run=Decimal(10), total=Decimal(100))
    asked = Caps(run=Decimal(50), day=Decimal(5), total=Decimal(1))
    assert house.tightened(asked) == Caps(run=Decimal(10), day=Decimal(5), total=Decimal(1))
    assert house.tightened(Caps()) == house


@pytest.mark.parametrize(
    ("caps", "named"),
    [
        (Caps(run=Decimal(0)), "WAN_BUDGET_RUN_USD or --budget; what is"),
        (Caps(day=Decimal(0)), "WAN_BUDGET_DAY_USD; what is"),
        (Caps(prompt_set=Decimal(0)), "WAN_BUDGET_SET_USD"),
        (Caps(total=Decimal(0)), "WAN_BUDGET_TOTAL_USD"),
    ],
    ids=str,
)
async def test_refusal_says_which_cap_and_what_to_do(caps: Caps, named: str, life: Life) -> None:
    """And a cap of 0 buys nothing."""
    with pytest.raises(BudgetExceededError, match=named):
        await life.intend(caps=caps)
    assert life.ledger.purchases() == {}


@pytest.mark.parametrize(
    ("caps", "named"),
    [
        (Caps(run=Decimal("0.10")), "WAN_BUDGET_RUN_USD or --budget, or run again"),
        (Caps(day=Decimal("0.10")), "WAN_BUDGET_DAY_USD or run again tomorrow"),
    ],
    ids=str,
)
async def test_waiting_is_advised_where_it_helps(caps: Caps, named: str, life: Life) -> None:
    """The next request fits into a fresh cap."""
    assert await until_stopped(life, caps) == 3
    with pytest.raises(BudgetExceededError, match=named):
        await life.intend("one more", caps=caps)
