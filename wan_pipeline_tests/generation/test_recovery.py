"""What a batch does with the work of others: dead ones, living ones, and those that gave up."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.ledger.records import Intention, PurchaseKey
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    PROFILE,
    hurried,
    make_request,
    make_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

K = FaultKind


def plan(*faults: Fault) -> EmulatorPlan:
    """The fastest emulator with these faults."""
    return EmulatorPlan(speed_up=1000, faults=faults)


def two_hours_later(bench: Workbench) -> None:
    """Results live for one hour on the workbench."""
    bench.clock = dataclasses.replace(hurried(), now=lambda: datetime.now(UTC) + timedelta(hours=2))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(kind=K.STUCK_TASK), "still running"),
        (Fault(kind=K.UNKNOWN_TASK), "not known to the provider"),
    ],
)
async def test_task_without_an_end_expires_with_its_results(
    fault: Fault, reason: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """Its price stays set aside, and no later run buys it again."""
    emulator.set_plan(plan(fault))
    await bench.buy([make_request()], task_patience_s=2.0)
    assert bench.books().states() == ["submitted"]
    two_hours_later(bench)
    report = await bench.buy([make_request()])
    books = bench.books()
    assert books.states() == ["expired"]
    assert reason in books.purchases[make_request().request_id].problem
    assert (books.spent, books.reserved) == (0, PRICE)
    assert report.tally.problems["expired"] == 1
    again = await bench.buy([make_request()])
    assert (again.tally.created, again.tally.failed) == (0, 1)
    assert emulator.bill()["creates_accepted"] == 1


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (K.TRUNCATED_IMAGE, "damaged"),
        (K.ERROR_503_BEFORE, "expected"),
        (K.EXPIRED_URL, "expected"),
    ],
)
async def test_image_is_lost_when_its_url_has_died(
    kind: FaultKind, before: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """It may arrive until then; after that it is lost, named, and never bought again."""
    emulator.set_plan(plan(Fault(kind=kind, on="download")))
    bench.retry = RetryPolicy(attempts=2)
    request = make_request()
    await bench.buy([request])
    assert bench.books().image_states(request) == (before,)
    two_hours_later(bench)
    report = await bench.buy([request])
    assert bench.books().image_states(request) == ("lost",)
    assert bench.books().states() == ["stored"]
    assert (report.tally.created, report.tally.failed) == (0, 1)
    with bench.ledger() as ledger:
        assert ledger.requests_with_lost_images() == {request.request_id}


async def test_recovery_finishes_everything_and_creates_nothing(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Polls what was submitted, fetches what was done, leaves what is in doubt."""
    requests = [make_request(word) for word in ("stuck for now", "no download", "in doubt", "new")]
    emulator.set_plan(
        plan(
            Fault(kind=K.UNKNOWN_TASK, prompt_contains="stuck"),
            Fault(kind=K.EMPTY_IMAGE, prompt_contains="no download"),
            Fault(kind=K.ERROR_500_AFTER, prompt_contains="doubt"),
        )
    )
    bench.retry = RetryPolicy(attempts=2)
    await bench.buy(requests[:3])
    assert bench.books().states() == ["submitted", "succeeded", "unknown"]
    emulator.set_plan(plan())
    report = await bench.recover()
    assert (report.tally.created, report.tally.done, report.tally.taken_up) == (0, 2, 2)
    assert bench.books().states() == ["stored", "stored", "unknown"]
    assert bench.books().state(requests[3]) == "absent"
    assert bench.books().spent == PRICE * 2
    assert report.tally.cost_usd == 0  # it bought nothing


async def test_repeated_requests_are_bought_once(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """From a stream of any length, read as it is needed."""
    requests = make_requests(3)
    report = await bench.buy(iter(requests * 4))
    assert (report.tally.requests, report.tally.done) == (3, 3)
    assert emulator.bill()["creates_accepted"] == 3


async def test_cost_is_the_reported_one(emulator: RunningEmulator, bench: Workbench) -> None:
    """The price table only sets money aside; what the provider says is what was paid."""
    report = await bench.buy(make_requests(2), price_usd=Decimal("0.05"))
    assert bench.books().spent == report.tally.cost_usd == Decimal("0.06")
    assert bench.books().reserved == 0
    assert str(bench.books().spent) == emulator.bill()["usd"]


@pytest.mark.parametrize("cost", ["empty", "null", "absent"])
async def test_cost_that_is_not_reported_comes_from_the_price_table(
    cost: Any, emulator: RunningEmulator, bench: Workbench
) -> None:
    """Price times images received, and the ledger says where it is from."""
    style = EmulatorPlan().replies.model_copy(update={"cost": cost})
    fault = Fault(kind=K.MISSING_IMAGES)
    emulator.set_plan(EmulatorPlan(speed_up=1000, replies=style, faults=(fault,)))
    request = make_request(n=3)
    await bench.buy([request])
    books = bench.books()
    assert books.spent == PRICE * 2
    assert books.purchases[request.request_id].cost_source == "price_table"


class Neighbour:
    """Another batch that lives, with one create on its way."""

    def __init__(self, ledger: Ledger, owner: Owner, request: GenerationRequest) -> None:
        self.ledger = ledger
        self.owner = owner
        self.key = PurchaseKey(profile=PROFILE, request_id=request.request_id, attempt=1)
        self._request = request

    async def intend(self) -> None:
        """Be first."""
        standing = await self.ledger.intend(
            Intention(
                profile=PROFILE,
                request_id=self._request.request_id,
                request="{}",
                n=1,
                price_usd=PRICE,
                bought_by_set="another",
                dialect="gateway",
                form="flat",
                code_version="test",
            ),
            owner=self.owner,
        )
        assert standing == self.key

    async def give_up(self) -> None:
        """Its account was stopped: the row is free again."""
        await self.ledger.not_sent(self.key, self.owner, "bad key")

    async def doubt(self) -> None:
        """Its create timed out."""
        await self.ledger.unknown(self.key, self.owner, "timeout")

    async def fail(self) -> None:
        """Its task failed."""
        await self.ledger.submitted(self.key, self.owner, task_id="t", lifetime_s=60)
        await self.ledger.failed(
            self.key,
            self.owner,
            code="x",
            message="no",
            kind="other",
            cost_usd=None,
            final_answer="",
        )


@pytest.mark.parametrize(
    ("end", "state", "created", "done"),
    [
        (Neighbour.give_up, "stored", 1, 1),
        (Neighbour.doubt, "unknown", 0, 0),
        (Neighbour.fail, "failed", 0, 0),
        (None, "intent", 0, 0),
    ],
)
async def test_purchase_of_a_living_neighbour_is_waited_for(
    end: Callable[[Neighbour], Any] | None,
    state: str,
    created: int,
    done: int,
    emulator: RunningEmulator,
    bench: Workbench,
) -> None:
    """Never bought beside it; bought in its place when it gives up; left when it takes too long."""
    request = make_request()
    with bench.ledger() as ledger, ledger.owner("neighbour") as owner:
        neighbour = Neighbour(ledger, owner, request)
        await neighbour.intend()
        buying = asyncio.ensure_future(
            bench.buy([request], task_patience_s=6.0 if end is None else 1200.0)
        )
        await asyncio.sleep(0.1)
        assert not buying.done()
        if end is not None:
            await end(neighbour)
        report = await buying
        assert bench.books().state(request) == state
    assert (report.tally.created, report.tally.done) == (created, done)
    assert report.tally.failed == 1 - done
    assert emulator.bill()["creates_accepted"] == created


async def test_what_the_set_paid_is_taken_up_without_its_row(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The count of requests is that of the plan, and one for each that is no longer in it."""
    emulator.set_plan(plan(Fault(kind=K.UNKNOWN_TASK)))
    kept, removed, foreign = (make_request(word) for word in ("kept", "removed", "another set's"))
    await bench.buy([kept, removed], task_patience_s=2.0)
    await bench.buy([foreign], task_patience_s=2.0, prompt_set="another")
    emulator.set_plan(plan())
    report = await bench.buy([kept, make_request("new")])
    tally = report.tally
    assert (tally.requests, tally.done, tally.taken_up, tally.created) == (3, 3, 2, 1)
    assert bench.books().state(foreign) == "submitted"
