"""Several runs on one ledger, a run beside one that is being ended, and a clock that jumps."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.cli.conftest import last_line
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    PROFILE,
    Workbench,
    hurried,
    make_request,
    make_requests,
)
from wan_pipeline_tests.reliability.accounts import ended_bill
from wan_pipeline_tests.reliability.once_sent import OnceSent
from wan_pipeline_tests.reliability.spender import PROFILE as SPENDERS
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = pytest.mark.slow(apart=True)

PATIENCE_S = 120.0
HOUR = timedelta(hours=1)
SLOW = LatencyLaw(queue_max_s=10, service_median_s=800, service_sigma=0.1)
KITES = "prompt\n" + "".join(f"kite number {number}\n" for number in range(40))


def wait_until(true: Callable[[], bool]) -> None:
    """Within this module's bounds."""
    wait_for(true, what="what the next line needs", within_s=PATIENCE_S)


def bought_once(provider: RunningEmulator) -> bool:
    """Whether no request was bought twice."""
    prompts = [task["content"]["prompt"] for task in provider.tasks()]
    return len(prompts) == len(set(prompts))


def books_of(folder: Folder) -> tuple[list[str], Decimal, Decimal]:
    """States, paid and reserved."""
    with Ledger(folder.path / "emulator/ledger.sqlite", PROFILE) as ledger:
        states = sorted(each.state.value for each in ledger.purchases().values())
        return states, ledger.spent(), ledger.reserved()


# --- runs beside runs ---


def test_two_commands_at_once_on_one_set(folder: Folder, provider: RunningEmulator) -> None:
    """Both end well, everything is stored, and each request was bought by one of them."""
    provider.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    folder.write("kites.csv", KITES)
    processes = [folder.start("run", "kites"), folder.start("run", "kites")]
    ended = [process.communicate(timeout=PATIENCE_S) for process in processes]
    for process, (out, err) in zip(processes, ended, strict=True):
        assert process.returncode == ExitCode.COMPLETE, out + err
    submitted = [last_line(out)[0] for out, _ in ended]
    assert sum(submitted) == provider.bill()["creates_received"] == 40
    assert bought_once(provider)
    bill = ended_bill(provider)
    assert books_of(folder) == (["stored"] * 40, bill, Decimal(0))
    assert bill == sum(last_line(out)[3] for out, _ in ended) == PRICE * 40


def test_command_beside_one_that_is_being_ended(folder: Folder, provider: RunningEmulator) -> None:
    """The second goes on in the place of the first, and buys nothing that the first has bought."""
    provider.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    folder.write("kites.csv", KITES)
    first = folder.start("run", "kites")
    wait_until(lambda: provider.bill()["creates_accepted"] >= 10)
    second = folder.start("run", "kites")
    wait_until(lambda: provider.bill()["creates_accepted"] >= 15)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=PATIENCE_S)
    assert first.returncode in (ExitCode.INTERRUPTED, ExitCode.COMPLETE), out + err
    out, err = second.communicate(timeout=PATIENCE_S)
    states, spent, reserved = books_of(folder)
    assert second.returncode == ExitCode.COMPLETE, out + err
    # An orderly end waits for the answers to its creates: nothing is in doubt.
    assert (states, reserved) == (["stored"] * 40, 0)
    assert bought_once(provider)
    assert spent == ended_bill(provider)


# --- one budget ---


def check_cap_holds(where: Path | str, processes: int) -> None:
    """Several processes want far more than there is; together they get the cap and no more."""
    module = "wan_pipeline_tests.reliability.spender"
    spenders = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(where), f"spender-{number}", "40", "1.00"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    try:
        for spender in spenders:
            assert spender.stdout is not None
            assert spender.stdout.readline() == "ready\n"
        for spender in spenders:
            assert spender.stdin is not None
            spender.stdin.write("go\n")
            spender.stdin.flush()
        written = [int(spender.communicate(timeout=PATIENCE_S)[0]) for spender in spenders]
    finally:
        for spender in spenders:
            if spender.poll() is None:
                spender.kill()
            spender.communicate()
    assert sum(written) == 33
    with Ledger(where, SPENDERS) as ledger:
        assert ledger.committed() == ledger.reserved() == Decimal("0.99")
        assert sum(ledger.counts().values()) == 33
        by_set = [ledger.committed(prompt_set=f"spender-{number}") for number in range(processes)]
    assert by_set == [Decimal("0.03") * count for count in written]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_cannot_pass_a_cap_together(processes: int, tmp_path: Path) -> None:
    """33 intents of 0.03 fit under 1.00, whoever writes them."""
    check_cap_holds(tmp_path / "ledger.sqlite", processes)


@pytest.mark.postgres
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_cannot_pass_a_cap_together_on_postgresql(
    processes: int, postgres_url: str
) -> None:
    """The same where writers do not wait for each other by themselves."""
    check_cap_holds(postgres_url, processes)


# --- a clock that jumps ---


class JumpyTime:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def __call__(self) -> datetime:
        """The time."""
        return datetime.now(UTC) + self.off

    def leap(self, by: timedelta) -> None:
        """Somebody set it."""
        self.off += by


@dataclass(kw_only=True)
class JumpyBench(Workbench):
    """Ledger, engine and pace all go by one clock, which can be set."""

    time: JumpyTime = dataclasses.field(default_factory=JumpyTime)

    def __post_init__(self) -> None:
        self.clock = dataclasses.replace(hurried(), now=self.time, pace_now=self.time)

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.folder / "ledger.sqlite", PROFILE, now=self.time)


@pytest.fixture
def jumpy(bench: Workbench) -> JumpyBench:
    """A workbench with such a clock."""
    return JumpyBench(folder=bench.folder, base_url=bench.base_url)


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -24 * HOUR])
async def test_clock_jumps_between_runs(
    jump: timedelta, emulator: RunningEmulator, jumpy: JumpyBench
) -> None:
    """The next run neither waits for the old time to come back nor buys anything again."""
    first = await jumpy.buy(make_requests(8))
    assert first.tally.done == 8
    jumpy.time.leap(jump)
    began = time.monotonic()
    report = await jumpy.buy(make_requests(16))
    assert time.monotonic() - began < 20
    assert (report.tally.already_stored, report.tally.done, report.tally.failed) == (8, 8, 0)
    assert jumpy.books().spent == ended_bill(emulator) == PRICE * 16


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_clock_jumps_during_a_run(
    jump: timedelta, emulator: RunningEmulator, jumpy: JumpyBench
) -> None:
    """Tasks in flight are followed, the others are bought, deadlines are not missed by it."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    leap = OnceSent(count=3, then=lambda: jumpy.time.leap(jump))
    buying = jumpy.buy(make_requests(16), progress=leap, result_lifetime_s=86_400.0)
    report = await asyncio.wait_for(buying, 60)
    assert leap.done
    assert (report.stop, report.tally.done, report.tally.failed) == (None, 16, 0)
    assert emulator.bill()["creates_received"] == 16
    assert jumpy.books().spent == ended_bill(emulator) == PRICE * 16


async def test_clock_that_jumps_over_the_deadline_expires_nothing(
    emulator: RunningEmulator, jumpy: JumpyBench
) -> None:
    """The provider says that the task runs: it is left to a run whose clock is right."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    requests, jump = make_requests(8), 25 * HOUR
    leap = OnceSent(count=3, then=lambda: jumpy.time.leap(jump))
    await asyncio.wait_for(jumpy.buy(requests, progress=leap, result_lifetime_s=86_400.0), 60)
    assert leap.done
    assert "expired" not in jumpy.books().states()

    jumpy.time.leap(-jump)
    report = await jumpy.buy(requests, result_lifetime_s=86_400.0)
    assert (report.stop, report.tally.failed) == (None, 0)
    assert jumpy.books().states() == ["stored"] * 8
    assert jumpy.books().spent == ended_bill(emulator) == PRICE * 8


ABANDON = """
import asyncio, os, sys
from pathlib import Path
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.ledger.conftest import intention

async def main():
    ledger = Ledger(Path(sys.argv[1]), "emulator")
    owner = ledger.owner("dead").__enter__()
    await ledger.intend(intention(sys.argv[2]), owner=owner)
    os._exit(0)

asyncio.run(main())
"""


async def test_dead_runs_rows_are_taken_up_although_their_lease_lies_an_hour_ahead(
    emulator: RunningEmulator, jumpy: JumpyBench
) -> None:
    """Its process is gone, whatever the clock says; on this machine that is known at once."""
    request = make_request()
    arguments = [str(jumpy.folder / "ledger.sqlite"), request.request_id]
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ABANDON, *arguments], check=True, timeout=60
    )
    jumpy.time.leap(-HOUR)
    began = time.monotonic()
    report = await jumpy.buy([request])
    assert time.monotonic() - began < 20
    assert (report.tally.created, report.tally.failed) == (0, 1)
    assert jumpy.books().states() == ["unknown"]
    assert emulator.bill()["creates_received"] == 0


async def test_expired_lease_of_a_living_run_costs_no_second_purchase(
    emulator: RunningEmulator, jumpy: JumpyBench
) -> None:
    """After a jump ahead another run takes its rows; between them each is bought and kept once."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    requests = make_requests(6)
    all_sent = asyncio.Event()
    sending = OnceSent(count=6, then=all_sent.set)
    first = asyncio.ensure_future(
        jumpy.buy(requests, run_id="first", progress=sending, result_lifetime_s=86_400.0)
    )
    await asyncio.wait_for(all_sent.wait(), 60)
    jumpy.time.leap(HOUR)
    second = await jumpy.buy(requests, run_id="second", result_lifetime_s=86_400.0)
    await first
    assert second.tally.created == 0
    books = jumpy.books()
    assert set(books.states()) <= {"stored", "unknown"}
    assert emulator.bill()["creates_received"] == 6
    assert books.spent <= ended_bill(emulator) <= books.spent + books.reserved
