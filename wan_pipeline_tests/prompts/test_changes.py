"""Whether a prompt file has changed, from names, sizes and times alone."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.changes import change_key, changed_at_ns
from wan_pipeline_tests.prompts.matrix.helpers import wildcards, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG_AGO = 1_700_000_000


def make_old(folder: Path) -> None:
    """As if everything had been written long ago."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A matrix, a table, and wildcard files."""
    write(tmp_path, "templates: {a: x}")
    (tmp_path / "table.csv").write_text("prompt\na\n")
    wildcards(tmp_path, "hues.txt", "red\n")
    wildcards(tmp_path, "deep/er.txt", "red\n")
    make_old(tmp_path)
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "the file itself": lambda folder: write(folder, "templates: {a: y}"),
    "a wildcard file": lambda folder: wildcards(folder, "hues.txt", "blue\n"),
    "a deep one": lambda folder: wildcards(folder, "deep/er.txt", "blue\n"),
    "a new one": lambda folder: wildcards(folder, "new.txt", "blue\n"),
    "one is gone": lambda folder: (folder / "wildcards" / "hues.txt").unlink(),
    "one has another name": lambda folder: (folder / "wildcards" / "hues.txt").rename(
        folder / "wildcards" / "colours.txt"
    ),
    "all are gone": lambda folder: shutil.rmtree(folder / "wildcards"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(folder: Path, change: Callable[[Path], object]) -> None:
    """By the key, and by the time unless everything that is left is old."""
    file = folder / "set.yaml"
    key, at = change_key(file), changed_at_ns(file)
    assert (change_key(file), changed_at_ns(file)) == (key, at)
    change(folder)
    assert change_key(file) != key
    assert changed_at_ns(file) > at or not (folder / "wildcards").exists()


def test_a_file_put_back_with_its_old_time_is_seen_by_the_key(folder: Path) -> None:
    """Its size tells."""
    file = folder / "set.yaml"
    key = change_key(file)
    wildcards(folder, "hues.txt", "red\nblue\n")
    make_old(folder)
    assert change_key(file) != key


def test_a_table_has_nothing_to_do_with_wildcards(folder: Path) -> None:
    """Its key is what it was before there were matrices: time and size."""
    file = folder / "table.csv"
    key = change_key(file)
    assert key == f"{LONG_AGO * 10**9}:9"
    wildcards(folder, "hues.txt", "blue\n")
    assert change_key(file) == key
    assert changed_at_ns(file) == LONG_AGO * 10**9


def test_links_to_nowhere_are_passed_over(folder: Path) -> None:
    """A tick must not fail on them."""
    (folder / "wildcards" / "gone.txt").symlink_to(folder / "nowhere")
    assert changed_at_ns(folder / "set.yaml") > 0
    assert change_key(folder / "set.yaml")
