"""What ends a batch early: nothing is burned, everything in flight is finished."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, ErrorShape, Fault, FaultKind, ReplyStyle
from wan_pipeline.wan.errors import AccountStopError, StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests
from wan_pipeline_tests.wan.scripted_server import always, reply, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator

K = FaultKind


def plan(*faults: Fault, **values: object) -> EmulatorPlan:
    """The fastest emulator with these faults."""
    return EmulatorPlan(speed_up=1000, faults=faults, **values)


STOPS = [
    (K.NO_CREDIT, StopReason.NO_CREDIT, "top up"),
    (K.BAD_KEY, StopReason.BAD_KEY, "key variable"),
    (K.FORBIDDEN_MODEL, StopReason.FORBIDDEN, "permission"),
    (K.MISSING_MODEL, StopReason.MISSING_MODEL, "WAN_BASE_URL"),
]


@pytest.mark.parametrize(("kind", "reason", "remedy"), STOPS)
async def test_stop_burns_no_row_and_finishes_what_is_in_flight(
    kind: FaultKind,
    reason: StopReason,
    remedy: str,
    emulator: RunningEmulator,
    bench: Workbench,
) -> None:
    """Two are bought, then the account says no: two images, the rest still to be bought."""
    requests = make_requests(12)
    emulator.set_plan(plan(Fault(kind=kind, after=2)))
    report = await bench.buy(requests)
    assert report.stop is reason
    assert remedy in str(AccountStopError(reason, report.stop_detail))
    assert (report.tally.done, report.tally.failed) == (2, 10)
    assert report.tally.left == report.left > 0
    assert set(bench.books().states()) == {"planned", "stored"}
    assert bench.books().states().count("stored") == 2
    assert bench.books().reserved == 0
    assert report.tally.created <= 2 + 7  # the two, and at most a window that was on its way
    assert report.left >= 3

    emulator.set_plan(plan())
    again = await bench.buy(requests)
    assert again.stop is None
    assert (again.tally.done, again.tally.already_stored) == (10, 2)
    assert emulator.bill()["creates_accepted"] == 12


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"code": "Arrearage", "message": "overdue"}', StopReason.NO_CREDIT),
        (403, b'{"code": "AllocationQuota.FreeTierOnly", "message": "x"}', StopReason.NO_CREDIT),
        (
            402,
            b'{"status": {"code": 402, "message": "x", "error_code": 40201}, "data": null}',
            StopReason.NO_CREDIT,
        ),
        (
            200,
            b'{"status": {"code": 402, "message": "x", "error_code": 40201}, "data": null}',
            StopReason.NO_CREDIT,
        ),
        (401, b"", StopReason.BAD_KEY),
        (403, b"<html>forbidden</html>", StopReason.FORBIDDEN),
        (404, b"", StopReason.MISSING_MODEL),
    ],
)
async def test_first_refusal_of_the_account_is_the_last_request(
    status: int, body: bytes, reason: StopReason, tmp_path: Path
) -> None:
    """In each of its shapes, with one create sent and no second form tried."""
    async with scripted(always(reply(status, body))) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy(make_requests(5), form=RequestForm.AUTO)
    assert (report.stop, report.left) == (reason, 5)
    assert len(server.asked) == 1
    assert bench.books().states() == ["planned"]
    assert bench.books().reserved == 0


async def test_credit_that_runs_out_buys_what_it_covers(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Three images of credit are three images, and the ledger agrees with the bill."""
    emulator.set_plan(plan(credit_usd="0.09"))
    report = await bench.buy(make_requests(8))
    assert report.stop is StopReason.NO_CREDIT
    assert emulator.bill()["usd"] == str(bench.books().spent) == "0.09"


async def test_three_doubts_in_a_row_stop_submitting(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A provider that answers none of them may be taking all of them."""
    emulator.set_plan(plan(Fault(kind=K.ERROR_500_AFTER)))
    report = await bench.buy(make_requests(20))
    assert report.stop is StopReason.UNKNOWN_CREATES
    assert "wan status" in report.stop.remedy
    assert report.tally.created == 3  # none was understood yet, so each went alone
    assert bench.books().states() == ["unknown"] * 3
    assert report.left == 17


async def test_doubts_between_acceptances_do_not_stop(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Every third create in doubt is a bad day, not a reason to stop."""
    emulator.set_plan(plan(Fault(kind=K.RESET_AFTER, every=3)))
    report = await bench.buy(make_requests(9))
    assert report.stop is None
    assert bench.books().states() == ["stored"] * 6 + ["unknown"] * 3
    assert (report.tally.done, report.tally.failed) == (6, 3)


async def test_provider_that_cannot_be_reached_stops_the_batch(tmp_path: Path) -> None:
    """After some pauses, with nothing sent and nothing in doubt."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    bench = Workbench(folder=tmp_path, base_url=base_url)
    report = await bench.buy(make_requests(9), unsent_in_a_row=3)
    assert report.stop is StopReason.UNREACHABLE
    assert "WAN_BASE_URL" in report.stop.remedy
    assert (report.tally.created, report.tally.failed) == (0, 9)
    assert set(bench.books().states()) == {"planned"}
    assert bench.books().reserved == 0


async def test_endless_throttling_stops_the_batch(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Somebody else uses the key; patience has an end, and no row is burned."""
    emulator.set_plan(plan(Fault(kind=K.RATE_LIMITED_NO_RETRY_AFTER)))
    report = await bench.buy(make_requests(3), throttle_patience_s=5.0)
    assert report.stop is StopReason.THROTTLED
    assert set(bench.books().states()) == {"planned"}
    assert report.tally.throttled == report.tally.created


async def test_more_images_than_asked_for_stop_the_batch_and_are_kept(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """The body was not understood: what was paid is stored, nothing more is sent."""
    emulator.set_plan(plan(Fault(kind=K.TOO_MANY_IMAGES, amount=3)))
    report = await bench.buy(make_requests(30))
    assert report.stop is StopReason.BODY_NOT_UNDERSTOOD
    assert "WAN_REQUEST_FORM" in report.stop.remedy
    books = bench.books()
    assert set(books.states()) <= {"stored", "planned"}
    assert str(books.spent) == emulator.bill()["usd"]
    bought = books.states().count("stored")
    assert 0 < bought < 30
    assert sum(len(images) for images in books.images.values()) == 4 * bought
    assert emulator.bill()["creates_accepted"] == bought


async def test_full_disk_stops_the_batch_and_loses_nothing(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A folder that cannot be written: the images stay expected and the next run keeps them."""
    (bench.folder / "images").parent.mkdir(parents=True, exist_ok=True)
    (bench.folder / "images").write_text("a file where the folder should be")
    report = await bench.buy(make_requests(2))
    assert report.stop is StopReason.DISK
    assert set(bench.books().states()) <= {"succeeded", "planned"}
    (bench.folder / "images").unlink()
    again = await bench.buy(make_requests(2))
    assert again.stop is None
    assert bench.books().states() == ["stored"] * 2
    assert emulator.bill()["creates_accepted"] == 2


@pytest.mark.parametrize("shape", list(ErrorShape))
async def test_refused_row_keeps_the_reason_in_every_shape(
    shape: ErrorShape, emulator: RunningEmulator, bench: Workbench
) -> None:
    """One bad row costs nothing and stops nobody."""
    bad = Fault(kind=K.REFUSED_422, prompt_contains="number 1")
    emulator.set_plan(plan(bad, replies=ReplyStyle(error_shape=shape)))
    requests = make_requests(3)
    report = await bench.buy(requests)
    assert report.stop is None
    books = bench.books()
    assert [books.state(request) for request in requests] == ["stored", "refused", "stored"]
    assert books.purchases[requests[1].request_id].problem
