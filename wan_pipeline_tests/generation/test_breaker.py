"""The breaker: too much in doubt or failed, and everybody pauses; then one create goes alone."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.generation.outcomes import Submitted
from wan_pipeline.generation.submit import NotBought
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.wan.answers import (
    ApiError,
    CreateDoubtful,
    CreateNotSent,
    CreateRefused,
    CreateThrottled,
    ErrorKind,
)
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests
from wan_pipeline_tests.generation.clocked import STEP_S, Scene
from wan_pipeline_tests.generation.counter import Counter, accepted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.ledger.pace import Pause
    from wan_pipeline.wan.answers import CreateOutcome
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

DOUBT = CreateDoubtful(reason="ReadTimeout")
REFUSED = CreateRefused(
    status=422, error=ApiError(code="422", message="no", kind=ErrorKind.INVALID)
)
WATCHED = 20


async def tripped(scene: Scene, folder: Path, **terms: object) -> Counter:
    """Five creates at the provider and three that wait; of the five three are in doubt."""
    counter = Counter(scene, folder, terms=terms)
    await counter.ask(5)
    for number in range(2):
        await counter.answer(number, DOUBT)
    assert not counter.tally.pauses
    await counter.answer(2, DOUBT, then_wait=False)
    return counter


async def finish(counter: Counter, count: int, *, failed: int, trips: int) -> None:
    """So many tasks end, the failed ones last."""
    breaker = counter.submitter.breaker
    for number in range(count):
        await breaker.finished(failed=number >= count - failed, trips=trips)


async def test_three_doubts_in_a_row_pause_everybody_and_are_told(
    scene: Scene, tmp_path: Path
) -> None:
    """Also another run of the account; the batch goes on, and says why it waits."""
    counter = await tripped(scene, tmp_path)
    began = scene.clock.now
    assert not counter.stop
    (told,) = counter.tally.pauses
    assert "30 s" in told
    assert "3 creates in a row without a known outcome: ReadTimeout" in told
    (moment,) = await scene.granted(scene.pacer(), each=1)
    assert moment >= began + 30


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


async def test_doubtful_again_stops_the_batch(scene: Scene, tmp_path: Path) -> None:
    """Four creates are in doubt, not more, and the rest is left to be bought."""
    counter = await tripped(scene, tmp_path)
    await counter.ask(3)
    await counter.answer(5, DOUBT)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert "4 creates in a row" in counter.stop.detail
    assert "also after 1 pause of 30 s" in counter.stop.detail
    assert len(counter.sent) == 6
    ended = [await each for each in counter.asking[5:]]
    assert ended == [NotBought.RECORDED, NotBought.LEFT, NotBought.LEFT]
    assert len(counter.tally.pauses) == 1


async def test_so_many_pauses_in_a_row_as_are_set(scene: Scene, tmp_path: Path) -> None:
    """Two here; one that is accepted starts the count anew."""
    counter = await tripped(scene, tmp_path, breaker_pauses=2, unknown_in_a_row=3)
    await counter.ask(8)
    await counter.answer(5, DOUBT)
    assert (len(counter.tally.pauses), len(counter.sent)) == (2, 7)
    assert counter.sent[6] >= counter.sent[5] + 30
    await counter.answer(6, accepted("one"))
    for number in (7, 8, 9):
        await counter.answer(number, DOUBT)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (3, False)
    await counter.ask(1)
    await counter.answer(13, DOUBT)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (4, False)
    await counter.ask(1)
    await counter.answer(14, DOUBT)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert "2 pauses" in counter.stop.detail


@pytest.mark.parametrize("terms", [{"breaker_pause_s": 0.0}, {"breaker_pauses": 0}])
async def test_without_a_pause_it_stops_at_once(
    terms: dict[str, float], scene: Scene, tmp_path: Path
) -> None:
    """By either setting."""
    counter = await tripped(scene, tmp_path, **terms)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert counter.stop.detail == "3 creates in a row without a known outcome: ReadTimeout"
    assert counter.tally.pauses == []


async def test_what_was_on_its_way_before_the_pause_decides_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    """Neither its doubt stops the batch, nor does its acceptance let all others go."""
    counter = await tripped(scene, tmp_path)
    await counter.answer(3, DOUBT, then_wait=False)
    await counter.answer(4, accepted("late"), then_wait=False)
    assert not counter.stop
    await counter.ask(4)
    assert len(counter.sent) == 6
    assert isinstance(await counter.asking[4], Submitted)
    assert counter.states() == ["intent", *["submitted"], *["unknown"] * 4]


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


async def test_too_many_failures_pause_and_then_one_goes_alone(
    scene: Scene, tmp_path: Path
) -> None:
    """Eleven of the last twenty; when one is accepted the others go."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=10, trips=0)
    assert counter.tally.pauses == []
    await finish(counter, 1, failed=1, trips=0)
    began = scene.clock.now
    (told,) = counter.tally.pauses
    assert "11 of the last 20 finished tasks failed" in told
    await counter.ask(4)
    assert len(counter.sent) == 1
    assert counter.sent[0] >= began + 30
    await counter.answer(0, accepted("one"))
    assert len(counter.sent) == 4
    assert not counter.stop


async def test_tasks_begun_before_the_pause_no_longer_count(scene: Scene, tmp_path: Path) -> None:
    """However many of them fail; those begun after it are counted from none."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=WATCHED, trips=0)
    await finish(counter, 3 * WATCHED, failed=3 * WATCHED, trips=0)
    await finish(counter, WATCHED - 1, failed=WATCHED - 1, trips=1)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (1, False)
    await finish(counter, 1, failed=0, trips=1)
    assert counter.stop.reason is StopReason.FAILURES
    assert "19 of the last 20 finished tasks failed, also after 1 pause" in counter.stop.detail


async def test_failures_after_better_times_pause_again(scene: Scene, tmp_path: Path) -> None:
    """Twenty tasks of which enough succeed end the row of pauses."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=WATCHED, trips=0)
    await finish(counter, WATCHED, failed=10, trips=1)
    await finish(counter, 1, failed=1, trips=1)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (2, False)
    await finish(counter, WATCHED, failed=11, trips=2)
    assert counter.stop.reason is StopReason.FAILURES


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


class Listener:
    """Keeps what it is told of pauses."""

    def __init__(self) -> None:
        self.pauses: list[str] = []
        self.in_flight: list[int] = []

    def update(self, tally: Tally) -> None:
        """Keep what is new."""
        for pause in tally.pauses[len(self.pauses) :]:
            self.pauses.append(pause)
            self.in_flight.append(tally.in_flight)


async def test_bad_minute_at_the_provider_costs_a_pause_and_no_run(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Three creates are in doubt, then the provider is well: all the others are bought."""
    emulator.set_plan(
        EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.ERROR_500_BEFORE, times=3),))
    )
    listener = Listener()
    report = await bench.buy(make_requests(12), breaker_pause_s=2.0, progress=listener)
    assert report.stop is None
    assert listener.pauses == report.tally.pauses
    assert len(report.tally.pauses) == 1
    assert bench.books().states() == ["stored"] * 9 + ["unknown"] * 3
    assert emulator.bill()["creates_accepted"] == 9


async def test_provider_that_stays_in_doubt_stops_the_batch(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """One more create than without the pause, and exit code 4 as before."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.ERROR_500_AFTER),)))
    report = await bench.buy(make_requests(20), breaker_pause_s=2.0)
    assert (report.stop, report.left) == (StopReason.UNKNOWN_CREATES, 16)
    assert bench.books().states() == ["unknown"] * 4
    assert emulator.bill()["creates_received"] == 4


async def test_failing_tasks_pause_once_and_then_stop(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Twenty more are watched after the pause; nothing that was begun is dropped."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.TASK_FAILED),)))
    report = await bench.buy(make_requests(90), breaker_pause_s=2.0)
    assert report.stop is StopReason.FAILURES
    assert len(report.tally.pauses) == 1
    books = bench.books()
    assert set(books.states()) <= {"failed", "planned"}
    assert books.states().count("failed") >= 2 * WATCHED
    assert report.left > 0
    assert books.reserved == 0
