"""One browser and one small gallery for all tests of pages."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

from wan_pipeline_tests.browser.gallery_fixture import rows, small_gallery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.report.items import GalleryRow

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[GalleryRow], Path]:
    """Rows of 18 images, and the folder where they lie."""
    data = tmp_path_factory.mktemp("data")
    return rows(data), data


@pytest.fixture(scope="package")
def gallery_url(stored: tuple[list[GalleryRow], Path]) -> str:
    """The file URL of a gallery of them, one request absent."""
    return small_gallery(*stored)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run the system's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
        )
        yield chromium
        chromium.close()
