"""A paid task's id, made durable before anything else is done with the task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wan_pipeline.generation.rescue import RescuedTask
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.ledger.records import PurchaseKey

__all__ = ["keep_task_id"]

LEDGER_WAITS_S = (1.0, 5.0, 15.0, 30.0)  # beside the database's own patience


async def keep_task_id(
    key: PurchaseKey, task_id: str, *, ports: Ports, terms: Terms, stop: Stop
) -> datetime | None:
    """Write it into the ledger; while that cannot be written, into the rescue file.

    Returns:
        When the task's record and results die; None when the task cannot be the purchase's, which
        the ledger tells then.

    Raises:
        LedgerUnavailableError: the ledger stays unwritable; the rescue file has the task, or the
            message tells how to enter it by hand.
    """
    waits = iter(LEDGER_WAITS_S)
    rescued: RescuedTask | None = None
    while True:
        try:
            deadline = await ports.ledger.submitted(
                key, ports.owner, task_id=task_id, lifetime_s=terms.result_lifetime_s
            )
        except LedgerUnavailableError as error:
            if rescued is None:
                stop.set(StopReason.DISK, str(error))
                rescued = _rescue(key, task_id, error, ports=ports, terms=terms)
            wait = next(waits, None)
            if wait is None:
                raise
            await ports.clock.sleep(wait)
        except asyncio.CancelledError as error:
            # The change is queued, but whether it succeeds nobody would hear any more.
            if rescued is None:
                _rescue(key, task_id, error, ports=ports, terms=terms)
            raise
        else:
            if rescued is not None:
                ports.rescue.forget(rescued)
            return deadline


def _rescue(
    key: PurchaseKey, task_id: str, error: BaseException, *, ports: Ports, terms: Terms
) -> RescuedTask:
    task = RescuedTask(request_id=key.request_id, task_id=task_id, series=terms.series)
    try:
        ports.rescue.note(task)
    except OSError as full:
        raise LedgerUnavailableError(
            f"request {key.request_id} is task {task_id} at the provider, and that could be"
            f" written down neither in the ledger ({_told(error)}) nor beside it ({full}). Keep"
            f" this line: the task is paid; `wan ledger adopt {key.request_id} {task_id}`"
            " enters it"
        ) from error
    return task


def _told(error: BaseException) -> str:
    return str(error) or "it did not answer before the run was cancelled"
