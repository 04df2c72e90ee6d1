"""The engine buys for a series of reproductions beside the dataset; neither takes the other's."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.generation.reconcile import adopt_matches, match_orphans
from wan_pipeline.generation.rescue import RescuedTask, RescueFile
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.inventory import known_task_ids
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.wan.dialects.listing import ListedTask
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.batch_fixture import PRICE, make_request, make_requests

if TYPE_CHECKING:
    from wan_pipeline.generation.progress import BatchReport
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

MAY, JUNE = "reproduce/kites@v1/may", "reproduce/kites@v1/june"
LOST_SIGHT = EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.UNKNOWN_TASK),))
WELL = EmulatorPlan(speed_up=1000)


async def reproduce(
    bench: Workbench, requests: Any, series: str = MAY, **terms: Any
) -> BatchReport:
    """Run one batch that buys for a series."""
    return await bench.buy(requests, prompt_set=series, reproduction=True, **terms)


def states(bench: Workbench, series: str | None = None) -> list[str]:
    """Of the dataset, or of a series."""
    with bench.ledger() as ledger:
        return sorted(each.state.value for each in ledger.purchases(series=series).values())


async def test_a_series_buys_what_the_dataset_has_once_more_and_only_once(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The same pictures come, the dataset's books do not move, and the bill is the ledger's."""
    requests = make_requests(3, n=2)
    await bench.buy(requests)
    before = bench.books()
    first = await reproduce(bench, requests)
    again = await reproduce(bench, requests)
    other = await reproduce(bench, requests[:1], JUNE)
    created = [report.tally.created for report in (first, again, other)]
    assert (created, again.tally.already_stored) == ([3, 0, 1], 3)
    after = bench.books()
    assert (after.purchases, after.images) == (before.purchases, before.images)
    assert emulator.bill()["usd"] == str(after.spent) == str(PRICE * 14)
    with bench.ledger() as ledger:
        images = ledger.images(series=MAY)
    bought = {request_id: [each.image_id for each in found] for request_id, found in images.items()}
    assert bought == {
        request_id: [each.image_id for each in found] for request_id, found in before.images.items()
    }


async def test_a_damaged_file_is_not_replaced_silently(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The same image bought once more repairs the store, and the batch says which file."""
    (request,) = make_requests(1)
    await bench.buy([request])
    path = bench.books().images[request.request_id][0].path
    assert path is not None
    file = bench.folder / path
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    report = await reproduce(bench, [request])
    (told,) = report.tally.repairs
    assert told.startswith(f"{path} was damaged")
    assert request.request_id in told
    assert file.read_bytes() == whole
    assert (await reproduce(bench, [request], JUNE)).tally.repairs == []
    assert emulator.bill()["creates_accepted"] == 3


async def test_dead_reproduction_waits_for_its_own_series(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A build of the same requests buys its own and leaves it; its series' next run fetches it."""
    requests = make_requests(2)
    emulator.set_plan(LOST_SIGHT)
    await reproduce(bench, requests)
    emulator.set_plan(WELL)
    built = await bench.buy(requests)
    assert (built.tally.created, built.tally.done, built.tally.taken_up) == (2, 2, 0)
    assert (states(bench), states(bench, MAY)) == (["stored"] * 2, ["submitted"] * 2)
    other = await reproduce(bench, requests, JUNE)
    assert (other.tally.created, other.tally.taken_up) == (2, 0)
    report = await reproduce(bench, requests)
    assert (report.tally.created, report.tally.taken_up, report.tally.done) == (0, 2, 2)
    assert states(bench, MAY) == ["stored"] * 2
    assert emulator.bill()["creates_accepted"] == 6


async def test_recovery_fetches_a_dead_reproduction(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Paid images are never lost, whoever paid for them and what for."""
    emulator.set_plan(LOST_SIGHT)
    await bench.buy(make_requests(1))
    await reproduce(bench, make_requests(1))
    emulator.set_plan(WELL)
    report = await bench.recover()
    assert (report.tally.taken_up, report.tally.images) == (2, 2)
    assert states(bench) == states(bench, MAY) == ["stored"]


async def test_unknown_reproduction_stays_unknown_and_reserved(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Neither its series nor the dataset's retries buy in its stead."""
    doubt = Fault(kind=FaultKind.ERROR_500_AFTER)
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(doubt,)))
    await reproduce(bench, make_requests(1))
    emulator.set_plan(WELL)
    again = await reproduce(bench, make_requests(1))
    assert (again.tally.created, again.tally.failed) == (0, 1)
    assert (states(bench), states(bench, MAY)) == ([], ["unknown"])
    assert (bench.books().spent, bench.books().reserved) == (0, PRICE)


async def test_caps_hold_for_a_series_as_for_a_set(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """What the dataset paid does not count for the series; the total does."""
    await bench.buy(make_requests(2))
    caps = Caps(prompt_set=PRICE * 2, total=Decimal("0.11"))
    report = await reproduce(bench, make_requests(3), caps=caps)
    assert (report.stop, report.left, report.tally.done) == (StopReason.BUDGET, 2, 1)
    assert emulator.bill()["usd"] == "0.09"


@pytest.mark.parametrize("reproduction", [True, False])
async def test_rescued_task_finds_its_own_purchase(
    emulator: RunningEmulator, bench: Workbench, reproduction: bool
) -> None:
    """Of two unknown purchases of one request the one that the rescue file means gets the task."""
    request = make_request()
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.ERROR_500_AFTER),)))
    await bench.buy([request])
    await reproduce(bench, [request])
    emulator.set_plan(WELL)
    series = MAY if reproduction else None
    task_id = emulator.tasks()[1 if reproduction else 0]["id"]
    with RescueFile(bench.folder / "rescue", "of-a-dead-run") as rescue:
        rescue.note(RescuedTask(request_id=request.request_id, task_id=task_id, series=series))
    other = make_request("another")
    report = await bench.buy([request, other])
    assert (report.tally.created, report.tally.taken_up) == (1, 1)
    with bench.ledger() as ledger:
        for each in (None, MAY):
            purchase = ledger.purchases([request.request_id], series=each)[request.request_id]
            expected = PurchaseState.STORED if each == series else PurchaseState.UNKNOWN
            assert (purchase.state, purchase.task_id) == (
                (expected, task_id) if each == series else (expected, None)
            )


async def test_reconciliation_gives_an_orphan_to_the_reproduction_that_made_it(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The dataset's own purchase of the same request, which is done, is left alone."""
    (request,) = requests = make_requests(1)
    await bench.buy(requests)
    doubt = Fault(kind=FaultKind.ERROR_500_AFTER)
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(doubt,)))
    await reproduce(bench, requests)
    made = emulator.tasks()[-1]
    with bench.ledger() as ledger, ledger.owner("wan reconcile") as owner:
        purchase = ledger.purchases(series=MAY)[request.request_id]
        task = ListedTask(task_id=made["id"], created_at=purchase.created_at, model=request.model)
        matches = match_orphans([purchase], [task], known_task_ids(ledger))
        (match,) = adopt_matches(ledger, matches, owner=owner, lifetime_s=3600.0)
        assert match.purchase.key == purchase.key
    assert (states(bench), states(bench, MAY)) == (["stored"], ["submitted"])
