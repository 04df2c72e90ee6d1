"""The metadata table: one row per stored image, with everything that says where it came from.

The Arrow schema is written down here, once. The table is always built from what is stored: the
set's request table says which images belong to it, the ledger says what became of them.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.atomic import atomic_path
from wan_pipeline.ledger.states import ImageState
from wan_pipeline.prompts.plan_table import iter_requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import ImageRecord, Purchase
    from wan_pipeline.prompts.expand import PlannedRequest

__all__ = ["METADATA", "MetadataSummary", "share_cost", "write_metadata"]

COST = pa.decimal128(18, 9)
COST_STEP = Decimal("1e-9")
TIME = pa.timestamp("us", tz="UTC")
SORT_KEYS = [("prompt_id", "ascending"), ("request_id", "ascending"), ("image_index", "ascending")]

METADATA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("image_index", pa.int32(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("prompt_set", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("negative_prompt", pa.string(), nullable=False),
        pa.field("size", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("seed_source", pa.string(), nullable=False),
        pa.field("replica", pa.int32(), nullable=False),
        pa.field("prompt_extend", pa.bool_(), nullable=False),
        pa.field("watermark", pa.bool_(), nullable=False),
        pa.field("actual_prompt", pa.string()),
        pa.field("profile", pa.string(), nullable=False),
        pa.field("dialect", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("job_id", pa.string()),
        pa.field("submitted_at", TIME),
        pa.field("completed_at", TIME),
        pa.field("latency_s", pa.float64()),
        pa.field("url", pa.string(), nullable=False),
        pa.field("url_expires_at", TIME),
        pa.field("path", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("phash", pa.string()),
        pa.field("cost_usd", COST, nullable=False),
        pa.field("discount", pa.string()),
        pa.field("cost_source", pa.string()),
        pa.field("bought_by_set", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("code_version", pa.string(), nullable=False),
        pa.field("created_at", TIME, nullable=False),
        pa.field("provider_metadata", pa.string()),
        pa.field("prompt_columns", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataSummary:
    """What the table holds.

    Attributes:
        rows: images.
        requests: distinct requests among them.
        wrong_size: images whose size is not the one asked for.
        shared_images: image ids that different requests brought alike.
        cost_usd: sum of the rows' cost; a purchase that another set made is in it.
        bytes: of the distinct image files.
    """

    rows: int
    requests: int
    wrong_size: int
    shared_images: int
    cost_usd: Decimal
    bytes: int


def write_metadata(
    requests_path: Path, *, ledger: Ledger, prompt_set: str, out: Path
) -> MetadataSummary:
    """Write the table of a prompt set, sorted, atomically.

    Args:
        requests_path: the set's request table.
        ledger: what became of the requests.
        prompt_set: the set's name.
        out: the Parquet file.

    Raises:
        UnreadablePromptFileError: the request table is missing; materialize `plan` first.
    """
    planned = list(iter_requests(requests_path))
    ids = {row.request_id for row in planned}
    purchases, images = ledger.purchases(ids), ledger.images(ids)
    rows = [
        row
        for request in planned
        for row in _rows(request, purchases, images, prompt_set=prompt_set)
    ]
    table = pa.Table.from_pylist(rows, schema=METADATA).sort_by(SORT_KEYS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return _summary(table)


def share_cost(cost: Decimal, images: int) -> list[Decimal]:
    """A task's cost over its images: equal shares of whole nano-dollars, the rest on the first."""
    share = (cost / images).quantize(COST_STEP, rounding="ROUND_DOWN")
    return [cost - share * (images - 1)] + [share] * (images - 1)


def _rows(
    planned: PlannedRequest,
    purchases: dict[str, Purchase],
    images: dict[str, list[ImageRecord]],
    *,
    prompt_set: str,
) -> Iterator[dict[str, Any]]:
    """The rows of one request: an image that did not arrive has none, its cost stays told."""
    purchase = purchases.get(planned.request_id)
    if purchase is None:
        return
    records = [
        record
        for record in images.get(planned.request_id, [])
        if record.attempt == purchase.attempt
    ]
    if not records:
        return
    shares = share_cost(purchase.cost_usd or Decimal(0), len(records))
    for record, cost in zip(records, shares, strict=True):
        if record.state is ImageState.STORED:
            yield _row(planned, purchase, record, cost_usd=cost, prompt_set=prompt_set)


def _row(
    planned: PlannedRequest,
    purchase: Purchase,
    record: ImageRecord,
    *,
    cost_usd: Decimal,
    prompt_set: str,
) -> dict[str, Any]:
    request = planned.request
    latency = (
        (purchase.completed_at - purchase.submitted_at).total_seconds()
        if purchase.completed_at and purchase.submitted_at
        else None
    )
    of_request = (
        "model",
        "prompt",
        "negative_prompt",
        "size",
        "n",
        "seed",
        "prompt_extend",
        "watermark",
    )
    of_prompt = ("request_id", "prompt_id", "seed_source", "replica", "prompt_columns")
    of_purchase = (
        "actual_prompt",
        "profile",
        "dialect",
        "task_id",
        "submitted_at",
        "completed_at",
        "discount",
        "cost_source",
        "bought_by_set",
        "run_id",
        "code_version",
        "created_at",
        "provider_metadata",
    )
    of_image = (
        "image_index",
        "image_id",
        "job_id",
        "url",
        "url_expires_at",
        "path",
        "format",
        "bytes",
        "width",
        "height",
    )
    return {
        **{name: getattr(request, name) for name in of_request},
        **{name: getattr(planned, name) for name in of_prompt},
        **{name: getattr(purchase, name) for name in of_purchase},
        **{name: getattr(record, name) for name in of_image},
        "prompt_set": prompt_set,
        "latency_s": latency,
        "phash": None,
        "cost_usd": cost_usd,
    }


def _summary(table: Any) -> MetadataSummary:
    by_image = table.group_by("image_id").aggregate(
        [("request_id", "count_distinct"), ("bytes", "max")]
    )
    size = pc.binary_join_element_wise(
        pc.cast(table["width"], pa.string()), pc.cast(table["height"], pa.string()), "*"
    )
    total = pc.sum(table["cost_usd"]).as_py()
    return MetadataSummary(
        rows=table.num_rows,
        requests=pc.count_distinct(table["request_id"]).as_py(),
        wrong_size=pc.sum(pc.not_equal(size, table["size"])).as_py() or 0,
        shared_images=pc.sum(pc.greater(by_image["request_id_count_distinct"], 1)).as_py() or 0,
        cost_usd=total if total is not None else Decimal(0),
        bytes=pc.sum(by_image["bytes_max"]).as_py() or 0,
    )
