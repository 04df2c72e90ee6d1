"""Unfinished files: the dead's are removed at once, the living's never."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from wan_pipeline import temp_files
from wan_pipeline.temp_files import TEMP_PREFIX, sweep_temp_files, temp_path
from wan_pipeline_tests.crash.writers import left_by_a_killed_writer

if TYPE_CHECKING:
    from pathlib import Path


def test_killed_writers_file_goes_at_once(tmp_path: Path) -> None:
    """However fresh it is, and however deep it lies."""
    left = left_by_a_killed_writer(tmp_path / "images" / "ab" / "image.png")
    assert sweep_temp_files(tmp_path) == 1
    assert not left.exists()


def test_live_writers_file_stays(tmp_path: Path) -> None:
    """However long the writer takes."""
    temp = temp_path(tmp_path / "table.parquet")
    temp.touch()
    os.utime(temp, (1, 1))
    assert sweep_temp_files(tmp_path) == 0
    assert temp.exists()


@pytest.mark.parametrize("name", [f"{TEMP_PREFIX}0123456789abcdef.png", f"{TEMP_PREFIX}"])
def test_file_of_unknown_code_stays_for_a_day(tmp_path: Path, name: str) -> None:
    """Nobody can be asked whether its writer lives."""
    fresh, old = tmp_path / f"{name}1", tmp_path / f"{name}2"
    fresh.touch()
    old.touch()
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    assert sweep_temp_files(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [fresh]


def test_other_machines_file_stays_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pid of another host or container means nothing here."""
    left = left_by_a_killed_writer(tmp_path / "image.png")
    monkeypatch.setattr(temp_files, "this_machine", lambda: "elsewhere")
    assert sweep_temp_files(tmp_path) == 0
    os.utime(left, (1, 1))
    assert sweep_temp_files(tmp_path) == 1


def test_finished_files_stay(tmp_path: Path) -> None:
    """Only the known prefix is swept, and a missing folder is an empty one."""
    kept = tmp_path / "kept.png"
    kept.touch()
    os.utime(kept, (1, 1))
    assert sweep_temp_files(tmp_path) == 0
    assert sweep_temp_files(tmp_path / "none") == 0
    assert kept.exists()


def test_names_are_free_siblings(tmp_path: Path) -> None:
    """Same folder (a rename must not cross disks), the target's suffix, never the same twice."""
    first, second = (temp_path(tmp_path / "table.parquet") for _ in range(2))
    assert first.parent == tmp_path
    assert first.name.startswith(TEMP_PREFIX)
    assert first.suffix == ".parquet"
    assert first != second
