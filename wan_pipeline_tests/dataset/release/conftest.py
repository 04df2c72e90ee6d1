"""Workshops, empty and built."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.dataset.release.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KITES = """\
prompt_id,prompt,n,seed,replicas,sku
kite,A red kite,2,1,1,0071
tea,清晨的山中茶屋,1,7,2,x
twin-1,a lighthouse,1,99,1,
twin-2,a lighthouse,1,99,1,
"""
TRAMS = """\
prompt_id,prompt,seed,line
tram,an old tram,5,12
kite,A blue kite,6,
"""


@dataclass(frozen=True)
class Released:
    """A data folder with two versions of one release; to be changed as one likes."""

    folder: Path
    root: Path
    releases: Path


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """`kites`: five purchases, seven rows, six files; `trams`: two more of each."""
    with Workshop(tmp_path / "data") as made:
        made.build("kites", KITES)
        made.build("trams", TRAMS)
        yield made


@pytest.fixture(scope="session")
def released_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `released` copies."""
    folder = tmp_path_factory.mktemp("released") / "data"
    with Workshop(folder) as made:
        made.build("kites", KITES)
        made.build("trams", TRAMS)
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
