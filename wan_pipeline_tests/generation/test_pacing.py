"""Pace and pauses, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.generation.pacing import SAFE_SHARE
from wan_pipeline_tests.generation.clocked import STEP_S, CountingLedger, FakeClock, Scene


async def test_slots_are_evenly_spaced_a_hair_under_the_limit(scene: Scene) -> None:
    """The first at once, the others one step apart, in the order of asking."""
    times = await scene.granted(scene.pacer(), each=6)
    assert times == pytest.approx([100.0 + number * STEP_S for number in range(6)])


async def test_pacers_of_one_account_share_its_pace(scene: Scene) -> None:
    """Three runs together ask as often as one alone."""
    times = await scene.granted(scene.pacer(), scene.pacer(), scene.pacer(), each=4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(times))]
    assert gaps == pytest.approx([STEP_S] * 11)


async def test_many_moments_a_second_are_fetched_in_blocks(scene: Scene) -> None:
    """The spacing is the same, the database is asked less often."""
    pacer, blocks = scene.pacer(per_second=1000.0), 0
    reserve = pacer._account.reserve

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal blocks
        blocks += 1
        return await reserve(*args, **kwargs)

    pacer._account.reserve = counted  # type: ignore[method-assign]
    asking = [asyncio.ensure_future(pacer.slot()) for _ in range(40)]
    await scene.clock.run_out()
    times = await asyncio.gather(*asking)
    step_us = round(1e6 / (1000.0 * SAFE_SHARE))
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [step_us] * 39
    assert blocks == 1


async def test_unused_slots_are_not_saved_up(scene: Scene) -> None:
    """After a quiet minute there is no burst."""
    pacer = scene.pacer()
    await scene.granted(pacer, each=1)
    scene.clock.now += 60
    times = await scene.granted(pacer, each=3)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([STEP_S] * 2)


async def test_pause_holds_for_everyone_who_waits_and_everyone_who_comes(scene: Scene) -> None:
    """Also for another run; after it all go on one by one, not at once."""
    even, another, clock = scene.pacer(), scene.pacer(), scene.clock
    waiting = [asyncio.ensure_future(pacer.slot()) for pacer in (even, even, even, another)]
    times: list[float] = []
    for slot in waiting:
        slot.add_done_callback(lambda _: times.append(clock.now))
    await clock.settle()
    await even.pause(10.0, first_s=1, longest_s=60)
    late = asyncio.ensure_future(another.slot())
    late.add_done_callback(lambda _: times.append(clock.now))
    await clock.run_out()
    assert len(times) == 5
    held = sorted(times)[1:]  # the first one had its slot before the pause
    assert min(held) >= 110.0
    assert all(later - earlier >= STEP_S - 1e-6 for earlier, later in itertools.pairwise(held))


async def test_pauses_double_and_start_again_after_success(scene: Scene) -> None:
    """1, 2, 4, ... up to the longest, whoever meets them; an acceptance ends the streak."""
    even, another = scene.pacer(), scene.pacer()
    pauses: list[float] = []
    for pacer in (even, another, even, even, another):
        pauses.append(await pacer.pause(None, first_s=1, longest_s=6))
        scene.clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 6, 6]
    await even.went_well()
    assert await another.pause(None, first_s=1, longest_s=6) == 1


async def test_refusals_of_one_moment_are_one_pause(scene: Scene) -> None:
    """Five creates on their way come back as five refusals, and double nothing."""
    even = scene.pacer()
    assert await even.pause(None, first_s=1, longest_s=60) == 1
    for _ in range(4):
        await even.pause(None, first_s=1, longest_s=60)
    scene.clock.now += 1
    assert await even.pause(None, first_s=1, longest_s=60) == 2


async def test_retry_after_decides_and_never_shortens_a_pause(scene: Scene) -> None:
    """The longest wish wins."""
    even = scene.pacer()
    await even.pause(30.0, first_s=1, longest_s=60)
    await even.pause(5.0, first_s=1, longest_s=60)
    (time,) = await scene.granted(even, each=1)
    assert time == pytest.approx(130.0)


@pytest.mark.parametrize("jump_s", [-3600.0, -86_400.0, 3600.0])
async def test_clock_that_jumps_holds_nobody_up(jump_s: float, scene: Scene) -> None:
    """A next moment an hour ahead is a clock that was set back, and starts anew."""
    even = scene.pacer()
    await even.pause(20.0, first_s=1, longest_s=60)
    scene.clock.now += 25
    await scene.granted(even, each=3)
    began = scene.clock.now = scene.clock.now + jump_s
    times = await scene.granted(scene.pacer(), each=3)
    assert times == pytest.approx([began + number * STEP_S for number in range(3)])


async def test_long_pause_is_no_jump(scene: Scene) -> None:
    """Retry-After of an hour holds, for runs that begin meanwhile too."""
    await scene.pacer().pause(3600.0, first_s=1, longest_s=60)
    scene.clock.now += 1800
    (time,) = await scene.granted(scene.pacer(), each=1)
    assert time == pytest.approx(100.0 + 3600)


@settings(max_examples=25)
@given(
    gaps=st.lists(st.floats(0, 3), min_size=2, max_size=12),
    pauses=st.lists(st.tuples(st.integers(0, 11), st.floats(0, 5)), max_size=4),
)
def test_no_two_slots_are_ever_closer_than_a_step(
    gaps: list[float], pauses: list[tuple[int, float]]
) -> None:
    """Whoever asks whenever, and whatever pauses fall between."""

    async def scene_of(scene: Scene) -> list[int]:
        pacers = [scene.pacer(), scene.pacer()]

        async def ask(number: int, after_s: float) -> int:
            await scene.clock.sleep(after_s)
            return await pacers[number % 2].slot()

        async def hold(after_s: float, seconds: float) -> None:
            await scene.clock.sleep(after_s)
            await pacers[0].pause(seconds, first_s=1, longest_s=60)

        starts = list(itertools.accumulate(gaps))
        asking = [asyncio.ensure_future(ask(*start)) for start in enumerate(starts)]
        holding = [asyncio.ensure_future(hold(float(at), pause)) for at, pause in pauses]
        await scene.clock.run_out()
        await asyncio.gather(*holding)
        return await asyncio.gather(*asking)

    with (
        tempfile.TemporaryDirectory() as folder,
        CountingLedger(Path(folder) / "ledger.sqlite", "emulator") as ledger,
        ledger.owner("run") as owner,
    ):
        moments = asyncio.run(scene_of(Scene(ledger, owner, FakeClock(ledger))))
    step_us = round(STEP_S * 1e6)
    assert all(later - earlier >= step_us for earlier, later in itertools.pairwise(sorted(moments)))
