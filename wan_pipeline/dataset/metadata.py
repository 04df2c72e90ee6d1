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
from wan_pipeline.dataset.fields import known, optional
from wan_pipeline.dataset.metadata_rows import cost_bearers, metadata_rows
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.prompts.plan_table import iter_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.shown import Shown

    PerceptualHashes = Callable[[Mapping[str, str]], Mapping[str, str]]

__all__ = ["METADATA", "MetadataSummary", "write_metadata"]

COST = pa.decimal128(18, 9)
TIME = pa.timestamp("us", tz="UTC")
SORT_KEYS = [("prompt_id", "ascending"), ("request_id", "ascending"), ("image_index", "ascending")]


#: One row per image; optional is what the provider or a later step may leave empty.
METADATA = pa.schema(
    [
        known("request_id", pa.string(), "SHA-256 of the request's canonical JSON"),
        known("image_index", pa.int32(), "which of the request's images, from 0"),
        known("image_id", pa.string(), "SHA-256 of the image's bytes as received"),
        known("prompt_set", pa.string(), "prompt file without its extensions"),
        known(
            "prompt_id",
            pa.string(),
            "given in the prompt file, or a hash of prompt and negative prompt",
        ),
        known("model", pa.string(), "model id sent"),
        known("prompt", pa.string(), "prompt sent"),
        known("negative_prompt", pa.string(), "negative prompt sent; empty when none"),
        known("size", pa.string(), "size asked for, width*height"),
        known("width", pa.int32(), "pixels across, as received"),
        known("height", pa.int32(), "pixels down, as received"),
        known("n", pa.int32(), "images asked for by the request"),
        known("seed", pa.int64(), "seed sent"),
        known("seed_source", pa.string(), "given (in the prompt file) or derived"),
        known("replica", pa.int32(), "which of the prompt's replicas, from 0"),
        known("prompt_extend", pa.bool_(), "whether the provider rewrote the prompt"),
        known("watermark", pa.bool_(), "whether a watermark was asked for"),
        optional(
            "actual_prompt", pa.string(), "the rewritten prompt, where the dialect returns it"
        ),
        known("profile", pa.string(), "account that bought it"),
        known("dialect", pa.string(), "wire protocol spoken"),
        known("task_id", pa.string(), "the provider's task"),
        optional("job_id", pa.string(), "the provider's job behind the image"),
        optional("submitted_at", TIME, "the create was accepted"),
        optional("completed_at", TIME, "the task was done"),
        optional("latency_s", pa.float64(), "seconds between the two"),
        known("url", pa.string(), "where the image was fetched"),
        optional("url_expires_at", TIME, "when that URL dies, at the latest"),
        known("path", pa.string(), "the file, relative to data/<profile>"),
        known("format", pa.string(), "png, webp or jpeg, by its content"),
        known("bytes", pa.int64(), "length of the file"),
        optional(
            "phash",
            pa.string(),
            "perceptual hash, 16 hex digits; null when the file cannot be decoded",
        ),
        known("cost_usd", COST, "the image's exact share of its task's cost"),
        optional("discount", pa.string(), "as the provider reported it"),
        optional(
            "cost_source",
            pa.string(),
            "reported (by the provider), price_table, or unreadable (reported, and no amount: the"
            " price counts)",
        ),
        known("bought_by_set", pa.string(), "prompt set whose run bought it"),
        known("run_id", pa.string(), "Dagster run that bought it"),
        known("code_version", pa.string(), "version of wan_pipeline that bought it"),
        known("created_at", TIME, "when it was bought"),
        optional("provider_metadata", pa.string(), "the provider's metadata object as JSON"),
        known("prompt_columns", pa.string(), "the prompt row's other columns as JSON"),
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
        cost_usd: sum of the rows' cost, each purchase in it once; one that another set made too.
        bytes: of the distinct image files.
    """

    rows: int
    requests: int
    wrong_size: int
    shared_images: int
    cost_usd: Decimal
    bytes: int


def write_metadata(
    requests_path: Path,
    *,
    ledger: Ledger,
    prompt_set: str,
    out: Path,
    phashes: PerceptualHashes | None = None,
) -> MetadataSummary:
    """Write the table of a prompt set, sorted, atomically.

    Args:
        requests_path: the set's request table.
        ledger: what became of the requests.
        prompt_set: the set's name.
        out: the Parquet file.
        phashes: hashes of image files by image id, given their paths; without it none is told.

    Raises:
        UnreadablePromptFileError: the request table is missing; materialize `plan` first.
    """
    planned = sorted(
        iter_requests(requests_path), key=lambda row: (row.prompt_id, row.request_id, row.replica)
    )
    shown = shown_of(ledger, {row.request_id for row in planned})
    hashed = phashes(_paths(shown)) if phashes is not None else {}
    bearers = cost_bearers(requests_path)
    rows: list[dict[str, Any]] = []
    for request in planned:
        if found := shown.get(request.request_id):
            rows.extend(
                {**row, "phash": hashed.get(row["image_id"])}
                for row in metadata_rows(request, found, bearers, prompt_set=prompt_set)
            )
    table = pa.Table.from_pylist(rows, schema=METADATA).sort_by(SORT_KEYS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return _summary(table)


def _paths(shown: dict[str, Shown]) -> dict[str, str]:
    """Where each image lies, by its id."""
    records = (record for found in shown.values() for record in found.images)
    return {record.image_id: record.path for record in records if record.image_id and record.path}


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
