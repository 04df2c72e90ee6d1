"""Room at the provider, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.generation.pacing import Window
from wan_pipeline.generation.stop import Stop
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.owner import Owner
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from wan_pipeline_tests.generation.clocked import Scene


async def test_window_holds_back_new_tasks_only(scene: Scene) -> None:
    """Found tasks count and are never refused; a place that gets free is taken at once."""
    window = scene.window(2)
    for _ in range(3):
        await window.add()
    entering = asyncio.ensure_future(window.enter())
    await scene.clock.settle()
    await window.leave()
    await scene.clock.settle()
    assert not entering.done()
    await window.leave()
    await scene.clock.settle()
    assert entering.done()
    assert window.used == 2


async def test_windows_of_one_account_share_its_room_in_turn(scene: Scene) -> None:
    """Who asked first is let in first, whichever run it is."""
    one, other = scene.window(2), scene.window(2)
    await one.enter()
    await one.enter()
    waiting = [asyncio.ensure_future(window.enter()) for window in (other, one, other)]
    for done in range(3):
        await scene.clock.settle()
        assert [each.done() for each in waiting] == [True] * done + [False] * (3 - done)
        await (one if one.used else other).leave()
        for _ in range(2):  # the others look four times a second
            scene.clock.now += 0.25
            await scene.clock.wake()
    assert all(each.done() for each in waiting)


async def test_room_of_an_owner_that_ended_is_free(scene: Scene) -> None:
    """Also when it never said that its tasks are done."""
    with scene.ledger.owner("dies") as dying:
        room = AccountLimits(scene.ledger, dying)
        lost = Window(room, 1, stop=Stop(), sleep=scene.clock.sleep)
        await lost.enter()
        entering = asyncio.ensure_future(scene.window(1).enter())
        await scene.clock.settle()
        assert not entering.done()
    await scene.clock.wake()
    assert entering.done()


@pytest.mark.parametrize(("lease_s", "free"), [(-1.0, True), (60.0, False)])
async def test_room_of_another_machine_comes_back_by_lease(
    lease_s: float, free: bool, scene: Scene
) -> None:
    """Nobody here can see whether its process lives; its lease tells."""
    far = dataclasses.replace(Owner.of_this_process("far"), machine="another machine")
    row = dataclasses.asdict(far) | {
        "lease_expires_at": scene.ledger.now() + timedelta(seconds=lease_s)
    }
    await scene.ledger.apply(
        lambda tx: tx.connection.execute(sa.insert(schema.owners).values(**row))
    )
    room = AccountLimits(scene.ledger, far)
    await Window(room, 1, stop=Stop(), sleep=scene.clock.sleep).enter()
    entering = asyncio.ensure_future(scene.window(1).enter())
    await scene.clock.settle()
    assert entering.done() is free
    entering.cancel()


async def test_cancelled_entry_takes_no_place(scene: Scene) -> None:
    """A batch that ends while it waits leaves the count right."""
    window = scene.window(1)
    await window.enter()
    waiting = asyncio.ensure_future(window.enter())
    await scene.clock.settle()
    waiting.cancel()
    await scene.clock.settle()
    await window.leave()
    assert window.used == 0
    async with asyncio.timeout(5):
        await scene.window(1).enter()


async def test_stop_ends_the_wait_for_room(scene: Scene) -> None:
    """At once, however long the others keep theirs; who asks later is not held up by it."""
    stop, began = Stop(), scene.clock.now
    full = scene.window(1)
    await full.enter()
    stopped = Window(scene.account, 1, stop=stop, sleep=scene.clock.sleep)
    entering = asyncio.ensure_future(stopped.enter())
    await scene.clock.settle()
    assert not entering.done()
    stop.set(StopReason.BUDGET, "a cap")
    await scene.clock.settle()
    assert (entering.done(), scene.clock.now) == (True, began)
    assert not await entering
    assert stopped.used == 0
    await full.leave()
    async with asyncio.timeout(5):
        assert await scene.window(1).enter()
