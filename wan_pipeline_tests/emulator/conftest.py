"""Fixtures: an emulator at the highest speed-up, and somebody who calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.emulator.client import Caller
from wan_pipeline_tests.emulator_fixture import RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[RunningEmulator]:
    """A running emulator with an empty book."""
    with RunningEmulator(tmp_path / "state") as running:
        yield running


@pytest.fixture
def caller(emulator: RunningEmulator) -> Iterator[Caller]:
    """A client of that emulator."""
    with Caller(emulator.base_url) as client:
        yield client
