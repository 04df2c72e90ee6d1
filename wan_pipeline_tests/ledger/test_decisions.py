"""Adopt, release, write off: what a person decides about an unknown, and what stays of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.decisions import Decision, adopt, release, write_off
from wan_pipeline.ledger.errors import DecisionError, TransitionError
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline_tests.ledger.conftest import LATER, PROFILE, intention

if TYPE_CHECKING:
    from wan_pipeline_tests.ledger.conftest import Life

S = PurchaseState
WHY = "looked into the console at 9:00"


def decide(life: Life, what: Any, request_id: str = "r1", **values: Any) -> Any:
    """Carry a decision out, long after the run that bought has ended."""
    decision = Decision(request_id=request_id, who="mei", why=WHY)
    if what is adopt:
        given = {"owner": life.owner, "lifetime_s": 3600.0, "task_id": "found"}
        values = {**given, **values}
    change = partial(what, profile=PROFILE, decision=decision, **{"now": LATER, **values})
    return life.ledger.apply_now(change)


def history(life: Life, request_id: str = "r1") -> list[tuple[int, str, str | None, str | None]]:
    """Its events: attempt, state, who, why."""
    events = schema.events.c
    query = sa.select(events.attempt, events.to_state, events.who, events.detail)
    with life.ledger._read() as connection:
        rows = connection.execute(query.where(events.request_id == request_id).order_by(events.seq))
        return [tuple(row) for row in rows]


async def test_adopted_task_is_followed_like_any_other(life: Life) -> None:
    """Submitted, reserved, and with the deadline of a task as old as its intent."""
    await life.reach(S.UNKNOWN)
    intended = life.time.now
    decide(life, adopt)
    purchase = life.ledger.purchases()["r1"]
    assert (purchase.state, purchase.task_id) == (S.SUBMITTED, "found")
    assert purchase.deadline_at == intended + timedelta(hours=1)
    assert life.ledger.committed() == Decimal("0.03")
    assert history(life)[-1] == (1, "submitted", "mei", f"adopted task found: {WHY}")
    await life.succeed()
    await life.go(S.STORED)
    assert life.ledger.spent() == Decimal("0.03")


async def test_released_request_is_bought_anew_once(life: Life) -> None:
    """Its price is free, its first attempt stays on record, the second one is the next run's."""
    await life.reach(S.UNKNOWN)
    decide(life, release)
    assert life.ledger.committed() == 0
    assert life.ledger.purchases()["r1"].attempt == 2
    assert life.state() is S.RELEASED
    assert await life.intend() == PurchaseKey(profile=PROFILE, request_id="r1", attempt=2)
    assert isinstance(await life.intend(), Purchase)
    assert history(life) == [
        (1, "intent", None, "form flat, reserved 0.03 USD"),
        (1, "unknown", None, "timeout"),
        (1, "released", "mei", WHY),
        (2, "planned", "mei", "attempt 1 was released"),
        (2, "intent", None, "form flat, reserved 0.03 USD"),
    ]


async def test_released_attempt_does_not_count_for_the_bound(life: Life) -> None:
    """It made no task; those that may have made one are counted, and there the bound holds."""
    rule = RetryRule(what=frozenset({Retry.FAILED}), max_attempts=2)
    bought: list[int] = []
    for released in (True, True, False, True, False, False):
        standing = await life.intend(retry=rule)
        if isinstance(standing, Purchase):
            bought.append(0)
            continue
        bought.append(standing.attempt)
        if released:
            await life.ledger.unknown(standing, life.owner, "timeout")
            decide(life, release)
        else:
            await life.ledger.refused(standing, life.owner, code="x", message="no", kind="other")
    assert bought == [1, 2, 3, 4, 5, 0]
    assert life.ledger.released_attempts(["r1"]) == {"r1": 3}


async def test_written_off_price_counts_as_spent(life: Life) -> None:
    """And nothing is bought in its place."""
    await life.reach(S.UNKNOWN)
    decide(life, write_off)
    purchase = life.ledger.purchases()["r1"]
    assert (purchase.cost_usd, purchase.cost_source) == (Decimal("0.03"), "written_off")
    assert life.ledger.reserved() == 0
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")
    assert isinstance(await life.intend(), Purchase)
    assert history(life)[-1] == (1, "written_off", "mei", WHY)


async def test_written_off_task_that_turns_up_is_adopted(life: Life) -> None:
    """What was counted as spent becomes what it costs."""
    await life.reach(S.WRITTEN_OFF)
    decide(life, adopt)
    assert life.ledger.spent() == 0
    assert life.ledger.committed() == life.ledger.reserved() == Decimal("0.03")
    await life.succeed()
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")


async def test_task_that_was_adopted_by_mistake_is_put_right(life: Life) -> None:
    """Once nobody works on it; what the provider itself named stays."""
    await life.reach(S.UNKNOWN)
    decide(life, adopt, task_id="mistyped")
    with pytest.raises(DecisionError, match="still at work"):
        decide(life, adopt, now=life.time())
    with life.ledger.owner("next run") as other:
        life.time.pass_(61)
        assert len(await life.ledger.take_over(other)) == 1  # which polls in vain
    decide(life, adopt)
    purchase = life.ledger.purchases()["r1"]
    assert (purchase.state, purchase.task_id) == (S.SUBMITTED, "found")
    assert life.ledger.committed() == life.ledger.reserved() == Decimal("0.03")
    await life.succeed()
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")


@pytest.mark.parametrize("brought", [S.SUCCEEDED, S.STORED, S.FAILED])
async def test_what_a_task_adopted_by_mistake_brought_leaves_the_dataset(
    brought: PurchaseState, life: Life
) -> None:
    """Rows and money follow the right task; the history keeps what the wrong one was."""
    await life.reach(S.UNKNOWN)
    decide(life, adopt, task_id="somebody else's")
    for step in {S.STORED: (S.SUCCEEDED, S.STORED)}.get(brought, (brought,)):
        await life.go(step)
    if brought is S.SUCCEEDED:
        with pytest.raises(DecisionError, match="still at work"):
            decide(life, adopt, now=life.time())
    decide(life, adopt)
    purchase = life.ledger.purchases()["r1"]
    assert (purchase.state, purchase.task_id, purchase.attempt) == (S.SUBMITTED, "found", 1)
    assert (purchase.error_code, purchase.completed_at) == (None, None)
    assert life.ledger.images() == {}
    assert (life.ledger.spent(), life.ledger.reserved()) == (0, Decimal("0.03"))
    images = "" if brought is S.FAILED else ", and not somebody else's with 1 image"
    assert history(life)[-1] == (1, "submitted", "mei", f"adopted task found{images}: {WHY}")
    await life.succeed()
    await life.go(S.STORED)
    assert [each.state for each in life.ledger.images()["r1"]] == [ImageState.STORED]
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")


@pytest.mark.parametrize("named", [S.SUCCEEDED, S.STORED, S.FAILED])
async def test_what_the_provider_s_own_task_brought_stays(named: PurchaseState, life: Life) -> None:
    """Its create's answer named it: no person is asked."""
    await life.reach(named)
    with pytest.raises(DecisionError, match=f"r1 is {named.value}"):
        decide(life, adopt)
    assert life.state() is named


async def test_task_of_an_expired_one_that_turns_up_is_adopted(life: Life) -> None:
    """Asked for under a wrong id until its lifetime ended; the right one may still live."""
    await life.reach(S.EXPIRED)
    decide(life, adopt)
    assert life.ledger.committed() == life.ledger.reserved() == Decimal("0.03")
    await life.succeed()
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")


async def test_task_that_the_provider_named_is_not_replaced(life: Life) -> None:
    """It is the create's own answer."""
    await life.reach(S.SUBMITTED)
    with pytest.raises(DecisionError, match="r1 is submitted"):
        decide(life, adopt)


@pytest.mark.parametrize("decided", [S.RELEASED, S.WRITTEN_OFF])
async def test_late_answer_after_a_decision_is_not_lost(decided: PurchaseState, life: Life) -> None:
    """The task exists after all: it is followed, and its money is counted again."""
    await life.reach(decided)
    await life.ledger.submitted(life.key(), life.owner, task_id="late", lifetime_s=60)
    assert life.state() is S.SUBMITTED
    assert life.ledger.reserved() == Decimal("0.03")
    standing = await life.intend()  # nothing is bought in its stead
    assert isinstance(standing, Purchase)
    assert (standing.attempt, standing.state) == (1, S.SUBMITTED)
    await life.succeed()
    assert life.ledger.committed() == life.ledger.spent() == Decimal("0.03")


@pytest.mark.parametrize("then", ["submitted", "stored"])
async def test_late_answer_with_another_task_than_the_adopted_is_told(
    then: str, life: Life
) -> None:
    """Both are paid: the adopted one is followed, the other one stands in row and history."""
    await life.reach(S.UNKNOWN)
    decide(life, adopt)
    if then == "stored":
        await life.succeed()
        await life.go(S.STORED)
    before = life.state(), life.ledger.committed()
    late = await life.ledger.submitted(life.key(), life.owner, task_id="late", lifetime_s=60)
    assert late is None
    assert (life.state(), life.ledger.committed()) == before
    assert history(life)[-1][1] == then
    for told in (history(life)[-1][3], life.ledger.purchases()["r1"].problem):
        assert told is not None
        assert "answered with task late after task" in told
        assert "console" in told


@pytest.mark.parametrize("decided", [S.RELEASED, S.WRITTEN_OFF])
async def test_late_doubt_after_a_decision_is_told(decided: PurchaseState, life: Life) -> None:
    """The person's word stands; that a task may exist all the same is in row and history."""
    await life.reach(decided)
    before = life.ledger.committed()
    await life.ledger.unknown(life.key(), life.owner, "ReadTimeout")
    assert (life.state(), life.ledger.committed()) == (decided, before)
    purchase = life.ledger.purchase(life.key())
    assert purchase is not None
    assert "may exist and be paid" in purchase.problem
    told = [each for each in history(life) if each[0] == 1][-1]
    assert (told[1], told[3]) == (decided.value, purchase.problem)


async def test_late_answer_leaves_an_attempt_that_is_on_its_way(life: Life) -> None:
    """It may be paid already; both are followed and counted."""
    await life.reach(S.RELEASED)
    fresh = await life.intend()
    assert isinstance(fresh, PurchaseKey)
    await life.ledger.submitted(life.key(), life.owner, task_id="late", lifetime_s=60)
    await life.ledger.submitted(fresh, life.owner, task_id="new", lifetime_s=60)
    assert life.ledger.reserved() == Decimal("0.06")


@pytest.mark.parametrize("what", [adopt, release, write_off])
@pytest.mark.parametrize("state", [state for state in S if state is not S.UNKNOWN])
async def test_only_an_unknown_needs_a_decision(
    state: PurchaseState, what: Any, life: Life
) -> None:
    """Anything else is refused and changes nothing."""
    if what is adopt and state in (S.WRITTEN_OFF, S.EXPIRED):
        return
    await life.reach(state)
    before = life.ledger.purchases(), life.events(), life.ledger.committed()
    with pytest.raises(DecisionError, match="Nothing was"):
        decide(life, what)
    assert (life.ledger.purchases(), life.events(), life.ledger.committed()) == before


@pytest.mark.parametrize("what", [adopt, release, write_off])
def test_request_that_the_ledger_does_not_know_is_refused(what: Any, life: Life) -> None:
    """A typing mistake."""
    with pytest.raises(DecisionError, match="knows no request nonsense"):
        decide(life, what, "nonsense")


@pytest.mark.parametrize("what", [release, write_off])
async def test_unknown_of_a_run_at_work_is_not_given_away(what: Any, life: Life) -> None:
    """Its create may still be answered."""
    await life.reach(S.UNKNOWN)
    with pytest.raises(DecisionError, match="still at work"):
        decide(life, what, now=life.time.now)
    assert life.state() is S.UNKNOWN


async def test_task_of_another_request_is_not_adopted(life: Life) -> None:
    """One task is the result of one purchase."""
    await life.reach(S.UNKNOWN)
    await life.reach(S.SUBMITTED, "r2")
    with pytest.raises(DecisionError, match="belongs to request r2"):
        decide(life, adopt, task_id="task-of-r2")
    assert life.state() is S.UNKNOWN


async def test_adopted_purchase_is_no_longer_its_buyer_s(life: Life) -> None:
    """A run that comes back to life finds it taken, and its row is right all the same."""
    with life.ledger.owner("slow run") as slow:
        await life.ledger.intend(intention(), owner=slow)
        await life.ledger.unknown(life.key(), slow, "timeout")
        decide(life, adopt)
        with pytest.raises(TransitionError):
            await life.ledger.submitted(life.key(), slow, task_id="found", lifetime_s=60)
    assert life.ledger.purchases()["r1"].task_id == "found"
