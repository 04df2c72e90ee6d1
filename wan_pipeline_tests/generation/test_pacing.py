"""Pace, pauses, window and polling schedule, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import itertools
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.generation.pacing import SAFE_SHARE, Pacer, Window
from wan_pipeline.generation.polling import PollSchedule
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_S = round(1e6 / (5.0 * SAFE_SHARE)) / 1e6
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


class FakeClock:
    """Seconds that pass only while everybody sleeps; the ledger's work takes none."""

    def __init__(self, ledger: Ledger) -> None:
        self.now = 100.0
        self._ledger = ledger
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        """The time."""
        return self.now

    def date(self) -> datetime:
        """The same as the wall clock has it."""
        return EPOCH + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        """Be woken when that much time has passed."""
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def run_out(self) -> None:
        """Let time pass until nobody sleeps any more."""
        await self.settle()
        while self._sleepers:
            when, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # its sleeper may have been cancelled
                self.now = max(self.now, when)
                woken.set_result(None)
                await self.settle()

    async def wake(self) -> None:
        """Wake everybody who sleeps now, and let them act."""
        sleepers, self._sleepers = self._sleepers, []
        for when, _, woken in sorted(sleepers, key=lambda each: each[:2]):
            self.now = max(self.now, when)
            if not woken.done():
                woken.set_result(None)
        await self.settle()

    async def settle(self) -> None:
        """Let every task that can run do so, and the ledger do what they asked."""
        quiet = 0
        while quiet < 3:
            for _ in range(10):
                await asyncio.sleep(0)
            before = self._ledger.asked
            await self._ledger.apply(lambda _: None)
            quiet = quiet + 1 if self._ledger.asked == before + 1 else 0


class CountingLedger(Ledger):
    """Knows how many changes were asked for."""

    asked = 0

    async def apply(self, change: Any) -> Any:
        """Count and go on."""
        self.asked += 1
        return await super().apply(change)


@dataclass
class Scene:
    """One account, one owner and the clock."""

    ledger: CountingLedger
    owner: Owner
    clock: FakeClock

    @property
    def account(self) -> AccountLimits:
        """The shared limits by the fake clock."""
        return AccountLimits(self.ledger, self.owner, now=self.clock.date)

    def pacer(self, per_second: float = 5.0) -> Pacer:
        """A pacer of the account; several share its moments."""
        return Pacer(self.account, "creates", per_second, clock=self.clock, sleep=self.clock.sleep)

    def window(self, size: int) -> Window:
        """A window of the account; several share its room."""
        return Window(self.account, size, sleep=self.clock.sleep)

    async def granted(self, *pacers: Pacer, each: int) -> list[float]:
        """When so many callers of each pacer, all asking now, get their slots."""
        times: list[float] = []

        async def ask(pacer: Pacer) -> None:
            await pacer.slot()
            times.append(self.clock.now)

        asking = [asyncio.ensure_future(ask(pacer)) for pacer in pacers for _ in range(each)]
        await self.clock.run_out()
        await asyncio.gather(*asking)
        return times


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty ledger."""
    with (
        CountingLedger(tmp_path / "ledger.sqlite", "emulator") as ledger,
        ledger.owner("run") as owner,
    ):
        yield Scene(ledger, owner, FakeClock(ledger))


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
        lost = Window(AccountLimits(scene.ledger, dying), 1, sleep=scene.clock.sleep)
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
    await Window(AccountLimits(scene.ledger, far), 1, sleep=scene.clock.sleep).enter()
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
