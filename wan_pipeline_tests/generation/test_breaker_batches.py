"""The breaker in whole batches over real HTTP: what a bad minute costs, and what stops a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests
from wan_pipeline_tests.generation.breaker_fixture import WATCHED

if TYPE_CHECKING:
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


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
