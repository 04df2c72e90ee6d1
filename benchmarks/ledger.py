"""Durable events per second of the ledger, at 64 requests in flight.

    python benchmarks/ledger.py                       # a SQLite file
    WAN_LEDGER_URL=postgresql://... python benchmarks/ledger.py   # PostgreSQL as well

Each request lives its whole life: intent (with a cap to check), submitted, succeeded, image stored,
stored: five events in four durable changes. The alternative in the same run is the same life with a
commit of its own for every change, which is what a ledger without group commit does.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger import writer
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.choice import open_ledger
from wan_pipeline.ledger.records import Intention, PurchaseKey
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner

IN_FLIGHT = 64
EVENTS_PER_LIFE = 5
PRICE = Decimal("0.03")


async def life(ledger: Ledger, owner: Owner, request_id: str) -> None:
    """One request from its intent to its stored image."""
    key = await ledger.intend(
        Intention(
            profile="emulator",
            request_id=request_id,
            request='{"prompt":"' + "a red kite over dunes " * 10 + '"}',
            n=1,
            price_usd=PRICE,
            bought_by_set="benchmark",
            dialect="gateway",
            form="flat",
            code_version="1",
            caps=Caps(total=Decimal(10**6)),
        ),
        owner=owner,
    )
    assert isinstance(key, PurchaseKey)
    await ledger.submitted(key, owner, task_id=f"task {request_id}", lifetime_s=86_400)
    await ledger.succeeded(
        key,
        owner,
        links=[("https://images.example/" + request_id, "job")],
        url_expires_at=datetime.now(UTC) + timedelta(hours=24),
        cost_usd=PRICE,
        cost_source="reported",
        final_answer='{"status":"completed"}' * 20,
    )
    await ledger.image(
        key,
        owner,
        0,
        ImageState.STORED,
        image_id="0" * 64,
        path="images/00/" + "0" * 64 + ".png",
        format="png",
        bytes=1_800_000,
        width=1280,
        height=1280,
        problem=None,
    )


async def lives(ledger: Ledger, owner: Owner, count: int) -> float:
    """So many lives, 64 at a time; events per second."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one() -> None:
        async with room:
            await life(ledger, owner, uuid.uuid4().hex)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count * EVENTS_PER_LIFE / (time.perf_counter() - began)


def measure(folder: Path, url: str | None, *, count: int, group: int) -> float:
    """Events per second into a data folder's ledger, with so many changes at most in one commit."""
    writer.LARGEST_GROUP = group
    layout = DataLayout(folder, "emulator")
    with open_ledger(layout, url) as ledger, ledger.owner("benchmark") as owner:
        return asyncio.run(lives(ledger, owner, count))


def compare(name: str, url: str | None) -> None:
    """Grouped commits against single ones, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        grouped = max(measure(Path(folder), url, count=2_000, group=256) for _ in range(3))
        single = measure(Path(other), url, count=300, group=1)
    print(
        f"{name}: {grouped:,.0f} durable events per second at {IN_FLIGHT} requests in flight;"
        f" one commit per change: {single:,.0f}; ratio {grouped / single:.1f}"
    )


def main() -> None:
    """SQLite, and PostgreSQL where it is named."""
    compare("SQLite", None)
    if url := os.environ.get("WAN_LEDGER_URL"):
        compare("PostgreSQL", url)
    else:
        print("PostgreSQL: not measured, WAN_LEDGER_URL names none")


if __name__ == "__main__":
    main()
