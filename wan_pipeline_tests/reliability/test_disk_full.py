"""The disk is full: a clear stop, nothing paid is forgotten, and all is well when space returns."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset import atomic, metadata, store
from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.generation.rescue import RescuedTask, RescueFile
from wan_pipeline.ledger import ledger as real
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.wan.errors import AccountStopError, StopReason
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    Workbench,
    make_request,
    make_requests,
)
from wan_pipeline_tests.reliability import small_disk
from wan_pipeline_tests.reliability.accounts import (
    ended_bill,
    forgotten_tasks,
    rescued_tasks,
    temp_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = pytest.mark.slow(apart=True)

PATIENCE_S = 120.0
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def may_mount() -> bool:
    """Whether this user may have a mount namespace, with a tmpfs in it."""
    tried = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_mount = pytest.mark.skipif(
    not may_mount(), reason="no mount namespaces here; the injected errors below are tested"
)


# --- a real disk ---


@needs_mount
@pytest.mark.parametrize("after", [0, 1, 3, 8])
def test_disk_that_fills_up_after_so_many_creates(
    after: int, tmp_path: Path, emulator: RunningEmulator
) -> None:
    """Before the first one nothing is bought; later every task is known and fetched in the end."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    module = "wan_pipeline_tests.reliability.small_disk"
    arguments = [str(mount_point), emulator.base_url, str(after)]
    ended = subprocess.run(
        [*UNSHARE, sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    full, then = (json.loads(ended.stdout)[name] for name in ("full", "then"))

    assert full["temp_files"] == then["temp_files"] == []
    if after == 0:
        assert full["error"] in ("LedgerUnavailableError", "OSError"), full
        assert "not full" in full["message"] or "No space" in full["message"]
        assert then["created"] == small_disk.REQUESTS  # that is: none before
    elif "error" in full:
        assert full["error"] == "LedgerUnavailableError"
        assert "space" in full["message"], full
    else:
        assert full["stop"] == "disk", full
    assert len(full["known"]) == emulator.bill()["creates_accepted"] - then["created"]
    assert (then["stop"], then["done"]) == (None, small_disk.REQUESTS)
    assert then["states"] == ["stored"] * small_disk.REQUESTS
    assert emulator.bill()["creates_accepted"] == small_disk.REQUESTS
    assert Decimal(then["spent"]) == ended_bill(emulator) == PRICE * small_disk.REQUESTS
    assert Decimal(then["reserved"]) == 0


# --- the same, injected ---


async def test_full_disk_while_an_image_is_stored(
    emulator: RunningEmulator, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops submitting, what is at the provider stays there, and the next run fetches it."""
    stored: list[Path] = []

    def full_after_two(path: Path, data: bytes) -> None:
        if len(stored) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        stored.append(path)
        atomic.write_atomic(path, data)

    monkeypatch.setattr(store, "write_atomic", full_after_two)
    requests = make_requests(20)
    report = await bench.buy(requests)
    assert report.stop is StopReason.DISK
    told = str(AccountStopError(report.stop, report.stop_detail))
    assert "free" in told
    assert "No space left" in told
    assert report.left > 0
    assert set(bench.books().states()) <= {"stored", "succeeded", "planned"}
    assert bench.books().states().count("stored") == 2
    assert bench.books().spent == ended_bill(emulator)
    assert temp_files(bench.folder) == []

    monkeypatch.undo()
    again = await bench.buy(requests)
    assert (again.stop, again.tally.failed) == (None, 0)
    assert again.tally.created == report.left
    assert bench.books().spent == ended_bill(emulator) == PRICE * 20


@dataclass(kw_only=True)
class CrampedBench(Workbench):
    """Its ledger's file may grow by so many pages."""

    pages: int | None = None

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        ledger = super().ledger()
        if self.pages is not None:
            ledger.apply_now(partial(_limit, pages=self.pages))
        return ledger


def _limit(tx: Any, pages: int) -> None:
    count = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {count + pages}")


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 6, 9])
async def test_full_disk_while_the_ledger_is_written(
    pages: int, emulator: RunningEmulator, bench: Workbench
) -> None:
    """At whichever write: every billed task is in the ledger or in the rescue file."""
    cramped = CrampedBench(folder=bench.folder, base_url=bench.base_url, pages=pages)
    requests = make_requests(20)
    with pytest.raises(LedgerUnavailableError, match=r"full.*Free space"):
        await cramped.buy(requests)
    rescue = bench.folder / "rescue"
    sent = emulator.bill()["creates_received"]
    assert forgotten_tasks(emulator, bench.books(), rescue) == set()
    assert "unknown" not in bench.books().states()

    report = await bench.buy(requests)
    assert (report.stop, report.tally.failed) == (None, 0)
    assert bench.books().states() == ["stored"] * 20
    assert sent + report.tally.created == emulator.bill()["creates_accepted"] == 20
    assert bench.books().spent == ended_bill(emulator) == PRICE * 20
    assert bench.books().reserved == 0
    assert rescued_tasks(rescue) == set()
    assert list(rescue.iterdir()) == []
    assert temp_files(bench.folder) == []


async def test_ledger_that_gets_space_within_the_minute_loses_nothing(
    emulator: RunningEmulator, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch waits with the task's id in the rescue file, stops submitting, and ends well."""
    request = make_request()
    tries: list[str] = []
    submitted = real.Ledger.submitted

    async def full_twice(self: Ledger, key: Any, owner: Any, **values: Any) -> Any:
        tries.append(values["task_id"])
        if len(tries) <= 2:
            raise LedgerUnavailableError("database or disk is full")
        assert rescued_tasks(bench.folder / "rescue") == {values["task_id"]}
        return await submitted(self, key, owner, **values)

    monkeypatch.setattr(real.Ledger, "submitted", full_twice)
    report = await bench.buy([request, *make_requests(3)])
    assert (len(tries), report.stop, report.left) == (3, StopReason.DISK, 3)
    assert bench.books().state(request) == "stored"
    assert list((bench.folder / "rescue").iterdir()) == []
    assert bench.books().spent == ended_bill(emulator) == PRICE


async def test_rescued_task_of_a_run_that_seems_alive_is_adopted_as_soon_as_it_does_not(
    emulator: RunningEmulator, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a run cannot even say that it ends: its lease has to run out."""

    async def full(*_: object, **__: object) -> None:
        raise LedgerUnavailableError("database or disk is full")

    def no_end(*_: object, **__: object) -> None:
        raise LedgerUnavailableError("database or disk is full")

    monkeypatch.setattr(real, "LEASE", timedelta(seconds=6))
    with monkeypatch.context() as patched:
        patched.setattr(real.Ledger, "submitted", full)
        patched.setattr(real, "_discharge", no_end)
        with pytest.raises(LedgerUnavailableError):
            await bench.buy([make_request()])
    assert len(rescued_tasks(bench.folder / "rescue")) == 1
    assert bench.books().states() == ["intent"]

    report = await bench.buy([make_request()])
    assert (report.tally.created, report.tally.done, report.tally.failed) == (0, 1, 0)
    assert bench.books().states() == ["stored"]
    assert rescued_tasks(bench.folder / "rescue") == set()
    assert bench.books().spent == ended_bill(emulator) == PRICE


async def test_rescued_task_that_the_ledger_knows_is_followed(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """A run wrote the ledger and died before it could tidy up its rescue file."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(Fault(kind=FaultKind.UNKNOWN_TASK),)))
    request = make_request()
    await bench.buy([request])
    purchase = bench.books().purchases[request.request_id]
    assert purchase.state == "submitted"
    assert purchase.task_id is not None
    with RescueFile(bench.folder / "rescue", "a-dead-owner") as rescue:
        rescue.note(RescuedTask(request_id=request.request_id, task_id=purchase.task_id))

    emulator.set_plan(EmulatorPlan(speed_up=1000))
    report = await bench.buy([request])
    assert (report.tally.created, report.tally.done, report.tally.failed) == (0, 1, 0)
    assert bench.books().state(request) == "stored"
    assert list((bench.folder / "rescue").iterdir()) == []


def test_full_disk_while_the_table_is_written(
    folder: Folder, provider: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of before stays readable, the command says so, and the next one writes it."""
    folder.write("kites.csv", "prompt\nkite one\n")
    assert folder.wan("run", "kites").exit_code == 0
    table = folder.path / "emulator/metadata/kites.parquet"
    before = table.read_bytes()
    folder.write("kites.csv", "prompt\nkite one\nkite two\n")

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(metadata.pq, "write_table", no_space)
        failed = folder.wan("run", "kites")
    assert failed.exit_code == 1
    assert "No space left" in failed.output
    assert table.read_bytes() == before
    assert temp_files(folder.path / "emulator/metadata") == []

    assert folder.wan("run", "kites").exit_code == 0
    assert pq.read_table(table).num_rows == 2
    assert pq.read_table(table).schema.equals(METADATA)
    assert provider.bill()["creates_accepted"] == 2
