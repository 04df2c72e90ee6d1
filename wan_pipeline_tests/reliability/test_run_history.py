"""Dagster cannot keep the history of runs: a clear stop, no traceback, nothing is forgotten."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.console import LiveProgress
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import last_line
from wan_pipeline_tests.generation.batch_fixture import PRICE
from wan_pipeline_tests.reliability.full_history import full_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from wan_pipeline.generation.progress import BatchReport, Tally
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = pytest.mark.slow(apart=True)

KITES = "prompt\n" + "".join(f"kite {number}\n" for number in range(6))


@pytest.fixture
def filling() -> Iterator[Callable[[], object]]:
    """From its call to the end of the test, the instance's databases are full."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(full_history())


def once_stored(monkeypatch: pytest.MonkeyPatch, images: int, act: Callable[[], object]) -> None:
    """Act in mid-run, as soon as a batch has stored so many images."""
    shown, done = LiveProgress.update, list[object]()

    def update(self: LiveProgress, tally: Tally) -> None:
        shown(self, tally)
        if tally.images >= images and not done:
            done.append(act())

    monkeypatch.setattr(LiveProgress, "update", update)


def once_finished(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act as soon as a batch has told how it ended."""
    shown = LiveProgress.finished

    def finished(self: LiveProgress, report: BatchReport) -> None:
        shown(self, report)
        act()

    monkeypatch.setattr(LiveProgress, "finished", finished)


def assert_told(done: Result, reason: str) -> None:
    """A stop with its reason and its remedy, and no traceback."""
    assert isinstance(done.exception, SystemExit), done.output
    assert done.exit_code == ExitCode.STOPPED, done.output
    assert "/emulator/dagster cannot be kept" in done.output
    assert reason in done.output
    assert "What was bought is in the ledger, or in a rescue file" in done.output
    assert "What to do: make room on that folder's disk" in done.output


def test_instance_that_fills_up_in_mid_run(
    folder: Folder,
    provider: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
    filling: Callable[[], object],
) -> None:
    """The last line tells what this run did, later sets are named, the next run goes on."""
    folder.write("kites.csv", KITES)
    folder.write("trams.csv", "prompt\ntram\n")
    with monkeypatch.context() as patched:
        once_stored(patched, 2, filling)
        full = folder.wan("run", "kites", "trams")
    assert_told(full, "database or disk is full")
    assert "not started: trams" in full.output
    bill = provider.bill()
    submitted, stored, failed, cost = last_line(full.stdout)
    assert submitted == bill["creates_accepted"] > 0
    assert 2 <= stored <= submitted
    assert failed == 6 - stored
    assert cost == PRICE * stored


def test_instance_that_has_room_again(
    folder: Folder, provider: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that was bought is taken up, and nothing is bought twice."""
    folder.write("kites.csv", KITES)
    with monkeypatch.context() as patched, ExitStack() as stack:
        once_stored(patched, 2, lambda: stack.enter_context(full_history()))
        assert folder.wan("run", "kites").exit_code == ExitCode.STOPPED
    again = folder.wan("run", "kites")
    assert again.exit_code == 0, again.output
    assert provider.bill()["creates_accepted"] == 6


def test_own_stop_of_the_batch_is_told_all_the_same(
    folder: Folder,
    provider: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
    filling: Callable[[], object],
) -> None:
    """Which cap was reached and what is left, beside what became of the history."""
    folder.write("kites.csv", KITES)
    once_finished(monkeypatch, filling)
    full = folder.wan("run", "kites", WAN_BUDGET_RUN_USD=f"{PRICE * 2}")
    assert_told(full, "database or disk is full")
    assert "stopped by budget: the budget of one run" in full.output
    assert "4 requests are left" in full.output
    assert last_line(full.stdout) == (2, 2, 4, PRICE * 2)


def test_data_folder_that_is_moved_in_mid_run(
    folder: Folder, provider: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of the batch are told, as nothing is there any more; back, it goes on."""
    folder.write("kites.csv", KITES)
    profile, elsewhere = folder.path / "emulator", folder.path / "elsewhere"
    with monkeypatch.context() as patched:
        once_stored(patched, 1, lambda: profile.rename(elsewhere))
        moved = folder.wan("run", "kites", WAN_RUNNING_AT_ONCE="1")
    assert_told(moved, "unable to open database file")
    assert "put the folder back" in moved.output
    submitted, stored, failed, cost = last_line(moved.stdout)
    assert submitted == provider.bill()["creates_accepted"]
    assert (stored + failed, cost > 0) == (6, True)

    shutil.rmtree(profile, ignore_errors=True)
    elsewhere.rename(profile)
    again = folder.wan("run", "kites")
    assert again.exit_code == 0, again.output
    assert provider.bill()["creates_accepted"] == 6
    assert len(list((profile / "images").rglob("*.png"))) == 6


def test_older_copy_put_in_its_place_in_mid_run(
    folder: Folder, provider: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was bought by then is told, though the ledger that knows it is away."""
    folder.write("kites.csv", "prompt\nthe first kite\n")
    assert folder.wan("run", "kites").exit_code == 0
    profile, older = folder.path / "emulator", folder.path / "older"
    newer = folder.path / "newer"
    shutil.copytree(profile, older)
    folder.write("kites.csv", KITES)

    def put_back() -> None:
        profile.rename(newer)
        older.rename(profile)

    with monkeypatch.context() as patched:
        once_stored(patched, 1, put_back)
        stopped = folder.wan("run", "kites", WAN_RUNNING_AT_ONCE="1")
    assert stopped.exit_code == ExitCode.STOPPED, stopped.output
    assert last_line(stopped.stdout)[0] == provider.bill()["creates_accepted"] - 1

    shutil.rmtree(profile)
    newer.rename(profile)
    again = folder.wan("run", "kites")
    assert again.exit_code == 0, again.output
    assert provider.bill()["creates_accepted"] == 7


def test_every_other_command_says_so_too(
    folder: Folder, provider: RunningEmulator, filling: Callable[[], object]
) -> None:
    """None of them ends in a traceback, and none buys anything."""
    folder.write("kites.csv", "prompt\nkite\n")
    assert folder.wan("run", "kites").exit_code == 0
    assert folder.wan("release", "create", "toys").exit_code == 0
    # What this leaves in flight is found by `wan reconcile`, which then shows the set anew.
    (image,) = (folder.path / "emulator/images").rglob("*.png")
    image.unlink()
    filling()
    for command in (
        ("plan", "kites"),
        ("run", "kites"),
        ("release", "create", "others"),
        ("release", "export", "toys"),
        ("reconcile",),
    ):
        assert_told(folder.wan(*command), "database or disk is full")
    assert provider.bill()["creates_accepted"] == 1


def test_reproduction_says_so_too(
    folder: Folder,
    provider: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
    filling: Callable[[], object],
) -> None:
    """Its own last line tells what it bought."""
    folder.write("kites.csv", "prompt,prompt_extend\nkite,false\n")
    assert folder.wan("run", "kites").exit_code == 0
    assert folder.wan("release", "create", "toys").exit_code == 0
    once_stored(monkeypatch, 1, filling)
    done = folder.wan("reproduce", "toys", "--yes")
    assert_told(done, "database or disk is full")
    assert "submitted=1 stored=1" in done.stdout.splitlines()[-1]
    assert provider.bill()["creates_accepted"] == 2


def test_ledger_that_cannot_be_read_after_the_stop(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, filling: Callable[[], object]
) -> None:
    """The counts of the batch are told instead."""
    folder.write("kites.csv", KITES)
    ledger = folder.path / "emulator/ledger.sqlite"

    def spoil() -> None:
        filling()
        ledger.unlink()
        ledger.mkdir()

    once_finished(monkeypatch, spoil)
    full = folder.wan("run", "kites")
    assert_told(full, "database or disk is full")
    assert "kites: what is stored cannot be read now" in full.output
    assert last_line(full.stdout) == (6, 6, 0, PRICE * 6)
