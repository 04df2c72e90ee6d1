"""An emulator at the highest speed-up and a workbench beside it; an account by a fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import Workbench
from wan_pipeline_tests.generation.clocked import CountingLedger, FakeClock, Scene
from wan_pipeline_tests.generation.deaf_provider import DeafProvider
from wan_pipeline_tests.wan.scripted_server import scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[RunningEmulator]:
    """A running emulator with an empty book."""
    with RunningEmulator(tmp_path / "emulator") as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, emulator: RunningEmulator) -> Workbench:
    """An empty ledger and store, and a client of that emulator."""
    return Workbench(folder=tmp_path / "data", base_url=emulator.base_url)


@pytest.fixture
def deaf() -> DeafProvider:
    """Understands everything until a test says otherwise."""
    return DeafProvider()


@pytest.fixture
async def deaf_bench(tmp_path: Path, deaf: DeafProvider) -> AsyncIterator[Workbench]:
    """An empty ledger and store, and a client of that provider."""
    async with scripted(deaf) as server:
        yield Workbench(folder=tmp_path, base_url=server.url)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty ledger."""
    with (
        CountingLedger(tmp_path / "ledger.sqlite", "emulator") as ledger,
        ledger.owner("run") as owner,
    ):
        yield Scene(ledger, owner, FakeClock(ledger))
