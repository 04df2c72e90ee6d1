"""Rescue files of dead owners: gone when they hold nothing, kept and read when they do."""

from __future__ import annotations

import errno
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from wan_pipeline.generation import rescue
from wan_pipeline.generation.rescue import RescuedTask, RescueFile
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline_tests.generation.batch_fixture import Workbench

if TYPE_CHECKING:
    from pathlib import Path

TASK = RescuedTask(request_id="r" * 64, task_id="t-1")


def left_by(owner_id: str, folder: Path, *tasks: RescuedTask) -> Path:
    """What a killed owner leaves."""
    file = RescueFile(folder, owner_id)
    file.__enter__()
    for task in tasks:
        file.note(task)
    return folder / f"{owner_id}.jsonl"


def test_empty_file_of_a_dead_owner_goes(tmp_path: Path) -> None:
    """That of a living one stays, and so does one with a task."""
    dead, living = left_by("dead", tmp_path), left_by("living", tmp_path)
    full = left_by("dead too", tmp_path, TASK)
    with RescueFile(tmp_path, "own") as own:
        own.tidy(lambda: {"living"})
        assert not dead.exists()
        assert living.exists()
        assert full.exists()
        assert own.tasks() == [TASK]


def test_unfinished_line_stops_nobody(tmp_path: Path) -> None:
    """Its purchase is unknown in the ledger; the lines before it are kept."""
    left = left_by("dead", tmp_path, TASK, RescuedTask(request_id="s" * 64, task_id="t-2"))
    lines = left.read_bytes().split(b"\n")
    left.write_bytes(lines[0] + b"\n" + lines[1][:30])
    with RescueFile(tmp_path, "own") as own:
        assert own.tasks() == [TASK]


def test_disk_without_room_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is bought, and no part of the file stays on the full disk."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(LedgerUnavailableError, match=r"No space left.*[Ff]ree space"),
        RescueFile(tmp_path, "own"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_owner_taken_for_dead_can_still_write(tmp_path: Path) -> None:
    """Its lease had expired and its file was removed; a task's id is not dropped for that."""
    with RescueFile(tmp_path, "slow") as slow:
        (tmp_path / "slow.jsonl").unlink()
        slow.note(TASK)
        assert slow.tasks() == [TASK]
        slow.forget(TASK)
    assert list(tmp_path.iterdir()) == []


async def test_next_batch_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """Nobody else would: a killed process cannot tidy up after itself."""
    left = left_by("dead", tmp_path / "rescue")
    bench = Workbench(folder=tmp_path, base_url="http://127.0.0.1:9")
    await bench.buy([])
    assert not left.exists()


async def test_file_of_a_living_owner_is_not_touched(tmp_path: Path) -> None:
    """Two runs of one account at once."""
    bench = Workbench(folder=tmp_path, base_url="http://127.0.0.1:9")
    with bench.ledger() as ledger, ledger.owner("neighbour") as owner:
        file = left_by(owner.owner_id, tmp_path / "rescue")
        await bench.buy([])
        assert file.exists()


class Interruption:
    """The other process comes right between a read of its file and what follows from it."""

    def __init__(self, slow: RescueFile) -> None:
        self._read, self._slow, self._pool = rescue._read, slow, ThreadPoolExecutor(1)
        self._noting: Future[None] | None = None
        self._came = False

    def read(self, path: Path) -> list[RescuedTask]:
        """As before; once the other one notes a task meanwhile, unless it is kept waiting."""
        found = self._read(path)
        if path.stem == "slow" and not self._came:
            self._came = True
            self._noting = self._pool.submit(self._slow.note, TASK)
            wait([self._noting], timeout=0.5)
        return found

    def end(self) -> None:
        """It has noted its task."""
        assert self._noting is not None
        self._noting.result(20)
        self._pool.shutdown()


@pytest.mark.parametrize("others", [0, 1])
def test_task_noted_while_another_process_forgets_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """An owner whose lease ran out comes back and writes its file, which the next run tidies up."""
    known = RescuedTask(request_id="s" * 64, task_id="t-known")
    kept = [RescuedTask(request_id="k" * 64, task_id=f"t-{each}") for each in range(others)]
    with (
        RescueFile(tmp_path / "rescue", "slow") as slow,
        RescueFile(tmp_path / "rescue", "next") as following,
    ):
        for task in (known, *kept):
            slow.note(task)
        interruption = Interruption(slow)
        monkeypatch.setattr(rescue, "_read", interruption.read)
        following.forget(known)
        interruption.end()
        assert following.tasks() == [*kept, TASK]


def test_task_noted_while_another_process_tidies_up_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file holds nothing when it is looked at, and something when it would be removed."""
    with (
        RescueFile(tmp_path / "rescue", "slow") as slow,
        RescueFile(tmp_path / "rescue", "next") as following,
    ):
        interruption = Interruption(slow)
        monkeypatch.setattr(rescue, "_read", interruption.read)
        following.tidy(lambda: ())
        interruption.end()
        assert following.tasks() == [TASK]


def test_task_is_noted_even_when_another_process_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped in the middle of its change: what is paid is not dropped for the order."""
    monkeypatch.setattr(rescue, "PATIENCE_S", 0.1)
    with RescueFile(tmp_path / "rescue", "own") as own:
        with FileLock(tmp_path / ".rescue.lock"):
            own.note(TASK)
            own.forget(TASK)
            assert own.tasks() == [TASK]  # the next run forgets it, since the ledger knows it
        own.forget(TASK)
        assert own.tasks() == []
