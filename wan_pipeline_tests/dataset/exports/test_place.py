"""Where an export goes: an older one is replaced, and nothing of a person's ever."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.terms import ExportError, ExportFormat, ExportTerms
from wan_pipeline_tests.dataset.exports.test_export import content, every_format

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.release.reader import Release


def test_an_older_export_is_replaced_and_leftovers_go(release: Release, tmp_path: Path) -> None:
    """What a killed process left behind is no part of anything."""
    left = tmp_path / ".tmp-00000000-1-0.0-dead"
    left.mkdir()
    (left / "half").touch()
    os.utime(left, (0, 0))
    terms = ExportTerms(format=ExportFormat.IMAGEFOLDER)
    folder = export_release(release, terms, tmp_path).folder
    (folder / "README.md").write_text("an older one")
    export_release(release, terms, tmp_path)
    assert "hand@v1" in (folder / "README.md").read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == [".export.lock", folder.name]


def test_a_folder_that_is_no_export_is_left_alone(release: Release, tmp_path: Path) -> None:
    """`--out` may name anything."""
    theirs = tmp_path / "parquet-marked"
    theirs.mkdir()
    (theirs / "export.json").write_text('{"kind": "something else"}')
    with pytest.raises(ExportError, match="no export of ours"):
        export_release(release, ExportTerms(format=ExportFormat.PARQUET), tmp_path)
    assert (theirs / "export.json").exists()


@every_format
def test_what_a_person_put_into_an_export_is_never_removed(
    layout: ExportFormat, release: Release, tmp_path: Path
) -> None:
    """It is named, nothing is written, and with it moved away the export is replaced."""
    terms = ExportTerms(format=layout)
    folder = export_release(release, terms, tmp_path).folder
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (folder / "LICENSE").write_text("mine")
    (folder / "data" / "notes.txt").write_text("mine")
    (folder / "data" / "empty").mkdir()
    before = content(tmp_path)
    with pytest.raises(ExportError) as refused:
        export_release(release, terms, tmp_path)
    for words in (str(folder), ".git/, LICENSE, data/empty/ and 1 more", "--out", "Move it away"):
        assert words in str(refused.value)
    assert content(tmp_path) == before
    shutil.rmtree(folder / ".git")
    (folder / "LICENSE").unlink()
    (folder / "data" / "empty").rmdir()
    with pytest.raises(ExportError, match=r"data/notes\.txt\."):
        export_release(release, terms, tmp_path)
    (folder / "data" / "notes.txt").unlink()
    export_release(release, terms, tmp_path)


def test_what_a_person_puts_there_meanwhile_stays_as_well(release: Release, tmp_path: Path) -> None:
    """A long export gives time for it."""
    terms = ExportTerms(format=ExportFormat.PARQUET)
    folder = export_release(release, terms, tmp_path).folder
    licence = folder / "LICENSE"
    with pytest.raises(ExportError, match="LICENSE"):
        export_release(release, terms, tmp_path, progress=lambda _: licence.touch())
    assert licence.exists()


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/x", "/dev/null/x"])
def test_a_place_that_cannot_be_a_folder_is_named(
    out: str, release: Release, tmp_path: Path
) -> None:
    """With the system's reason and what to do."""
    (tmp_path / "file").write_text("theirs")
    place = tmp_path / out
    with pytest.raises(ExportError) as refused:
        export_release(release, ExportTerms(format=ExportFormat.PARQUET), place)
    for words in (str(place), "--out", "Nothing was exported"):
        assert words in str(refused.value)
    assert "Errno" not in str(refused.value)
    assert (tmp_path / "file").read_text() == "theirs"


def test_two_at_once_do_not_mix(release: Release, tmp_path: Path) -> None:
    """The second is told to wait."""
    with (
        FileLock(tmp_path / ".export.lock"),
        pytest.raises(ExportError, match="another process is exporting"),
    ):
        export_release(release, ExportTerms(format=ExportFormat.PARQUET), tmp_path)
