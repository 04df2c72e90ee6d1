"""Two versions of a release, made once; each module has a copy."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.cli.conftest import NOWHERE, Folder, folder_at, told
from wan_pipeline_tests.dataset.release.toys import toys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def toys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets, of which `toys@v1` has the first and `toys@v2` both; to be copied."""
    path = tmp_path_factory.mktemp("toys")
    with toys(path):
        pass
    folder = folder_at(path, NOWHERE)
    for sets in (["kites"], []):
        told(folder, "release", "create", "toys", *sets)
    return path


@pytest.fixture(scope="module")
def folder(toys_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """`toys@v1` has the first of two sets, `toys@v2` both."""
    path = tmp_path_factory.mktemp("cli") / "data"
    shutil.copytree(toys_folder, path)
    return folder_at(path, NOWHERE)
