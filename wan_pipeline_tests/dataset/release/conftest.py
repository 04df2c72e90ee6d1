"""Workshops, empty and built."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.dataset.release.toys import toys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline_tests.dataset.release.workshop import Workshop


@dataclass(frozen=True)
class Released:
    """A data folder with two versions of one release; to be changed as one likes."""

    folder: Path
    root: Path
    releases: Path


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """`kites`: five purchases, seven rows, six files; `trams`: two more of each."""
    with toys(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="session")
def released_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `released` copies."""
    folder = tmp_path_factory.mktemp("released") / "data"
    with toys(folder) as made:
        made.release("toys", "kites")
        made.release("toys", "kites", "trams")
    return folder


@pytest.fixture
def released(released_once: Path, tmp_path: Path) -> Released:
    """`toys@v1` with kites, `toys@v2` with kites and trams."""
    folder = tmp_path / "copy"
    shutil.copytree(released_once, folder)
    root = folder / "emulator"
    return Released(folder, root, root / "releases")
