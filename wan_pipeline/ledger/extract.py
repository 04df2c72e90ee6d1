"""Some purchases and everything that happened to them, as rows of the exported tables.

For who knows which purchases are meant; exports by filter are `export`'s.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger.arrow import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wan_pipeline.ledger.snapshot import Snapshot

__all__ = ["purchase_rows"]

CHUNK = 500  # ids per query, well under any database's limit of bound values


def purchase_rows(
    view: Snapshot, table: str, attempts: Mapping[str, int]
) -> Iterator[dict[str, list[Any]]]:
    """Rows of some purchases, a few hundred purchases at a time, as columns.

    Sorted by request id, and within one by the order in which they were written, so that the same
    purchases give the same rows on any database.

    Args:
        view: the ledger.
        table: `purchases`, `images` or `events`.
        attempts: which purchase of each request.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    what = TABLES[table]
    source, names = what.source, list(what.arrow.names)
    wanted = sorted(attempts)
    last = source.c.seq if "seq" in source.c else source.c.attempt
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        rows = view.connection.execute(
            sa.select(*(source.c[name] for name in names))
            .where(source.c.profile == view.profile, source.c.request_id.in_(part))
            .order_by(last)
        )
        kept = [row for row in rows if attempts[row.request_id] == row.attempt]
        kept.sort(key=attrgetter("request_id"))  # by its bytes, whatever the database's language
        if kept:
            yield dict(zip(names, map(list, zip(*kept, strict=True)), strict=True))
