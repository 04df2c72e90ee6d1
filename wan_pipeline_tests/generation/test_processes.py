"""Real processes on one ledger: interrupted, killed, and two at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline_tests.generation.batch_fixture import KEY, make_requests
from wan_pipeline_tests.generation.batch_process import INTERRUPTED
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

PATIENCE_S = 60.0
# Tasks take a good third of a second: long enough to be caught in flight.
SLOW = LatencyLaw(queue_max_s=10, service_median_s=400, service_sigma=0.1)


class Batches:
    """Starts batch processes and leaves none behind."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._started: list[subprocess.Popen[str]] = []

    def start(self, count: int, *, grace_s: float = 8.0) -> subprocess.Popen[str]:
        """Begin to buy so many requests."""
        module = "wan_pipeline_tests.generation.batch_process"
        arguments = [self._bench.folder, self._bench.base_url, count, grace_s]
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def batches(bench: Workbench) -> Iterator[Batches]:
    """Batch processes on the workbench's ledger."""
    batches = Batches(bench)
    yield batches
    batches.end()


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a process said at its end, which must be a good one; no secret is in its words."""
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, INTERRUPTED), err
    assert KEY not in out + err
    return json.loads(out)


def wait_until(true: Callable[[], bool]) -> None:
    """Within this module's bounds."""
    wait_for(true, what="what the next line needs", within_s=PATIENCE_S)


def accepted(emulator: RunningEmulator) -> int:
    """Creates that the provider took."""
    return emulator.bill()["creates_accepted"]


def tasks(emulator: RunningEmulator) -> list[tuple[str, str]]:
    """Prompt and id of every task that the provider took."""
    return [(task["content"]["prompt"], task["id"]) for task in emulator.tasks()]


def check_money(emulator: RunningEmulator, bench: Workbench) -> None:
    """What the ledger knows was paid, and at most what is in doubt was paid besides."""
    wait_until(lambda: all(task["state"] == "completed" for task in emulator.tasks()))
    books = bench.books()
    assert books.spent <= Decimal(emulator.bill()["usd"]) <= books.spent + books.reserved


def test_interrupted_batch_records_every_answer_and_is_finished_later(
    emulator: RunningEmulator, bench: Workbench, batches: Batches
) -> None:
    """Ctrl-C in the middle: ids of answered creates are kept, the hung one is in doubt."""
    hung = Fault(kind=FaultKind.HUNG_AFTER, prompt_contains="number 3")
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW, faults=(hung,)))
    process = batches.start(6, grace_s=3.0)
    wait_until(lambda: accepted(emulator) == 6)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert finished(process) == {"interrupted": True}
    assert time.monotonic() - began < 10

    books, requests = bench.books(), make_requests(6)
    assert books.state(requests[3]) == "unknown"
    others = [request for number, request in enumerate(requests) if number != 3]
    assert {books.state(request) for request in others} <= {"submitted", "succeeded", "stored"}
    known = {books.purchases[request.request_id].task_id for request in others}
    assert known == {task_id for prompt, task_id in tasks(emulator) if "number 3" not in prompt}

    emulator.set_plan(EmulatorPlan(speed_up=1000))
    report = asyncio.run(bench.buy(requests))
    assert (report.tally.created, report.tally.failed) == (0, 1)
    assert bench.books().states() == ["stored"] * 5 + ["unknown"]
    assert accepted(emulator) == 6
    check_money(emulator, bench)


@pytest.mark.parametrize("after", [1, 8])
def test_killed_batch_is_finished_by_the_next(
    after: int, emulator: RunningEmulator, bench: Workbench, batches: Batches
) -> None:
    """`kill -9`: nothing is bought twice, and only a create without an answer is in doubt."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    process = batches.start(12)
    wait_until(lambda: accepted(emulator) >= after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)

    report = asyncio.run(bench.buy(make_requests(12)))
    books = bench.books()
    doubtful = books.states().count("unknown")
    assert books.states() == ["stored"] * (12 - doubtful) + ["unknown"] * doubtful
    assert report.tally.failed == doubtful
    prompts = [prompt for prompt, _ in tasks(emulator)]
    assert len(prompts) == len(set(prompts)), "a request was bought twice"
    check_money(emulator, bench)


def test_two_batches_at_once_buy_each_request_once(
    emulator: RunningEmulator, bench: Workbench, batches: Batches
) -> None:
    """Both are at work at once and end with everything stored, whoever was first at a request."""
    slow = LatencyLaw(queue_max_s=1, service_median_s=3000, service_sigma=0.01)
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=slow))
    processes = [batches.start(80), batches.start(80)]
    wait_until(lambda: owners(bench) == 2)  # the first tasks last until both are at work
    quick = LatencyLaw(queue_max_s=1, service_median_s=100, service_sigma=0.1)
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=quick))
    reports = [finished(process) for process in processes]
    assert accepted(emulator) == sum(report["created"] for report in reports) == 80
    for report in reports:
        assert report["failed"] == 0
        assert report["done"] + report["already_stored"] == 80
    assert bench.books().states() == ["stored"] * 80
    check_money(emulator, bench)


def test_batch_goes_on_in_the_place_of_one_that_dies(
    emulator: RunningEmulator, bench: Workbench, batches: Batches
) -> None:
    """It waits for the other's tasks while the other lives, and takes them up when it is killed."""
    emulator.set_plan(
        EmulatorPlan(speed_up=1000, latency=LatencyLaw(service_median_s=2500, service_sigma=0.01))
    )
    asyncio.run(bench.prove_form())
    first = batches.start(4)
    wait_until(lambda: bench.books().states() == ["submitted"] * 4)
    second = batches.start(4)
    wait_until(lambda: owners(bench) == 2)
    os.kill(first.pid, signal.SIGKILL)
    report = finished(second)
    assert (report["created"], report["failed"]) == (0, 0)
    assert bench.books().states() == ["stored"] * 4
    assert accepted(emulator) == 4


def owners(bench: Workbench) -> int:
    """Batches that ever began on this ledger."""
    with bench.ledger() as ledger, ledger._read() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM owners").scalar_one()
