"""A batch whose lease is not renewed: it says so and ends, and what it sent is written down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.generation import heartbeat
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_request
from wan_pipeline_tests.generation.test_cancel import Gate
from wan_pipeline_tests.wan.scripted_server import scripted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator


async def test_lease_that_cannot_be_renewed_ends_the_batch(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever error: without a lease others take its rows over while it goes on buying."""
    gate = Gate(emulator.base_url)

    async def broken(*_: object) -> None:
        await gate.at_work(1)
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(heartbeat, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(Ledger, "renew", broken)
    async with scripted(gate) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        requests = [make_request("slow"), make_request("never sent")]
        async with asyncio.timeout(30):
            with pytest.raises(KeyError, match="a mistake of ours"):
                await bench.buy(requests, create_grace_s=0.05)
    assert len(gate.creates) == 1
    assert bench.books().states() == ["unknown"]


async def test_ledger_that_is_away_for_a_beat_ends_nothing(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next beat may still be in time."""
    gate, beats = Gate(emulator.base_url), 0

    async def away(*_: object) -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            gate.opened.set()
        raise LedgerUnavailableError("database is locked")

    monkeypatch.setattr(heartbeat, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(Ledger, "renew", away)
    async with scripted(gate) as server, asyncio.timeout(30):
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy([make_request("slow")])
    assert beats >= 3
    assert report.tally.done == 1
