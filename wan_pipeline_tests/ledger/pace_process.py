"""One process that takes moments from a shared pace, for `test_shared_pace`.

    python -m wan_pipeline_tests.ledger.pace_process WHERE PER_SECOND COUNT WAITERS

Waits for a line on stdin, then prints the moments it was granted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from wan_pipeline.generation.pacing import Pacer
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.ledger import Ledger

__all__ = ["main"]


async def take(ledger: Ledger, *, per_second: float, count: int, waiters: int) -> list[int]:
    """So many moments by so many coroutines."""
    with ledger.owner("pace") as owner:
        pacer = Pacer(
            AccountLimits(ledger, owner),
            "creates",
            per_second,
            clock=time.monotonic,
            sleep=asyncio.sleep,
        )
        moments: list[int] = []

        async def ask() -> None:
            while len(moments) < count:
                moments.append(await pacer.slot())

        await asyncio.gather(*(ask() for _ in range(waiters)))
    return moments


def main(where: str, per_second: str, count: str, waiters: str) -> None:
    """Take and print."""
    place = where if "://" in where else Path(where)
    with Ledger(place, "emulator") as ledger:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        moments = asyncio.run(
            take(ledger, per_second=float(per_second), count=int(count), waiters=int(waiters))
        )
    sys.stdout.write(json.dumps(moments) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
