"""The ledger's server drops its connections, hangs, or is not there: nothing is lost for it."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    PROFILE,
    Workbench,
    make_request,
    make_requests,
)
from wan_pipeline_tests.postgres_fixture import running
from wan_pipeline_tests.reliability.accounts import ended_bill, forgotten_tasks
from wan_pipeline_tests.reliability.once_sent import OnceSent

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = [pytest.mark.postgres, pytest.mark.slow(apart=True)]

SLOW = LatencyLaw(queue_max_s=10, service_median_s=400, service_sigma=0.1)


@dataclass(kw_only=True)
class ServedBench(Workbench):
    """Its ledger is on PostgreSQL."""

    url: str = ""

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.url, PROFILE)


def backends(pid: int) -> list[psutil.Process]:
    """The server's processes that serve a connection."""
    children = psutil.Process(pid).children()
    return [each for each in children if "wan_test" in " ".join(each.cmdline())]


async def test_server_that_drops_its_connections_costs_nothing(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """It restarted after a crash: the run ends or goes on, and the next one finishes all of it."""
    with running() as server, server.database() as url:
        bench = ServedBench(folder=tmp_path, base_url=emulator.base_url, url=url)
        emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
        requests = make_requests(20)

        dropped: list[psutil.Process] = []

        def drop_all() -> None:
            dropped.extend(backends(server.address.pid))
            for backend in dropped:
                backend.send_signal(signal.SIGTERM)

        buying = bench.buy(requests, progress=OnceSent(count=5, then=drop_all))
        (ended,) = await asyncio.gather(asyncio.wait_for(buying, 90), return_exceptions=True)
        assert dropped
        if isinstance(ended, BaseException):  # whether a connection is in use is a matter of luck
            assert isinstance(ended, LedgerUnavailableError), ended
            assert "run again" in str(ended)
        assert forgotten_tasks(emulator, bench.books(), tmp_path / "rescue") == set()
        report = await bench.buy(requests)
        assert (report.stop, report.tally.failed) == (None, 0)
        assert bench.books().states() == ["stored"] * 20
        assert bench.books().spent == ended_bill(emulator) == PRICE * 20
        assert emulator.bill()["creates_received"] == 20


async def test_server_that_hangs_for_a_while_is_waited_for(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """Stopped and continued: everything waits, nothing is in doubt."""
    with running() as server, server.database() as url:
        bench = ServedBench(folder=tmp_path, base_url=emulator.base_url, url=url)
        resumed: list[threading.Timer] = []

        def hang() -> None:
            stopped = backends(server.address.pid)
            # In a thread: a read that waits for the server holds up this loop.
            resume = threading.Timer(1.0, lambda: [backend.resume() for backend in stopped])
            resume.start()
            resumed.append(resume)
            for backend in stopped:
                backend.suspend()

        buying = bench.buy(make_requests(20), progress=OnceSent(count=3, then=hang))
        report = await asyncio.wait_for(buying, 90)
        resumed[0].join()
        assert (report.stop, report.tally.done, report.tally.failed) == (None, 20, 0)
        assert bench.books().spent == ended_bill(emulator) == PRICE * 20


async def test_server_that_is_not_there_stops_before_it_buys(
    emulator: RunningEmulator, tmp_path: Path, postgres_url: str
) -> None:
    """A sentence without the password, and no create."""
    gone = sa.make_url(postgres_url).set(port=9)
    bench = ServedBench(
        folder=tmp_path,
        base_url=emulator.base_url,
        url=gone.render_as_string(hide_password=False),
    )
    with pytest.raises(LedgerUnavailableError, match="Check that the server runs") as refused:
        await bench.buy([make_request()])
    assert str(gone.password) not in str(refused.value)
    assert emulator.bill()["creates_received"] == 0
