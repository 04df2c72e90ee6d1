"""Pace, pauses, window and polling schedule, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.generation.pacing import SAFE_SHARE, Pacer, Window
from wan_pipeline.generation.polling import PollSchedule


class FakeClock:
    """Seconds that pass only while everybody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Be woken when that much time has passed."""
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def run_out(self) -> None:
        """Let time pass until nobody sleeps any more."""
        await settle()
        while self._sleepers:
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set_result(None)
            await settle()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def pacer(clock: FakeClock, per_second: float = 5.0) -> Pacer:
    """A pacer on the fake clock."""
    return Pacer(per_second, clock=clock, sleep=clock.sleep)


async def granted(pacer: Pacer, clock: FakeClock, count: int) -> list[float]:
    """When so many callers, all asking now, get their slots."""
    times: list[float] = []

    async def ask() -> None:
        await pacer.slot()
        times.append(clock.now)

    asking = [asyncio.ensure_future(ask()) for _ in range(count)]
    await clock.run_out()
    await asyncio.gather(*asking)
    return times


async def test_slots_are_evenly_spaced_a_hair_under_the_limit() -> None:
    """The first at once, the others one step apart, in the order of asking."""
    clock = FakeClock()
    times = await granted(pacer(clock), clock, 6)
    step = 1 / (5.0 * SAFE_SHARE)
    assert times == pytest.approx([100.0 + number * step for number in range(6)])


async def test_unused_slots_are_not_saved_up() -> None:
    """After a quiet minute there is no burst."""
    clock = FakeClock()
    even = pacer(clock)
    await granted(even, clock, 1)
    clock.now += 60
    times = await granted(even, clock, 3)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([1 / (5.0 * SAFE_SHARE)] * 2)


async def test_pause_holds_for_everyone_who_waits_and_everyone_who_comes() -> None:
    """After it they go on one by one, not all at once."""
    clock = FakeClock()
    even = pacer(clock)
    waiting = [asyncio.ensure_future(even.slot()) for _ in range(5)]
    times: list[float] = []
    for slot in waiting:
        slot.add_done_callback(lambda _: times.append(clock.now))
    await settle()
    even.pause(10.0, first_s=1, longest_s=60)
    late = asyncio.ensure_future(even.slot())
    late.add_done_callback(lambda _: times.append(clock.now))
    await clock.run_out()
    assert len(times) == 6
    held = sorted(times)[1:]  # the first one had its slot before the pause
    assert min(held) >= 110.0
    step = 1 / (5.0 * SAFE_SHARE)
    assert all(later - earlier >= step - 1e-9 for earlier, later in itertools.pairwise(held))


async def test_pauses_double_and_start_again_after_success() -> None:
    """1, 2, 4, ... up to the longest; an acceptance ends the streak."""
    clock = FakeClock()
    even = pacer(clock)
    pauses: list[float] = []
    for _ in range(5):
        pauses.append(even.pause(None, first_s=1, longest_s=6))
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 6, 6]
    even.went_well()
    assert even.pause(None, first_s=1, longest_s=6) == 1


async def test_refusals_of_one_moment_are_one_pause() -> None:
    """Five creates on their way come back as five refusals, and double nothing."""
    clock = FakeClock()
    even = pacer(clock)
    assert even.pause(None, first_s=1, longest_s=60) == 1
    for _ in range(4):
        even.pause(None, first_s=1, longest_s=60)
    clock.now += 1
    assert even.pause(None, first_s=1, longest_s=60) == 2


async def test_retry_after_decides_and_never_shortens_a_pause() -> None:
    """The longest wish wins."""
    clock = FakeClock()
    even = pacer(clock)
    even.pause(30.0, first_s=1, longest_s=60)
    even.pause(5.0, first_s=1, longest_s=60)
    (time,) = await granted(even, clock, 1)
    assert time == pytest.approx(130.0)


@given(
    gaps=st.lists(st.floats(0, 3), min_size=2, max_size=12),
    pauses=st.lists(st.tuples(st.integers(0, 11), st.floats(0, 5)), max_size=4),
)
def test_no_two_slots_are_ever_closer_than_a_step(
    gaps: list[float], pauses: list[tuple[int, float]]
) -> None:
    """Whoever asks whenever, and whatever pauses fall between."""

    async def scene() -> list[float]:
        clock = FakeClock()
        even = pacer(clock)
        times: list[float] = []

        async def ask(after_s: float) -> None:
            await clock.sleep(after_s)
            await even.slot()
            times.append(clock.now)

        async def hold(after_s: float, seconds: float) -> None:
            await clock.sleep(after_s)
            even.pause(seconds, first_s=1, longest_s=60)

        starts = list(itertools.accumulate(gaps))
        scene = [ask(start) for start in starts]
        scene += [hold(float(at), seconds) for at, seconds in pauses]
        running = [asyncio.ensure_future(act) for act in scene]
        await clock.run_out()
        await asyncio.gather(*running)
        return times

    times = asyncio.run(scene())
    step = 1 / (5.0 * SAFE_SHARE)
    assert times == sorted(times)
    assert all(later - earlier > step - 1e-6 for earlier, later in itertools.pairwise(times))


async def test_window_holds_back_new_tasks_only() -> None:
    """Found tasks count and are never refused; a place that gets free is taken at once."""
    window = Window(2)
    for _ in range(3):
        window.add()
    entering = asyncio.ensure_future(window.enter())
    await window.leave()
    await settle()
    assert not entering.done()
    await window.leave()
    await settle()
    assert entering.done()
    assert window.used == 2


async def test_cancelled_entry_takes_no_place() -> None:
    """A batch that ends while it waits leaves the count right."""
    window = Window(1)
    await window.enter()
    waiting = asyncio.ensure_future(window.enter())
    await settle()
    waiting.cancel()
    await settle()
    await window.leave()
    assert window.used == 0


def test_polls_stretch_out_while_nothing_is_known() -> None:
    """One second, then half more each time, up to ten."""
    schedule = PollSchedule()
    waits = [schedule.wait_s(age_s=0, polls=polls) for polls in range(9)]
    assert waits[:3] == pytest.approx([1.0, 1.5, 2.25])
    assert waits[-1] == 10.0


def test_polls_follow_the_latencies_that_were_seen() -> None:
    """A first look at 60 % of the median, then steps of 12 % of it."""
    schedule = PollSchedule()
    for latency in (20.0, 10.0, 1000.0):
        schedule.learn(latency)
    assert schedule.wait_s(age_s=5.0, polls=0) == pytest.approx(7.0)
    assert schedule.wait_s(age_s=12.0, polls=1) == pytest.approx(2.4)


@given(
    latencies=st.lists(st.floats(0, 1e6), max_size=60),
    age_s=st.floats(-1e6, 1e9),
    polls=st.integers(0, 10**6),
)
def test_wait_is_always_within_its_bounds(latencies: list[float], age_s: float, polls: int) -> None:
    """Also when the wall clock jumps."""
    schedule = PollSchedule()
    for latency in latencies:
        schedule.learn(latency)
    assert 0.02 <= schedule.wait_s(age_s=age_s, polls=polls) <= 10.0
