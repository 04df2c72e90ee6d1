"""What the runs of one prompt set bought, one row per purchase, for who draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.arrow import PURCHASES
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from wan_pipeline.ledger.snapshot import Snapshot

__all__ = ["BOUGHT", "bought_by"]

CHUNK = 10_000
COLUMNS = (
    "request_id",
    "attempt",
    "state",
    "run_id",
    "code_version",
    "n",
    "created_at",
    "submitted_at",
    "completed_at",
    "cost_usd",
    "reserved_usd",
    "error_kind",
    "error_code",
)

#: Columns of `wan_pipeline.ledger.arrow.PURCHASES`, and how many images are stored.
BOUGHT: Any = pa.schema(
    [
        *(PURCHASES.field(name) for name in COLUMNS),
        pa.field(
            "images_stored",
            pa.int64(),
            nullable=False,
            metadata={"description": "images of the purchase that are on disk"},
        ),
    ]
)


def bought_by(view: Snapshot, prompt_set: str) -> Any:
    """Every purchase whose intent a run of the set wrote, by time; a `BOUGHT` table.

    What another set bought first and this one only shows is not among them.
    """
    of, images = schema.purchases.c, schema.images.c
    stored = (
        sa.select(images.request_id, images.attempt, sa.func.count().label("number"))
        .where(images.profile == view.profile, images.state == ImageState.STORED.value)
        .group_by(images.request_id, images.attempt)
        .subquery()
    )
    query = (
        sa.select(
            *(of[name] for name in COLUMNS),
            sa.func.coalesce(stored.c.number, 0).label("images_stored"),
        )
        .outerjoin_from(
            schema.purchases,
            stored,
            (of.request_id == stored.c.request_id) & (of.attempt == stored.c.attempt),
        )
        .where(of.profile == view.profile, of.bought_by_set == prompt_set)
        .order_by(of.created_at, of.request_id, of.attempt)
        .execution_options(yield_per=CHUNK)
    )
    batches: list[Any] = []
    with view.connection.execute(query) as result:
        for rows in result.partitions():
            columns = [list(column) for column in zip(*rows, strict=True)]
            batches.append(
                pa.RecordBatch.from_arrays(
                    [
                        pa.array(column, field.type)
                        for column, field in zip(columns, BOUGHT, strict=True)
                    ],
                    schema=BOUGHT,
                )
            )
    return pa.Table.from_batches(batches, schema=BOUGHT)
