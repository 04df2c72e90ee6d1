"""Writes intents as fast as it can, under a cap that it shares: one of several processes.

    python -m wan_pipeline_tests.reliability.spender WHERE NAME COUNT CAP_USD

WHERE is a PostgreSQL URL or a path. Prints how many intents were written.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.errors import BudgetExceededError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import Intention

__all__ = ["PROFILE", "main"]

PROFILE = "emulator"
AT_ONCE = 4


async def spend(where: Path | str, name: str, count: int, cap: Decimal) -> int:
    """Try so many; how many fitted under the cap."""
    with Ledger(where, PROFILE) as ledger, ledger.owner(name) as owner:
        # Nobody starts before everybody is there, else the first would be done before the last.
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()

        async def one(number: int) -> bool:
            wanted = Intention(
                profile=PROFILE,
                request_id=f"{name}-{number}",
                request="{}",
                n=1,
                price_usd=Decimal("0.03"),
                bought_by_set=name,
                dialect="gateway",
                form="flat",
                code_version="test",
                caps=Caps(total=cap),
            )
            try:
                await ledger.intend(wanted, owner=owner)
            except BudgetExceededError:
                return False
            return True

        written = 0
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            written += sum(await asyncio.gather(*map(one, numbers)))
        return written


def main(where: str, name: str, count: str, cap: str) -> int:
    """Spend, and tell."""
    place = where if where.startswith("postgresql") else Path(where)
    written = asyncio.run(spend(place, name, int(count), Decimal(cap)))
    sys.stdout.write(f"{written}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
