"""Atomic files: the old content or the new one, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wan_pipeline.dataset.atomic import atomic_path, write_atomic
from wan_pipeline.temp_files import TEMP_PREFIX


def test_writes_and_replaces(tmp_path: Path) -> None:
    """The second write wins, folders are made, no temp file stays."""
    target = tmp_path / "a" / "b" / "file.txt"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_file_has_ordinary_permissions(tmp_path: Path) -> None:
    """Other users read the dataset as the umask allows, unlike a private temp file."""
    target, ordinary = tmp_path / "file", tmp_path / "ordinary"
    write_atomic(target, b"x")
    ordinary.write_bytes(b"x")
    assert target.stat().st_mode == ordinary.stat().st_mode


def test_temp_path_is_a_recognisable_sibling(tmp_path: Path) -> None:
    """Same folder (a rename must not cross disks), known prefix, the target's suffix."""
    with atomic_path(tmp_path / "table.parquet") as temp:
        assert temp.parent == tmp_path
        assert temp.name.startswith(TEMP_PREFIX)
        assert temp.suffix == ".parquet"
        temp.write_bytes(b"x")


@pytest.mark.parametrize("failure", [ValueError("writer"), KeyboardInterrupt()])
def test_failed_writer_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    """A writer that fails or is interrupted changes nothing, and its own error is told."""
    target = tmp_path / "file"
    write_atomic(target, b"old")

    def fail() -> None:
        with atomic_path(target) as temp:
            temp.write_bytes(b"half of the n")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writer_that_wrote_nothing_is_an_error(tmp_path: Path) -> None:
    """A block without a file must not pass for a write."""
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        assert not (tmp_path / "file").exists()


def test_content_is_on_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed before the rename and the folder after it."""
    target = tmp_path / "file"
    seen: list[tuple[str, bool]] = []
    real = os.fsync

    def recording(descriptor: int) -> None:
        seen.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    write_atomic(target, b"x")
    (temp, before), (folder, after) = seen
    assert TEMP_PREFIX in temp
    assert not before
    assert (folder, after) == (str(tmp_path), True)
