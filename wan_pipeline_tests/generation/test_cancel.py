"""Cancelling a batch: no new create, a grace for those on their way, and nothing forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wan_pipeline.generation.interrupt import run_interruptibly
from wan_pipeline.ledger import database, ledger
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_request
from wan_pipeline_tests.reliability.accounts import forgotten_tasks
from wan_pipeline_tests.wan.scripted_server import Asked, reply, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator


class Gate:
    """Passes requests on to the emulator; creates of `slow` prompts wait until it opens."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.opened = asyncio.Event()
        self.creates: list[str] = []
        self._arrived = asyncio.Condition()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer as the emulator does, sometimes later, sometimes never."""
        if asked.method == "POST":
            async with self._arrived:
                self.creates.append(asked.body.decode())
                self._arrived.notify_all()
            if b"slow" in asked.body:
                await self.opened.wait()
        headers = {name: asked.headers[name] for name in ("authorization",)}
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.request(
                asked.method, self._upstream + asked.target, headers=headers, content=asked.body
            )
        if b"lost" in asked.body:
            await asyncio.Event().wait()
        writer.write(reply(answer.status_code, answer.content))

    async def at_work(self, count: int) -> None:
        """Wait until so many creates have arrived."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.creates) >= count)


async def test_creates_on_their_way_get_their_grace(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """Answered within the grace: submitted. Not answered: unknown. Not begun: not begun."""
    requests = [make_request("quick"), *(make_request(f"slow {number}") for number in range(6))]
    requests += [make_request("slow and lost"), *(make_request(f"later {n}") for n in range(12))]
    gate = Gate(emulator.base_url)
    async with scripted(gate) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        buying = asyncio.ensure_future(bench.buy(iter(requests), create_grace_s=1.0))
        # The slow ones fill the window: until they are answered nothing else can be on its way.
        sent = 1 + bench.terms().window
        await gate.at_work(sent)
        buying.cancel()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await buying
        assert len(gate.creates) == sent, "a create was begun after the cancellation"

    books = bench.books()
    assert [books.state(request) for request in requests[1:sent]] == [
        *["submitted"] * (sent - 2),
        "unknown",
    ]
    tasks = {task["content"]["prompt"]: task["id"] for task in emulator.tasks()}
    for request in requests[1 : sent - 1]:
        assert books.purchases[request.request_id].task_id == tasks[request.prompt]
    assert len(books.purchases) == sent

    bench.base_url = emulator.base_url
    report = await bench.buy(requests)
    assert report.tally.failed == 1
    assert bench.books().states() == ["stored"] * (len(requests) - 1) + ["unknown"]
    assert emulator.bill()["creates_accepted"] == len(requests)


async def test_late_answer_is_no_longer_waited_for_than_the_grace(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """A supervisor that ends a run gives it ten seconds; the grace is ours."""
    gate = Gate(emulator.base_url)
    async with scripted(gate) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        buying = asyncio.ensure_future(bench.buy([make_request("slow")], create_grace_s=0.05))
        await gate.at_work(1)
        buying.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await buying
    assert bench.books().states() == ["unknown"]
    assert bench.books().reserved > 0


async def test_paid_task_is_kept_when_the_ledger_is_locked_at_the_end_of_the_grace(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id waits for the ledger, nobody waits for it any more, and the write fails in the end."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 2000)
    # It cannot even sign off, so its next run waits until its lease has expired.
    monkeypatch.setattr(ledger, "LEASE", timedelta(seconds=5))
    submitted, queued = ledger.Ledger.submitted, asyncio.Event()

    async def told(self: ledger.Ledger, *args: Any, **kwargs: Any) -> Any:
        queued.set()  # whoever waits for it goes on when this coroutine waits for the lock
        return await submitted(self, *args, **kwargs)

    monkeypatch.setattr(ledger.Ledger, "submitted", told)
    gate, request = Gate(emulator.base_url), make_request("slow")
    async with scripted(gate) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        buying = asyncio.ensure_future(bench.buy([request], create_grace_s=0.3))
        await gate.at_work(1)
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            gate.opened.set()
            async with asyncio.timeout(20):
                await queued.wait()  # the answer is here, its id waits for the lock
            buying.cancel()
            (ended,) = await asyncio.gather(buying, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError | LedgerUnavailableError)
        assert forgotten_tasks(emulator, bench.books(), tmp_path / "rescue") == set()

        report = await bench.buy([request])
        assert (report.tally.created, report.tally.failed) == (0, 0)
        assert bench.books().states() == ["stored"]
        assert emulator.bill()["creates_received"] == 1
        assert list((tmp_path / "rescue").iterdir()) == []


async def test_cancelled_before_anything_was_sent_leaves_nothing(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Not even a row."""
    buying = asyncio.ensure_future(bench.buy([make_request()]))
    await asyncio.sleep(0)
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert set(bench.books().states()) <= {"planned"}
    assert emulator.bill()["creates_received"] == 0


def test_result_and_error_come_out_of_the_thread() -> None:
    """Without an interrupt it is a plain call."""

    async def well() -> int:
        return 7

    async def badly() -> int:
        raise KeyError("mistake")

    assert run_interruptibly(well()) == 7
    with pytest.raises(KeyError, match="mistake"):
        run_interruptibly(badly())


def test_interrupt_waits_for_the_clean_up() -> None:
    """The main thread raises the interrupt on when the coroutine has put its affairs in order."""
    done: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)
            done.append("affairs in order")

    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(work())
    assert done == ["affairs in order"]


def test_clean_up_that_takes_too_long_is_left_behind() -> None:
    """A supervisor would kill the process; better to end by ourselves."""

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2)

    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(work(), grace_s=0.05)
