"""One small release and its exports, made once; and the readers, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.terms import BytesMode, ExportFormat, ExportTerms
from wan_pipeline_tests.release_fixture import FORMATS, make_release, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wan_pipeline.dataset.release.reader import Release

IMAGES = 7
SHARD_BYTES = 3500


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Seven pictures in three formats, on three sides."""
    formats = [FORMATS[number % 3] for number in range(IMAGES)]
    files = [(picture(number, fmt), fmt) for number, fmt in enumerate(formats)]
    return make_release(tmp_path_factory.mktemp("profile"), files)


@pytest.fixture(scope="session")
def exported(
    release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[ExportFormat, BytesMode], Path]:
    """The folder of an export, written on first demand, with several shards."""
    out, made = tmp_path_factory.mktemp("exports"), {}

    def folder(layout: ExportFormat, mode: BytesMode = BytesMode.MARKED) -> Path:
        if (layout, mode) not in made:
            terms = ExportTerms(
                format=layout, bytes_mode=mode, shard_bytes=SHARD_BYTES, licence="cc-by-4.0"
            )
            made[layout, mode] = export_release(release, terms, out).folder
        return made[layout, mode]

    return folder


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`datasets` with a cache of its own and no network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets  # noqa: PLC0415  slow to import

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    datasets.disable_progress_bars()
    return datasets


def read_by_croissant(folders: Sequence[Path], *, cache: Path) -> list[dict[str, Any]]:
    """What the package mlcroissant finds in each export, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.read_croissant", *map(str, folders)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "CROISSANT_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout).values())
