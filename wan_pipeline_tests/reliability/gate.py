"""A gate before the provider: it sees each exchange arrive, and may look around meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

import httpx

from wan_pipeline_tests.wan.scripted_server import Asked, ScriptedServer, reply, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from wan_pipeline_tests.generation.batch_fixture import Workbench

    Look = Callable[[Asked], Awaitable[None]]

__all__ = ["batch_process", "gate", "rows"]

PATIENCE_S = 60.0


@asynccontextmanager
async def gate(
    provider_url: str, *, arrived: Look | None = None, answered: Look | None = None
) -> AsyncGenerator[ScriptedServer]:
    """Pass everything on to the provider.

    Args:
        provider_url: whose answers are handed back.
        arrived: awaited before an exchange is passed on.
        answered: awaited between the provider's answer and ours.
    """
    async with httpx.AsyncClient(base_url=provider_url, trust_env=False, timeout=30) as http:

        async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if arrived is not None:
                await arrived(asked)
            names = ("authorization", "content-type")
            headers = {name: asked.headers[name] for name in names if name in asked.headers}
            got = await http.request(
                asked.method, asked.target, content=asked.body, headers=headers
            )
            if answered is not None:
                await answered(asked)
            writer.write(reply(got.status_code, got.content, content_type="application/json"))

        async with scripted(handle) as server:
            yield server


def rows(folder: Path) -> list[tuple[str, str | None]]:
    """State and task id of every purchase, as another process reads them from the disk."""
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
        return ledger.execute("SELECT state, task_id FROM purchases").fetchall()


@asynccontextmanager
async def batch_process(
    bench: Workbench, base_url: str, count: int
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A batch of so many requests in a process of its own, gone afterwards."""
    module = "wan_pipeline_tests.generation.batch_process"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(bench.folder), base_url, str(count), "8"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
