"""Buying again what failed or was lost: only on a person's word, within bounds, hiding nothing."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.metadata import write_metadata
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.generation.planning import Standing, standing_of, unfinished_of
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.prompts.tables import REQUESTS
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    Workbench,
    hurried,
    make_request,
    make_requests,
)

if TYPE_CHECKING:
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

K = FaultKind
FAILED = RetryRule(what=frozenset({Retry.FAILED}))
LOST = RetryRule(what=frozenset({Retry.LOST}))


def two_hours_later(bench: Workbench) -> None:
    """Results live for one hour on the workbench."""
    bench.clock = dataclasses.replace(hurried(), now=lambda: datetime.now(UTC) + timedelta(hours=2))


def plan(*faults: Fault) -> EmulatorPlan:
    """The fastest emulator with these faults."""
    return EmulatorPlan(speed_up=1000, faults=faults)


class Shelf:
    """What a set of these requests has to show, as its readers see it."""

    def __init__(self, bench: Workbench, *requests: GenerationRequest) -> None:
        self._bench = bench
        self._requests = bench.folder / "requests.parquet"
        rows = [_row(number, request) for number, request in enumerate(requests)]
        self._requests.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=REQUESTS), self._requests)

    def rows(self) -> list[dict[str, Any]]:
        """The metadata table."""
        out = self._bench.folder / "metadata.parquet"
        with self._bench.ledger() as ledger:
            write_metadata(self._requests, ledger=ledger, prompt_set="tests", out=out)
        return pq.read_table(out).to_pylist()

    def standing(self) -> Standing:
        """How far it is."""
        with self._bench.ledger() as ledger:
            return standing_of(self._requests, ledger)

    def unfinished(self) -> list[str]:
        """The states of what is not complete."""
        with self._bench.ledger() as ledger:
            return [each.state for each in unfinished_of(self._requests, ledger)]


def _row(number: int, request: GenerationRequest) -> dict[str, Any]:
    width, height = request.size.split("*")
    columns = ("model", "prompt", "negative_prompt", "size", "n", "seed", "prompt_extend")
    return {
        **{name: getattr(request, name) for name in (*columns, "watermark")},
        "request_id": request.request_id,
        "prompt_id": f"p{number}",
        "replica": 0,
        "row": number + 1,
        "seed_source": "given",
        "prompt_columns": "{}",
        "width": int(width),
        "height": int(height),
    }


async def test_failed_task_is_bought_again_on_request_only(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Once as a new attempt; the first one stays in the books."""
    request = make_request()
    emulator.set_plan(plan(Fault(kind=K.TASK_FAILED)))
    await bench.buy([request])
    emulator.set_plan(plan())
    assert (await bench.buy([request])).tally.created == 0
    assert bench.books().state(request) == "failed"

    report = await bench.buy([request], retry=FAILED)
    assert (report.tally.created, report.tally.done, report.tally.failed) == (1, 1, 0)
    assert bench.books().purchases[request.request_id].attempt == 2
    assert (await bench.buy([request], retry=FAILED)).tally.already_stored == 1
    assert str(bench.books().spent) == emulator.bill()["usd"] == "0.03"
    assert emulator.bill()["creates_accepted"] == 2


@pytest.mark.parametrize("kind", [K.REFUSED_400, K.MODERATION_FAILED])
async def test_what_fails_again_is_not_bought_again(
    kind: FaultKind, emulator: RunningEmulator, bench: Workbench
) -> None:
    """An invalid parameter and a rejected prompt are the row's to change."""
    request = make_request()
    emulator.set_plan(plan(Fault(kind=kind)))
    await bench.buy([request])
    emulator.set_plan(plan())
    before = emulator.bill()["creates_received"]
    everything = RetryRule(what=frozenset(Retry), max_attempts=100)
    report = await bench.buy([request], retry=everything)
    assert (report.tally.created, report.tally.failed) == (0, 1)
    assert emulator.bill()["creates_received"] == before


async def test_attempts_are_bounded(emulator: RunningEmulator, bench: Workbench) -> None:
    """Three in all, however often a person asks; never two in one run."""
    request = make_request()
    emulator.set_plan(plan(Fault(kind=K.TASK_FAILED)))
    created = [(await bench.buy([request], retry=FAILED)).tally.created for _ in range(5)]
    assert created == [1, 1, 1, 0, 0]
    assert bench.books().purchases[request.request_id].attempt == 3


async def test_failure_that_was_billed_is_counted_with_the_attempt_after_it(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Both are paid, and the bill says so too."""
    request = make_request()
    emulator.set_plan(plan(Fault(kind=K.TASK_FAILED_BILLED)))
    await bench.buy([request])
    emulator.set_plan(plan())
    await bench.buy([request], retry=FAILED)
    assert str(bench.books().spent) == emulator.bill()["usd"] == "0.06"


async def test_more_than_half_failing_stops_and_finishes_what_is_in_flight(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Eleven of the last twenty: no more are begun, and none of those begun is dropped."""
    requests = make_requests(60)
    emulator.set_plan(plan(Fault(kind=K.TASK_FAILED, after=9)))
    report = await bench.buy(requests)
    assert report.stop is StopReason.FAILURES
    assert "11 of the last 20" in report.stop_detail
    books = bench.books()
    assert set(books.states()) <= {"failed", "stored", "planned"}
    assert books.states().count("stored") == report.tally.done == 9
    assert report.left >= 60 - 20 - 7
    assert report.left_cost_usd == PRICE * report.left
    assert books.reserved == 0
    assert str(books.spent) == emulator.bill()["usd"] == "0.27"

    emulator.set_plan(plan())
    again = await bench.buy(requests, retry=FAILED)
    assert (again.stop, again.tally.failed, again.tally.already_stored) == (None, 0, 9)
    assert bench.books().spent == Decimal(emulator.bill()["usd"]) == PRICE * 60


async def test_half_failing_does_not_stop(emulator: RunningEmulator, bench: Workbench) -> None:
    """Ten of twenty is not more than half."""
    faults = [Fault(kind=K.TASK_FAILED, prompt_contains=f"number 1{digit}") for digit in range(10)]
    emulator.set_plan(plan(*faults))
    report = await bench.buy(make_requests(20))
    assert (report.stop, report.tally.done, report.tally.failed) == (None, 10, 10)


async def lose_one_of_two(emulator: RunningEmulator, bench: Workbench) -> GenerationRequest:
    """A request with one image stored and one lost."""
    request, young = make_request(n=2), bench.clock
    emulator.set_plan(plan(Fault(kind=K.EMPTY_IMAGE, on="download", after=1)))
    bench.retry = RetryPolicy(attempts=2)
    await bench.buy([request])
    two_hours_later(bench)
    await bench.buy([request])
    assert sorted(bench.books().image_states(request)) == ["lost", "stored"]
    bench.clock = young
    emulator.set_plan(plan())
    return request


async def test_lost_image_is_bought_again_on_request_only(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The whole request, as a new attempt, which is what is shown from then on."""
    request = await lose_one_of_two(emulator, bench)
    shelf = Shelf(bench, request)
    assert (await bench.buy([request], retry=FAILED)).tally.created == 0
    assert (shelf.standing().lost, shelf.unfinished()) == (1, ["lost"])

    report = await bench.buy([request], retry=LOST)
    assert (report.tally.created, report.tally.done) == (1, 1)
    assert (shelf.standing().stored, shelf.standing().images_stored) == (1, 2)
    assert shelf.unfinished() == []
    assert [row["image_index"] for row in shelf.rows()] == [0, 1]
    assert sum(row["cost_usd"] for row in shelf.rows()) == PRICE * 2
    again = await bench.buy([request], retry=LOST)
    assert (again.tally.already_stored, again.tally.failed) == (1, 0)
    assert str(bench.books().spent) == emulator.bill()["usd"] == "0.12"


@pytest.mark.parametrize("kind", [K.TASK_FAILED, K.ERROR_500_AFTER, K.REFUSED_422])
async def test_failed_attempt_hides_no_image_of_the_one_before(
    kind: FaultKind, emulator: RunningEmulator, bench: Workbench
) -> None:
    """What was paid for is shown until the new attempt brings something."""
    request = await lose_one_of_two(emulator, bench)
    shelf = Shelf(bench, request)
    before = shelf.rows()
    assert len(before) == 1
    emulator.set_plan(plan(Fault(kind=kind)))
    report = await bench.buy([request], retry=LOST)
    assert (report.tally.created, report.tally.failed) == (1, 1)
    assert bench.books().purchases[request.request_id].attempt == 2
    assert shelf.rows() == before
    assert (shelf.standing().images_stored, shelf.standing().stored) == (1, 0)
    assert len(shelf.unfinished()) == 1
    assert (bench.folder / before[0]["path"]).exists()


async def test_expired_task_is_bought_again_as_lost(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Its price stays set aside, since the provider may have billed it."""
    request, young = make_request(), bench.clock
    emulator.set_plan(plan(Fault(kind=K.STUCK_TASK)))
    await bench.buy([request], task_patience_s=2.0)
    two_hours_later(bench)
    await bench.buy([request])
    assert bench.books().state(request) == "expired"
    bench.clock = young
    emulator.set_plan(plan())
    assert (await bench.buy([request], retry=FAILED)).tally.created == 0
    report = await bench.buy([request], retry=LOST)
    assert (report.tally.created, report.tally.done) == (1, 1)
    assert (bench.books().spent, bench.books().reserved) == (PRICE, PRICE)


async def test_retry_stays_under_the_budget(emulator: RunningEmulator, bench: Workbench) -> None:
    """What a failed attempt cost counts, and the cap holds for the next one."""
    request = make_request()
    emulator.set_plan(plan(Fault(kind=K.TASK_FAILED_BILLED)))
    await bench.buy([request])
    emulator.set_plan(plan())
    report = await bench.buy([request], retry=FAILED, caps=Caps(total=Decimal("0.05")))
    assert (report.stop, report.left, report.left_cost_usd) == (StopReason.BUDGET, 1, PRICE)
    assert emulator.bill()["creates_received"] == 1
