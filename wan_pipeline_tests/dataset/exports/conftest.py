"""One small release and its exports, made once; and `datasets` without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.terms import BytesMode, ExportFormat, ExportTerms
from wan_pipeline_tests.release_fixture import FORMATS, make_release, picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
