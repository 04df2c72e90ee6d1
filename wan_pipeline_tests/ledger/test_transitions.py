"""Only the moves of the map, only by the owner, each with its event."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.owner import Owner
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.states import TRANSITIONS, ImageState, PurchaseState

if TYPE_CHECKING:
    from wan_pipeline_tests.ledger.conftest import Life

S = PurchaseState
STRANGER = Owner.of_this_process("another run")
MOVES = [S.PLANNED, S.REFUSED, S.UNKNOWN, S.SUBMITTED, S.FAILED, S.EXPIRED, S.SUCCEEDED]
FREE = {S.PLANNED, S.RELEASED}
GIVEN_UP = {S.RELEASED, S.WRITTEN_OFF}


@pytest.mark.parametrize("to", MOVES)
@pytest.mark.parametrize("origin", list(S))
async def test_only_the_moves_of_the_map_exist(
    origin: PurchaseState, to: PurchaseState, life: Life
) -> None:
    """An allowed move is made and written down; any other changes nothing at all."""
    await life.reach(origin)
    before = life.ledger.purchases(), life.events()
    if (origin, to) == (S.SUBMITTED, S.SUBMITTED):
        await life.go(to)  # the same task told twice: the first time is enough
        assert (life.ledger.purchases(), life.events()) == before
    elif to is S.UNKNOWN and origin in GIVEN_UP:
        await life.go(to)  # a person's word stands, and the doubt is told
        assert life.state() is origin
        assert life.events() == [*before[1], (origin.value, origin.value)]
    elif to in TRANSITIONS[origin]:
        await life.go(to)
        assert life.state() is to
        assert life.events() == [*before[1], (origin.value, to.value)]
    else:
        with pytest.raises(TransitionError, match=origin.value):
            await life.go(to)
        assert (life.ledger.purchases(), life.events()) == before


@pytest.mark.parametrize("to", MOVES)
async def test_nobody_moves_what_another_owns(to: PurchaseState, life: Life) -> None:
    """Not even the way the map allows."""
    origin = next(state for state in S if to in TRANSITIONS[state])
    await life.reach(origin)
    before = life.ledger.purchases(), life.events()
    with pytest.raises(TransitionError, match="owner"):
        await life.go(to, owner=STRANGER)
    assert (life.ledger.purchases(), life.events()) == before


async def test_row_that_does_not_exist_cannot_move(life: Life) -> None:
    """A mistake in our own code is loud."""
    with pytest.raises(TransitionError, match="no row"):
        await life.go(S.SUBMITTED, "never intended")


@pytest.mark.parametrize("state", [state for state in S if state not in FREE])
async def test_intent_is_given_once(state: PurchaseState, life: Life) -> None:
    """Whatever stands is returned and forbids the create; a planned row alone is free."""
    await life.reach(state)
    before = life.events()
    standing = await life.intend()
    assert isinstance(standing, Purchase)
    assert standing.state is state
    assert life.events() == before


async def test_planned_row_is_intended_again_with_the_new_terms(life: Life) -> None:
    """A later run may pay another price and carry another run id."""
    await life.reach(S.PLANNED)
    assert await life.intend(price_usd=Decimal("0.05"), n=2) == life.key()
    assert life.state() is S.INTENT
    assert life.ledger.reserved() == Decimal("0.10")
    assert len(life.ledger.purchases()) == 1


@pytest.mark.parametrize(
    ("kind", "what", "attempts", "free"),
    [
        ("other", {Retry.FAILED}, 3, True),
        ("other", set[Retry](), 3, False),
        ("other", {Retry.LOST}, 3, False),
        ("other", {Retry.FAILED}, 1, False),
        ("invalid", {Retry.FAILED}, 3, False),
        ("moderation", {Retry.FAILED}, 3, False),
    ],
)
async def test_refused_request_is_tried_anew_on_a_word_and_for_a_reason_that_may_pass(
    kind: str, what: set[Retry], attempts: int, free: bool, life: Life
) -> None:
    """As a new attempt; the refused one stays on record."""
    await life.intend()
    await life.ledger.refused(life.key(), life.owner, code="x", message="no", kind=kind)
    rule = RetryRule(what=frozenset(what), max_attempts=attempts)
    standing = await life.intend(retry=rule)
    assert isinstance(standing, PurchaseKey) is free
    assert standing.attempt == (2 if free else 1)
    assert life.state() is S.REFUSED


async def test_of_many_intents_at_once_one_wins(life: Life) -> None:
    """However close together they come."""
    answers = await asyncio.gather(*(life.intend() for _ in range(50)))
    assert sum(answer == life.key() for answer in answers) == 1
    assert life.events() == [(None, "intent")]
    assert life.ledger.reserved() == Decimal("0.03")


async def test_money_follows_the_state(life: Life) -> None:
    """Reserved with the intent; released, kept or paid as the table of outcomes says."""
    expected = {
        S.PLANNED: ("0", "0"),
        S.INTENT: ("0.03", "0"),
        S.REFUSED: ("0", "0"),
        S.UNKNOWN: ("0.03", "0"),
        S.SUBMITTED: ("0.03", "0"),
        S.FAILED: ("0", "0"),
        S.EXPIRED: ("0.03", "0"),
        S.SUCCEEDED: ("0", "0.03"),
        S.STORED: ("0", "0.03"),
    }
    for state, (reserved, cost) in expected.items():
        await life.reach(state, state.value)
        purchase = life.ledger.purchases([state.value])[state.value]
        assert purchase.reserved_usd == Decimal(reserved), state
        assert (purchase.cost_usd or 0) == Decimal(cost), state
    assert life.ledger.reserved() == Decimal("0.12")
    assert life.ledger.spent() == life.ledger.spent(run_id="run") == Decimal("0.06")
    assert life.ledger.spent(run_id="another") == 0


async def test_purchase_is_stored_when_no_image_can_arrive(life: Life) -> None:
    """Damaged ones may; stored and lost ones are at their end."""
    await life.reach(S.SUBMITTED)
    await life.succeed(images=3)
    image, key = life.ledger.image, life.key()
    assert not await image(key, life.owner, 0, ImageState.STORED, image_id="a", path="p")
    assert not await image(key, life.owner, 1, ImageState.DAMAGED, problem="CRC")
    assert not await image(key, life.owner, 2, ImageState.LOST, problem="403")
    assert life.state() is S.SUCCEEDED
    assert await image(key, life.owner, 1, ImageState.STORED, image_id="b", path="q")
    assert life.state() is S.STORED
    assert life.ledger.requests_with_lost_images() == {"r1"}
    states = [record.state.value for record in life.ledger.images()["r1"]]
    assert states == ["stored", "stored", "lost"]


async def test_task_without_images_is_stored_at_once(life: Life) -> None:
    """Nothing can arrive."""
    await life.reach(S.SUBMITTED)
    await life.succeed(images=0)
    assert life.state() is S.STORED


@pytest.mark.parametrize("first", [ImageState.STORED, ImageState.LOST])
async def test_image_at_its_end_stays_there(first: ImageState, life: Life) -> None:
    """A slow second fetcher cannot undo what the first one stored, nor revive a lost one."""
    await life.reach(S.SUBMITTED)
    await life.succeed(images=2)
    await life.ledger.image(life.key(), life.owner, 0, first)
    before = life.ledger.images(), life.events()
    with pytest.raises(TransitionError, match="image 0"):
        await life.ledger.image(life.key(), life.owner, 0, ImageState.LOST)
    assert (life.ledger.images(), life.events()) == before


async def test_strangers_and_unknown_images_are_refused(life: Life) -> None:
    """An image belongs to the owner of its purchase."""
    await life.reach(S.SUCCEEDED)
    before = life.ledger.images(), life.events()
    with pytest.raises(TransitionError):
        await life.ledger.image(life.key(), STRANGER, 0, ImageState.STORED)
    with pytest.raises(TransitionError):
        await life.ledger.image(life.key(), life.owner, 7, ImageState.STORED)
    assert (life.ledger.images(), life.events()) == before
    assert life.state() is S.SUCCEEDED
