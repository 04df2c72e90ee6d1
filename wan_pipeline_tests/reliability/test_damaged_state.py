"""The ledger, or its folder, is damaged, locked away or gone: nothing is bought blindly."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.choice import open_ledger
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    PROFILE,
    Workbench,
    make_requests,
)
from wan_pipeline_tests.permissions import OBEYS
from wan_pipeline_tests.reliability.accounts import ended_bill, forgotten_tasks
from wan_pipeline_tests.reliability.once_sent import OnceSent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = pytest.mark.slow(apart=True)

SLOW = LatencyLaw(queue_max_s=10, service_median_s=400, service_sigma=0.1)
PAGE = 4096


# --- damage ---


def middle_pages(ledger: Path) -> None:
    """A disk lost everything but the beginning."""
    size = ledger.stat().st_size
    with ledger.open("r+b") as file:
        file.seek(PAGE)
        file.write(b"\xa5" * (size - PAGE))


def other_program(ledger: Path) -> None:
    """Somebody else's database lies there."""
    ledger.unlink()
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def from_the_future(ledger: Path) -> None:
    """A newer version wrote it."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE info SET value = '99' WHERE key = 'schema_version'")


@pytest.mark.parametrize(
    ("harm", "remedy"),
    [
        (middle_pages, "restore the file from a backup"),
        (other_program, "WAN_DATA_DIR"),
        (from_the_future, "Install the newer wan_pipeline"),
    ],
)
def test_damaged_ledger_stops_the_command_before_it_buys(
    harm: Callable[[Path], None], remedy: str, folder: Folder, provider: RunningEmulator
) -> None:
    """A sentence with a remedy, and no create; with the backup back, the rest is bought."""
    folder.write("kites.csv", "prompt\nkite one\nkite two\n")
    assert folder.wan("run", "kites").exit_code == ExitCode.COMPLETE
    ledger = folder.path / "emulator/ledger.sqlite"
    backup = ledger.read_bytes()
    folder.write("kites.csv", "prompt\nkite one\nkite two\nkite three\n")
    harm(ledger)
    for command in ("status", "run"):
        failed = folder.wan(command, "kites")
        assert failed.exit_code in (ExitCode.STOPPED, ExitCode.USAGE), (command, failed.output)
        assert remedy in " ".join(failed.output.split()), (command, failed.output)
    assert provider.bill()["creates_received"] == 2

    for path in ledger.parent.glob("ledger.sqlite*"):
        path.unlink()
    ledger.write_bytes(backup)
    assert folder.wan("run", "kites").exit_code == ExitCode.COMPLETE
    assert provider.bill()["creates_received"] == 3
    with Ledger(ledger, PROFILE) as healed:
        assert healed.spent() == ended_bill(provider) == PRICE * 3


INTEND_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.choice import open_ledger
from wan_pipeline_tests.ledger.conftest import intention

async def main():
    ledger = open_ledger(DataLayout(Path(sys.argv[1]), "emulator"), None)
    owner = ledger.owner("dead").__enter__()
    for number in range(50):
        await ledger.intend(intention(f"r{number}"), owner=owner)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_log_is_refused_and_leaves_a_whole_older_ledger(
    share: float, tmp_path: Path
) -> None:
    """A process was killed and its write-ahead log was cut: nothing is bought with what is left.

    Given up as it is, it is whole: no half change, sums agree with rows.
    """
    layout = DataLayout(tmp_path, PROFILE)
    killed = subprocess.run(
        [sys.executable, "-c", INTEND_AND_DIE, str(tmp_path)], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    log = layout.ledger.with_name(layout.ledger.name + "-wal")
    os.truncate(log, int(log.stat().st_size * share))
    with pytest.raises(ConfigurationError, match=r"number 50\. .* a second time.*-wal"):
        open_ledger(layout, None)
    for memory in (layout.filed_ledger, layout.ledger_beside):
        memory.write_bytes(b"")
    with open_ledger(layout, None) as ledger, ledger._read() as connection:
        assert 0 < sum(ledger.counts().values()) < 50
        assert ledger.committed() == ledger.reserved() == PRICE * len(ledger.purchases())
        events = connection.execute(sa.select(sa.func.count()).select_from(schema.events)).scalar()
        assert events == len(ledger.purchases())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


# --- no access ---


BUY = """
import asyncio, sys
from pathlib import Path
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests

bench = Workbench(folder=Path(sys.argv[1]), base_url=sys.argv[2])
try:
    report = asyncio.run(bench.buy(make_requests(int(sys.argv[3]))))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(1)
print("done", report.tally.done, "stored", report.tally.already_stored, report.stop)
"""


def buy_without_privileges(folder: Path, base_url: str, count: int) -> tuple[int, str]:
    """A batch to which permissions apply; its exit code and what it said."""
    ended = subprocess.run(
        [*OBEYS, sys.executable, "-c", BUY, str(folder), base_url, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout


def close(folder: Path, *, to_writing: bool) -> None:
    """Take or give back the permission to write, everywhere below."""
    for path in [folder, *folder.rglob("*")]:
        mode = 0o755 if path.is_dir() else 0o644
        path.chmod(mode & ~0o222 if to_writing else mode)


def test_read_only_folder_stops_before_it_buys(emulator: RunningEmulator, tmp_path: Path) -> None:
    """It says what to make writable; afterwards it goes on."""
    folder = tmp_path / "shared"
    folder.mkdir()
    assert buy_without_privileges(folder, emulator.base_url, 2) == (0, "done 2 stored 0 None\n")
    close(folder, to_writing=True)
    code, said = buy_without_privileges(folder, emulator.base_url, 4)
    assert code == 1
    assert "LedgerUnavailableError" in said
    assert "writable" in said
    assert emulator.bill()["creates_received"] == 2
    close(folder, to_writing=False)
    assert buy_without_privileges(folder, emulator.base_url, 4) == (0, "done 2 stored 2 None\n")
    assert ended_bill(emulator) == PRICE * 4


# --- gone in mid-run ---


@pytest.mark.parametrize("sent", [5, 30])
async def test_folder_that_is_gone_in_mid_run_and_back(
    emulator: RunningEmulator, bench: Workbench, tmp_path: Path, sent: int
) -> None:
    """A disk was unmounted: the batch ends; with the folder back nothing was forgotten.

    Be it that something was still to buy or that all was sent, and an image could not be written.
    """
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    requests, elsewhere = make_requests(30), tmp_path / "elsewhere"
    unmounting = OnceSent(count=sent, then=lambda: bench.folder.rename(elsewhere))
    with pytest.raises(LedgerUnavailableError, match=r"removed, moved or replaced.*Put .* back"):
        await asyncio.wait_for(bench.buy(requests, progress=unmounting), 90)
    accepted = emulator.bill()["creates_accepted"]
    if bench.folder.exists():  # images that came before the next look at the ledger
        shutil.rmtree(bench.folder)
    elsewhere.rename(bench.folder)
    books = bench.books()
    assert forgotten_tasks(emulator, books, bench.folder / "rescue") == set()
    assert accepted <= sent + bench.terms().window

    report = await bench.buy(requests)
    assert (report.stop, report.tally.failed) == (None, 0)
    assert report.tally.created == 30 - accepted
    assert bench.books().states() == ["stored"] * 30
    assert bench.books().spent == ended_bill(emulator) == PRICE * 30


async def test_folder_that_is_deleted_in_mid_run_stops_the_buying(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Nothing can be written down any more: at most what was on its way is bought."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SLOW))
    await bench.prove_form()
    deleting = OnceSent(count=5, then=lambda: shutil.rmtree(bench.folder))
    with pytest.raises(LedgerUnavailableError, match="removed, moved or replaced"):
        await asyncio.wait_for(bench.buy(make_requests(60), progress=deleting), 90)
    assert emulator.bill()["creates_accepted"] <= 5 + bench.terms().window
