"""The sign of life of a batch: its owner's lease, renewed for as long as it works."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from wan_pipeline.ledger.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner

__all__ = ["kept_alive"]

RENEW_EVERY_S = 15.0  # a lease lasts a minute; see `ledger.leases`


@asynccontextmanager
async def kept_alive(ledger: Ledger, owner: Owner) -> AsyncGenerator[None]:
    """Renew the owner's lease while the block runs.

    A ledger that is away for a beat ends nothing, since the next one may still be in time; should
    it stay away, the block's own writes say so. Any other error cancels the block: without a lease
    others would take its rows over while it goes on buying.

    Raises:
        BaseExceptionGroup: with what ended the block, or the beat.
    """
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(_beat(ledger, owner))
        try:
            yield
        finally:
            beating.cancel()


async def _beat(ledger: Ledger, owner: Owner) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        with suppress(LedgerUnavailableError):
            await ledger.renew(owner)
