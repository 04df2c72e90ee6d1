"""After a pause one create goes alone, whatever waited, was cancelled or is stopped."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.generation.outcomes import Submitted
from wan_pipeline.generation.submit import NotBought
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.wan.answers import (
    CreateNotSent,
    CreateThrottled,
)
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.batch_fixture import make_requests
from wan_pipeline_tests.generation.breaker_fixture import DOUBT, REFUSED, tripped
from wan_pipeline_tests.generation.clocked import STEP_S, Scene
from wan_pipeline_tests.generation.counter import Counter, accepted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.ledger.pace import Pause
    from wan_pipeline.wan.answers import CreateOutcome


async def test_one_create_goes_alone_until_it_is_accepted(scene: Scene, tmp_path: Path) -> None:
    """Then all go again at the account's pace, and the streak is over."""
    counter = await tripped(scene, tmp_path)
    began = scene.clock.now
    await counter.ask(6)
    assert len(counter.sent) == 5 + 1
    assert counter.sent[5] >= began + 30
    scene.clock.now += 100
    await scene.clock.run_out()
    assert len(counter.sent) == 5 + 1, "a second one went before the first was answered"

    await counter.answer(5, accepted("one"))
    assert len(counter.sent) == 5 + 6
    after = counter.sent[6:]
    assert all(later - earlier >= STEP_S - 1e-6 for earlier, later in itertools.pairwise(after))
    for number in (6, 7):
        await counter.answer(number, DOUBT)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (1, False)


async def test_creates_that_waited_for_their_moment_do_not_go_beside_it(
    scene: Scene, tmp_path: Path
) -> None:
    """They had begun to wait when all could still go."""
    counter = Counter(scene, tmp_path, terms={"unknown_in_a_row": 1})
    await counter.ask(1)
    counter.asking += [
        asyncio.ensure_future(counter.submitter.submit(request)) for request in make_requests(9)[1:]
    ]
    await scene.clock.settle()
    assert len(counter.sent) == 1
    await counter.answer(0, DOUBT)
    assert len(counter.sent) == 2
    assert counter.states() == ["intent", "unknown"]  # nobody wrote an intent in vain
    await counter.answer(1, accepted("one"))
    assert len(counter.sent) == 9


@pytest.mark.parametrize(
    ("outcome", "same_again"),
    [
        (REFUSED, False),
        (CreateThrottled(retry_after_s=3.0), True),
        (CreateNotSent(reason=""), True),
    ],
)
async def test_answer_that_proves_nothing_lets_the_next_one_go_alone(
    outcome: CreateOutcome, same_again: bool, scene: Scene, tmp_path: Path
) -> None:
    """A refusal, a 429 and no connection are neither an acceptance nor a doubt."""
    counter = await tripped(scene, tmp_path)
    await counter.ask(4)
    await counter.answer(5, outcome)
    assert len(counter.sent) == 7
    await counter.answer(6, accepted("one"))
    assert len(counter.sent) == 7 + (3 if same_again else 2)
    assert not counter.stop


async def test_cancelled_one_makes_room_for_the_next(scene: Scene, tmp_path: Path) -> None:
    """While it still waits for the end of the pause."""
    counter = await tripped(scene, tmp_path)
    waiting = [
        asyncio.ensure_future(counter.submitter.submit(request))
        for request in make_requests(12)[10:]
    ]
    await scene.clock.settle()
    waiting[0].cancel()
    await scene.clock.run_out()
    assert waiting[0].cancelled()
    assert len(counter.sent) == 6
    await counter.answer(5, accepted("one"))
    assert isinstance(await waiting[1], Submitted)


async def test_intent_from_before_the_pause_is_not_sent_in_it(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its moment was granted, its intent is being written, and then the pause begins."""
    counter = Counter(scene, tmp_path, terms={"unknown_in_a_row": 1})
    await counter.ask(1)
    intend, written, go_on = scene.ledger.intend, asyncio.Event(), asyncio.Event()

    async def slowly(*args: object, **kwargs: object) -> object:
        key = await intend(*args, **kwargs)  # type: ignore[arg-type]
        written.set()
        await go_on.wait()
        return key

    monkeypatch.setattr(scene.ledger, "intend", slowly)
    await counter.ask(1)
    assert written.is_set()
    await counter.answer(0, DOUBT, then_wait=False)
    began = scene.clock.now
    go_on.set()
    await scene.clock.settle()
    assert counter.states() == ["planned", "unknown"]
    await scene.clock.run_out()
    assert len(counter.sent) == 2
    assert counter.sent[1] >= began + 30


async def test_intent_of_a_run_that_stood_still_is_not_sent(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between intent and create, it was given up by others: it starts once more."""
    counter = Counter(scene, tmp_path)
    intend, off = scene.ledger.intend, [40, 0]

    async def then_stand_still(*args: object, **kwargs: object) -> object:
        key = await intend(*args, **kwargs)  # type: ignore[arg-type]
        late = timedelta(seconds=off.pop(0))
        monkeypatch.setattr(scene.ledger, "now", lambda: datetime.now(UTC) + late)
        return key

    monkeypatch.setattr(scene.ledger, "intend", then_stand_still)
    await counter.ask(1)
    assert len(counter.sent) == 1
    assert off == []
    with scene.ledger._read() as connection:
        events = connection.execute(sa.select(schema.events.c.detail)).scalars().all()
    assert any("stood still for 40 s" in (each or "") for each in events)


async def test_nothing_goes_while_the_pause_is_being_written(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments that were granted before, in a block, would still be good."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    pause = AccountLimits.pause

    async def slowly(self: AccountLimits, limit: str, asked: Pause) -> float:
        begun.set()
        await go_on.wait()
        return await pause(self, limit, asked)

    monkeypatch.setattr(AccountLimits, "pause", slowly)
    counter = await tripped(scene, tmp_path)
    assert begun.is_set()
    await counter.ask(4)
    assert len(counter.sent) == 5
    began = scene.clock.now
    go_on.set()
    await scene.clock.run_out()
    assert len(counter.sent) == 6
    assert counter.sent[5] >= began + 30


async def test_accepted_create_knows_how_often_the_circuit_was_opened(
    scene: Scene, tmp_path: Path
) -> None:
    """So its task is told from those of before."""
    counter = await tripped(scene, tmp_path)
    await counter.ask(1)
    await counter.answer(3, accepted("before"))
    await counter.answer(5, accepted("after"))
    before, after = await counter.asking[3], await counter.asking[5]
    assert (before.trips, after.trips) == (0, 1)


@pytest.mark.parametrize("pause", ["breaker", "throttled"])
async def test_stop_wakes_creates_in_a_pause(pause: str, scene: Scene, tmp_path: Path) -> None:
    """No credit, a cap, a bad key: they need not wait for the end of the pause to hear of it."""
    counter = Counter(scene, tmp_path, terms={"unknown_in_a_row": 1, "breaker_pause_s": 3600.0})
    await counter.ask(1)
    hour = CreateThrottled(retry_after_s=3600.0)
    await counter.answer(0, DOUBT if pause == "breaker" else hour, then_wait=False)
    began = scene.clock.now
    waiting = [
        asyncio.ensure_future(counter.submitter.submit(request)) for request in make_requests(8)[1:]
    ]
    await scene.clock.settle()
    assert not any(each.done() for each in waiting)
    counter.stop.set(StopReason.NO_CREDIT, "empty")
    await scene.clock.settle()
    assert all(each.done() for each in waiting)
    assert [await each for each in waiting] == [NotBought.LEFT] * 7
    assert (scene.clock.now, len(counter.sent)) == (began, 1)


async def test_cancellation_wakes_creates_in_a_pause(scene: Scene, tmp_path: Path) -> None:
    """They have not begun, so there is no grace to wait for."""
    counter = await tripped(scene, tmp_path, breaker_pause_s=3600.0)
    began = scene.clock.now
    waiting = [
        asyncio.ensure_future(counter.submitter.submit(request))
        for request in make_requests(12)[10:]
    ]
    await scene.clock.settle()
    counter.stop.cancel()
    await scene.clock.settle()
    assert all(each.done() for each in waiting)
    assert [await each for each in waiting] == [NotBought.LEFT] * 2
    assert scene.clock.now == began
