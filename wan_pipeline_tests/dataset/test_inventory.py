"""The ledger's word against the folder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.inventory import take_inventory
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.temp_files import TEMP_PREFIX

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stored(tmp_path: Path) -> list[tuple[str, int]]:
    """Path and length of three files in the store below `tmp_path`."""
    store = ImageStore(tmp_path)
    kept = [store.put(data, "png") for data in (b"one", b"three", b"eleven")]
    return [(image.path, image.bytes) for image in kept]


def test_a_whole_store_agrees(tmp_path: Path, stored: list[tuple[str, int]]) -> None:
    """Also where two images share a file, and one is still being written."""
    (tmp_path / stored[0][0]).with_name(f"{TEMP_PREFIX}123.png").write_bytes(b"half")
    found = take_inventory(tmp_path, [*stored, stored[0]])
    assert found.agrees
    assert (found.files, found.missing, found.wrong_length, found.unknown) == (3, (), {}, ())


def test_what_is_missing_or_cut_is_named(tmp_path: Path, stored: list[tuple[str, int]]) -> None:
    """Each with what was expected."""
    (gone, _), (cut, length), _ = stored
    (tmp_path / gone).unlink()
    (tmp_path / cut).write_bytes(b"x")
    found = take_inventory(tmp_path, stored)
    assert not found.agrees
    assert found.missing == (gone,)
    assert found.wrong_length == {cut: (length, 1)}


def test_files_that_no_row_knows_are_counted_and_do_no_harm(
    tmp_path: Path, stored: list[tuple[str, int]]
) -> None:
    """Such as those of a ledger that was restored from a backup."""
    found = take_inventory(tmp_path, stored[:1])
    assert found.agrees
    assert found.unknown == tuple(sorted(path for path, _ in stored[1:]))
    assert found.unknown_bytes == len(b"three") + len(b"eleven")


def test_a_row_without_a_path_is_a_missing_file(tmp_path: Path) -> None:
    """And a row without a length asks only that the file be there."""
    path = ImageStore(tmp_path).put(b"one", "png").path
    assert take_inventory(tmp_path, [(path, None)]).agrees
    found = take_inventory(tmp_path, [(None, 5)])
    assert (found.agrees, len(found.missing)) == (False, 1)


def test_no_store_and_no_rows_agree(tmp_path: Path) -> None:
    """Before anything was bought."""
    assert take_inventory(tmp_path, []).agrees
    assert not take_inventory(tmp_path, [("images/aa/gone.png", 3)]).agrees
