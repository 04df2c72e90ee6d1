"""Stored images whose files are gone or damaged: fetched again while their URLs live, lost after.

The provider here really forgets them: its day is 86 seconds long, or as short as a test asks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import PRICE, hurried, make_request, make_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

SHORT_LIFE_S = 1.5


def delete(path: Path) -> None:
    """Somebody tidied up."""
    path.unlink()


def truncate(path: Path) -> None:
    """A disk was full."""
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    """A power cut without fsync."""
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    """A disk went bad; the length is right."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    later = path.stat().st_mtime + 60  # whole files are read only when they were written to since
    os.utime(path, (later, later))


HARMS = [delete, truncate, empty, flip_a_bit]


def file_of(bench: Workbench, request: GenerationRequest, index: int = 0) -> Path:
    """Where an image of a request is, or should be."""
    path = bench.books().images[request.request_id][index].path
    assert path is not None
    return bench.folder / path


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("way", ["buy", "recover"])
async def test_file_is_fetched_again_while_its_url_lives(
    harm: Callable[[Path], None], way: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """The same bytes, without a create, and the other files are left alone."""
    requests = make_requests(3)
    await bench.buy(requests)
    files = [file_of(bench, request) for request in requests]
    contents = [file.read_bytes() for file in files]
    times = [file.stat().st_mtime_ns for file in files]
    harm(files[1])

    report = await (bench.buy(requests) if way == "buy" else bench.recover())
    assert [file.read_bytes() for file in files] == contents
    assert [file.stat().st_mtime_ns == at for file, at in zip(files, times, strict=True)] == [
        True,
        False,
        True,
    ]
    assert (report.tally.created, report.tally.done, report.tally.failed) == (0, 1, 0)
    assert report.tally.images == 1
    assert bench.books().states() == ["stored"] * 3
    assert bench.books().spent == PRICE * 3
    assert emulator.bill()["creates_received"] == 3
    assert (await bench.buy(requests)).tally.already_stored == 3


@pytest.mark.parametrize("harm", HARMS)
async def test_file_is_lost_with_its_cost_when_its_url_has_died(
    harm: Callable[[Path], None], emulator: RunningEmulator, bench: Workbench
) -> None:
    """Named, counted, and not bought again by itself."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, url_lifetime_s=SHORT_LIFE_S * 1000))
    bench.retry = RetryPolicy(attempts=2)
    request = make_request()
    await bench.buy([request], result_lifetime_s=SHORT_LIFE_S)
    harm(file_of(bench, request))
    dies = bench.books().images[request.request_id][0].url_expires_at
    await asyncio.sleep(max((dies - datetime.now(UTC)).total_seconds(), 0) + 0.01)

    report = await bench.buy([request])
    assert (report.tally.created, report.tally.done, report.tally.failed) == (0, 0, 1)
    assert report.tally.problems["image lost"] == 1
    assert bench.books().image_states(request) == ("lost",)
    assert bench.books().spent == PRICE
    with bench.ledger() as ledger:
        assert ledger.requests_with_lost_images() == {request.request_id}
    again = await bench.buy([request])
    assert (again.tally.created, again.tally.failed) == (0, 1)
    assert emulator.bill()["creates_received"] == 1


async def test_dead_url_that_the_host_still_serves_is_good(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """We go by what comes, not by what was promised."""
    request = make_request()
    await bench.buy([request])
    file = file_of(bench, request)
    file.unlink()
    bench.clock = dataclasses.replace(hurried(), now=lambda: datetime.now(UTC) + timedelta(days=2))
    report = await bench.buy([request])
    assert (report.tally.done, file.exists()) == (1, True)


async def test_file_and_a_missing_image_of_one_request_are_fetched_together(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A run died between two images, and the first one's file is gone: one end, counted once."""
    request = make_request(n=3)
    emulator.set_plan(
        EmulatorPlan(
            speed_up=1000, faults=(Fault(kind=FaultKind.EMPTY_IMAGE, on="download", after=1),)
        )
    )
    bench.retry = RetryPolicy(attempts=2)
    await bench.buy([request])
    states = bench.books().image_states(request)
    assert sorted(states) == ["damaged", "damaged", "stored"]
    file_of(bench, request, states.index("stored")).unlink()

    emulator.set_plan(EmulatorPlan(speed_up=1000))
    report = await bench.buy([request])
    assert bench.books().image_states(request) == ("stored",) * 3
    assert (report.tally.done, report.tally.failed, report.tally.images) == (1, 0, 3)
    assert not any("another run" in problem for problem in report.tally.problems)
    for index in range(3):
        assert file_of(bench, request, index).exists()


async def test_one_file_of_two_requests_is_fetched_for_both(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Equal images are one file; both requests have it back."""
    requests = make_requests(2)
    await bench.buy(requests)
    first, second = (file_of(bench, request) for request in requests)
    with bench.ledger() as ledger:
        share_file(ledger, requests, str(first.relative_to(bench.folder)), first.stem)
    first.unlink()
    second.unlink()
    report = await bench.buy(requests)
    assert (report.tally.done, report.tally.failed) == (2, 0)
    assert bench.books().states() == ["stored"] * 2


def share_file(ledger: Ledger, requests: list[GenerationRequest], path: str, image_id: str) -> None:
    """Let the second request's image be the first one's file."""
    table = schema.images
    ledger.apply_now(
        lambda tx: tx.connection.execute(
            sa.update(table)
            .where(table.c.request_id == requests[1].request_id)
            .values(path=path, image_id=image_id)
        )
    )


@pytest.mark.parametrize("way", ["buy", "recover"])
async def test_file_that_is_put_back_is_not_fetched(
    way: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """Its URL is dead before its time; a backup counts, and nobody is sent to buy it again."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, url_lifetime_s=SHORT_LIFE_S * 1000))
    bench.retry = RetryPolicy(attempts=2)
    request = make_request(n=2)
    await bench.buy([request])
    file = file_of(bench, request)
    backup = file.read_bytes()
    truncate(file)
    await asyncio.sleep(SHORT_LIFE_S)

    assert (await bench.buy([request])).tally.failed == 1
    assert bench.books().states() == ["succeeded"]
    file.write_bytes(backup)
    report = await (bench.buy([request]) if way == "buy" else bench.recover())
    assert (report.tally.done, report.tally.failed, report.tally.images) == (1, 0, 0)
    assert bench.books().states() == ["stored"]
    assert {each.state for each in bench.books().images[request.request_id]} == {"stored"}
    assert (bench.books().spent, emulator.bill()["creates_received"]) == (PRICE * 2, 1)


@pytest.mark.parametrize("way", ["buy", "retry", "recover"])
async def test_file_that_is_back_is_no_longer_lost(
    way: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """A disk that was not mounted for one run costs nothing: what is paid for is found again."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, url_lifetime_s=SHORT_LIFE_S * 1000))
    bench.retry = RetryPolicy(attempts=2)
    requests = make_requests(2)
    await bench.buy(requests, result_lifetime_s=SHORT_LIFE_S)
    last = bench.books().images[requests[-1].request_id][0]
    await asyncio.sleep(max((last.url_expires_at - datetime.now(UTC)).total_seconds(), 0) + 0.01)
    folder = bench.folder / "images"
    away = folder.rename(bench.folder / "not-mounted")
    await bench.buy(requests)
    assert [bench.books().image_states(request) for request in requests] == [("lost",)] * 2

    away.rename(folder)
    retry = RetryRule(what=frozenset({Retry.LOST}))
    if way == "recover":
        await bench.recover()
    else:
        await bench.buy(requests, **({"retry": retry} if way == "retry" else {}))
    assert [bench.books().image_states(request) for request in requests] == [("stored",)] * 2
    assert bench.books().spent == PRICE * 2
    assert emulator.bill()["creates_received"] == 2
    assert (await bench.buy(requests)).tally.already_stored == 2


async def test_file_that_is_back_with_other_bytes_stays_lost(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A bad backup keeps the length and the old date; what was lost is believed by its bytes."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, url_lifetime_s=SHORT_LIFE_S * 1000))
    bench.retry = RetryPolicy(attempts=2)
    request = make_request()
    await bench.buy([request], result_lifetime_s=SHORT_LIFE_S)
    file = file_of(bench, request)
    bad, date = bytearray(file.read_bytes()), file.stat().st_mtime
    bad[len(bad) // 2] ^= 1
    file.unlink()
    dies = bench.books().images[request.request_id][0].url_expires_at
    await asyncio.sleep(max((dies - datetime.now(UTC)).total_seconds(), 0) + 0.01)
    await bench.buy([request])
    file.write_bytes(bad)
    os.utime(file, (date, date))
    await bench.buy([request])
    assert bench.books().image_states(request) == ("lost",)
