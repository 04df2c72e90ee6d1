"""Nine ways in which clients of paid, slow APIs pay twice or lose what they paid for.

One test or more for each, named after it, over real HTTP. The provider's bill is the witness.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    Workbench,
    make_request,
    make_requests,
)
from wan_pipeline_tests.reliability.accounts import ended_bill
from wan_pipeline_tests.reliability.gate import batch_process, gate, rows
from wan_pipeline_tests.wan.scripted_server import always, reply, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.wan.scripted_server import Asked

K = FaultKind
HASTY = Timeouts(create_read_s=1.0)
# Tasks take a good third of a second: long enough to be caught in flight.
IN_FLIGHT = 6
SLOW = LatencyLaw(queue_max_s=10, service_median_s=400, service_sigma=0.1)


def plan(*faults: Fault, **values: Any) -> EmulatorPlan:
    """The fastest emulator with these faults."""
    return EmulatorPlan(speed_up=1000, faults=faults, **values)


def prompt_of(asked: Asked) -> str:
    """Which request a create was for."""
    return next(word for word in asked.body.decode().split('"') if "kite" in word)


def posts(server: Any) -> list[str]:
    """The prompts of all creates that arrived, in order."""
    return [prompt_of(asked) for asked in server.asked if asked.method == "POST"]


@pytest.mark.parametrize(
    "kind",
    [
        K.HUNG_AFTER,
        K.RESET_AFTER,
        K.ERROR_500_AFTER,
        K.ERROR_502_AFTER,
        K.ERROR_503_AFTER,
        K.ERROR_504_AFTER,
        K.ERROR_408_BEFORE,
        K.ERROR_409_BEFORE,
    ],
)
async def test_01_submit_is_not_sent_again_after_read_timeout_or_5xx(
    kind: FaultKind, emulator: RunningEmulator, bench: Workbench
) -> None:
    """A task may exist whose id is not known: parked, its price set aside, for a person."""
    bench.timeouts = HASTY
    emulator.set_plan(plan(Fault(kind=kind)))
    await bench.buy([make_request()])
    emulator.set_plan(plan())
    for _ in range(2):
        report = await bench.buy([make_request()])
        assert (report.tally.created, report.tally.failed) == (0, 1)
    assert bench.books().states() == ["unknown"]
    assert bench.books().reserved == PRICE
    assert emulator.bill()["creates_received"] == 1
    assert ended_bill(emulator) <= PRICE


async def test_02_no_attempts_on_transport_errors(tmp_path: Path) -> None:
    """A server hangs up on every create: three POSTs, no request twice, then a stop."""

    async def hang_up(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with scripted(hang_up) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy(make_requests(20))
        assert (report.stop, report.left) == (StopReason.UNKNOWN_CREATES, 17)
        await bench.buy(make_requests(20))
    sent = posts(server)
    assert len(sent) == len(set(sent)) == 6
    assert bench.books().states() == ["unknown"] * 6


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_03_create_is_not_retried_on_502_503_504(status: int, tmp_path: Path) -> None:
    """Not even when the gateway asks for it with Retry-After: behind it the task may be running."""
    async with scripted(always(reply(status, b"try again", Retry_After="0"))) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        for _ in range(3):
            await bench.buy([make_request()])
    assert posts(server) == ["a red kite over dunes"]
    assert bench.books().states() == ["unknown"]


@pytest.mark.parametrize("kind", [K.RATE_LIMITED, K.RATE_LIMITED_NO_RETRY_AFTER])
async def test_04_a_429_on_a_poll_does_not_submit_again(
    kind: FaultKind, emulator: RunningEmulator, bench: Workbench
) -> None:
    """A poll is repeated as a poll; what retries it knows nothing of creates."""
    emulator.set_plan(plan(Fault(kind=kind, on="poll", times=4)))
    report = await bench.buy([make_request()])
    assert (report.tally.created, report.tally.done) == (1, 1)
    assert emulator.bill()["creates_received"] == 1
    assert bench.books().spent == ended_bill(emulator) == PRICE


async def test_04_words_of_an_error_decide_nothing(tmp_path: Path) -> None:
    """A failed task that says "429" or "timed out, try again" has failed; it is not bought anew."""
    error = {"code": "Timeout", "message": "429: request timed out, please try again"}
    task = {"id": "t1", "status": "failed", "error": error}
    async with scripted(always(reply(200, json.dumps(task).encode()))) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        for _ in range(3):
            await bench.buy([make_request()])
    assert len(posts(server)) == 1
    assert bench.books().states() == ["failed"]
    assert "timed out" in next(iter(bench.books().purchases.values())).problem


async def test_05_one_failed_row_voids_nothing_and_n_images_are_all_kept(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Neighbours of a failure are stored, all four images are, and equal prompts are apart."""
    emulator.set_plan(
        plan(
            Fault(kind=K.TASK_FAILED, prompt_contains="number 1"),
            Fault(kind=K.MODERATION_FAILED, prompt_contains="number 2"),
            Fault(kind=K.REFUSED_400, prompt_contains="number 3"),
        )
    )
    twins = [make_request("kite twin", n=4, seed=seed) for seed in (1, 2)]
    requests = [*make_requests(6), *twins]
    report = await bench.buy(requests)
    assert (report.tally.done, report.tally.failed, report.tally.images) == (5, 3, 11)
    books = bench.books()
    for twin in twins:
        assert books.image_states(twin) == ("stored",) * 4
    files = {image.path for images in books.images.values() for image in images}
    assert len(files) == 11
    assert all((bench.folder / str(path)).stat().st_size > 0 for path in files)
    assert books.spent == ended_bill(emulator) == PRICE * 11


async def test_06_intent_is_on_disk_when_the_create_arrives(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Whatever happens from here on, the next run knows that money may have been spent."""
    seen: list[list[str]] = []

    async def look(asked: Asked) -> None:
        if asked.method == "POST":
            seen.append([state for state, _ in rows(bench.folder)])

    async with gate(emulator.base_url, arrived=look) as server:
        bench.base_url = server.url
        await bench.buy(make_requests(4))
    assert len(seen) == 4
    assert all("intent" in states for states in seen)
    assert seen[0] == ["intent"]


@pytest.mark.parametrize("moment", ["arrived", "answered"])
async def test_06_crash_between_submit_and_write_buys_nothing_twice(
    moment: str, emulator: RunningEmulator, bench: Workbench
) -> None:
    """`kill -9` while the create is on its way: unknown, and never sent again by a machine."""
    killed = asyncio.Event()

    async def kill(asked: Asked) -> None:
        if asked.method == "POST" and len(rows(bench.folder)) >= 3 and not killed.is_set():
            process.kill()
            await process.wait()
            killed.set()

    hooks: dict[str, Any] = {moment: kill}
    async with (
        gate(emulator.base_url, **hooks) as server,
        batch_process(bench, server.url, 5) as process,
    ):
        await asyncio.wait_for(killed.wait(), 60)
    bench.base_url = emulator.base_url
    report = await bench.buy(make_requests(5))
    books = bench.books()
    doubtful = books.states().count("unknown")
    assert 1 <= doubtful <= 5
    assert report.tally.failed == doubtful
    assert books.states().count("stored") == 5 - doubtful
    prompts = [task["content"]["prompt"] for task in emulator.tasks()]
    assert len(prompts) == len(set(prompts))
    assert books.spent <= ended_bill(emulator) <= books.spent + books.reserved


async def test_06_answer_that_cannot_be_parsed_is_kept_and_not_bought_again(
    tmp_path: Path,
) -> None:
    """What the provider said stays in the history, for the person who decides."""
    said = b'{"identifier": "task-77", "oops": tru'
    async with scripted(always(reply(200, said))) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        for _ in range(2):
            await bench.buy([make_request()])
    assert len(posts(server)) == 1
    assert bench.books().states() == ["unknown"]
    with bench.ledger() as ledger, ledger._read() as connection:
        details = list(connection.execute(sa.select(schema.events.c.detail)).scalars())
    assert any(said.decode() in str(detail) for detail in details)


async def test_06_final_answer_that_brings_nothing_readable_is_paid_once(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A poll whose answer cannot be parsed is asked again; the final one is kept as received."""
    emulator.set_plan(plan(Fault(kind=K.MALFORMED_JSON, on="poll", times=3)))
    await bench.buy([make_request()])
    assert bench.books().states() == ["stored"]
    assert emulator.bill()["creates_received"] == 1
    with bench.ledger() as ledger, ledger._read() as connection:
        kept = connection.execute(sa.select(schema.purchases.c.final_answer)).scalar_one()
    assert json.loads(kept)["id"] == emulator.tasks()[0]["id"]


async def test_07_state_has_task_ids_after_crash(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """`kill -9` with all tasks in flight: the ledger has each id, and no create is sent again."""
    emulator.set_plan(plan(latency=SLOW))
    polled = asyncio.Event()

    async def look(asked: Asked) -> None:
        if asked.method == "GET" and not polled.is_set():
            if [state for state, _ in rows(bench.folder)].count("submitted") < IN_FLIGHT:
                return
            process.kill()
            await process.wait()
            polled.set()

    async with gate(emulator.base_url, arrived=look) as server:
        bench.base_url = server.url
        await bench.prove_form()
        async with batch_process(bench, server.url, IN_FLIGHT) as process:
            await asyncio.wait_for(polled.wait(), 60)
            known = {task_id for _, task_id in rows(bench.folder)}
    assert known == {task["id"] for task in emulator.tasks()}
    bench.base_url = emulator.base_url
    report = await bench.buy(make_requests(IN_FLIGHT))
    tally = report.tally
    assert (tally.created, tally.taken_up, tally.done) == (0, IN_FLIGHT, IN_FLIGHT)
    assert emulator.bill()["creates_received"] == IN_FLIGHT
    assert bench.books().spent == ended_bill(emulator) == PRICE * IN_FLIGHT


async def test_08_task_id_is_durable_before_the_first_poll(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """No id lives in memory only: it is on disk when its first poll arrives."""
    polls: list[tuple[str, set[str | None]]] = []

    async def look(asked: Asked) -> None:
        if asked.method == "GET":
            polls.append((asked.target, {task_id for _, task_id in rows(bench.folder)}))

    async with gate(emulator.base_url, arrived=look) as server:
        bench.base_url = server.url
        report = await bench.buy(make_requests(6))
    assert report.tally.done == 6
    assert len({target for target, _ in polls}) == 6
    for target, known in polls:
        assert any(str(task_id) in target for task_id in known if task_id is not None)


async def test_09_crash_between_answer_and_store_loses_no_image(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """`kill -9` with the final answer on its way: the task is asked again, for free."""
    done = asyncio.Event()

    async def kill(asked: Asked) -> None:
        ended = any(
            task["state"] == "completed" for task in await asyncio.to_thread(emulator.tasks)
        )
        if asked.method == "GET" and ended and not done.is_set():
            process.kill()
            await process.wait()
            done.set()

    async with (
        gate(emulator.base_url, answered=kill) as server,
        batch_process(bench, server.url, 1) as process,
    ):
        await asyncio.wait_for(done.wait(), 60)
    assert [state for state, _ in rows(bench.folder)] == ["submitted"]
    bench.base_url = emulator.base_url
    report = await bench.buy(make_requests(1))
    assert (report.tally.created, report.tally.done, report.tally.images) == (0, 1, 1)
    assert emulator.bill()["creates_received"] == 1
    assert bench.books().spent == ended_bill(emulator) == PRICE


async def test_09_crash_between_file_and_row_loses_no_image(
    emulator: RunningEmulator, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is stored and its row is not: the next run writes the row, and buys nothing."""

    async def dies(*_: object, **__: object) -> bool:
        raise LedgerUnavailableError("the process died")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "image", dies)
        with pytest.raises(LedgerUnavailableError):
            await bench.buy([make_request()])
    files = list((bench.folder / "images").rglob("*.png"))
    assert len(files) == 1
    assert [state for state, _ in rows(bench.folder)] == ["succeeded"]
    report = await bench.buy([make_request()])
    assert (report.tally.created, report.tally.done) == (0, 1)
    assert list((bench.folder / "images").rglob("*.png")) == files
    assert bench.books().spent == Decimal(emulator.bill()["usd"]) == PRICE
