"""The breaker in whole batches over real HTTP: what a bad minute costs, and what stops a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.retry import RetryPolicy
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


def no_images(kind: FaultKind, **values: object) -> EmulatorPlan:
    """A provider that makes images, charges for them, and does not hand them out."""
    fault = Fault(kind=kind, on="download", **values)
    return EmulatorPlan(speed_up=1000, faults=(fault,))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.EXPIRED_URL, "the result's URL answers 403 (gone or expired)"),
        (FaultKind.TRUNCATED_IMAGE, "damaged image (truncated)"),
        (FaultKind.ERROR_503_BEFORE, "image could not be fetched: status 503"),
    ],
)
async def test_provider_whose_images_never_arrive_is_not_bought_out(
    kind: FaultKind, reason: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """Of thirty prompts a window and five are paid for, twice; what arrives later is kept."""
    emulator.set_plan(no_images(kind))
    bench.retry = RetryPolicy(attempts=1)
    requests = make_requests(30)
    report = await bench.buy(requests, breaker_pause_s=2.0)
    assert report.stop is StopReason.FAILURES
    assert reason in report.stop_detail
    assert len(report.tally.pauses) == 1
    bought = int(emulator.bill()["creates_accepted"])
    assert bought <= 2 * (5 + bench.terms().window)
    assert report.left == 30 - bought

    emulator.set_plan(EmulatorPlan(speed_up=1000))
    again = await bench.buy(requests)
    assert (again.stop, again.tally.done) == (None, 30)
    assert emulator.bill()["creates_accepted"] == 30


async def test_images_that_stop_arriving_pause_and_then_stop(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The first ones came: more than half of twenty decide, as with tasks that fail."""
    emulator.set_plan(no_images(FaultKind.EXPIRED_URL, after=3))
    report = await bench.buy(make_requests(90), breaker_pause_s=2.0)
    assert report.stop is StopReason.FAILURES
    assert "of the last 20 finished tasks failed or brought no image" in report.stop_detail
    assert report.left > 0


async def test_task_with_one_image_of_two_is_none_without(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """What arrives shows that images can."""
    emulator.set_plan(no_images(FaultKind.EXPIRED_URL, every=2))
    report = await bench.buy(make_requests(30, n=2))
    assert (report.stop, report.tally.pauses) == (None, [])


async def test_unreadable_results_that_are_charged_count_too(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Done, without an image that we can read: asked again by later runs, and not bought on."""
    style = EmulatorPlan().replies.model_copy(update={"cost": "absent"})
    fault = Fault(kind=FaultKind.MISSING_IMAGES)
    emulator.set_plan(EmulatorPlan(speed_up=1000, replies=style, faults=(fault,)))
    report = await bench.buy(make_requests(60))
    assert report.stop is StopReason.FAILURES
    assert "done, without an image that we can read" in report.stop_detail
    assert report.left > 40


async def test_disk_that_refuses_is_no_failure_of_the_provider(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """However many images it refuses, the batch stops for the disk and nobody pauses."""
    emulator.set_plan(EmulatorPlan(speed_up=1000))
    bench.folder.mkdir(parents=True, exist_ok=True)
    (bench.folder / "images").write_text("a file where the folder should be")
    await bench.prove_form()
    report = await bench.buy(make_requests(9), paid_for_nothing=1, breaker_pause_s=2.0)
    assert (report.stop, report.tally.pauses) == (StopReason.DISK, [])
