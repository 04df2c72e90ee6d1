"""drift.parquet: one row per image of a sample; its Arrow schema, written down here once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline.dataset.fields import known, optional
from wan_pipeline.dataset.reproduction.compare import Outcome
from wan_pipeline.prompts.tables import AtomicParquetWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.dataset.reproduction.compare import DriftRow

__all__ = ["DRIFT", "DRIFT_FILE", "write_drift_table"]

DRIFT_FILE = "drift.parquet"
ROWS = 4096
USD = pa.decimal128(18, 9)
TIME = pa.timestamp("us", tz="UTC")


def _sides(name: str, kind: Any, description: str) -> list[Any]:
    """A column for the release's image and one for what came now; empty where there is none."""
    return [
        optional(f"old_{name}", kind, f"{description}, of the release"),
        optional(f"new_{name}", kind, f"{description}, as brought now"),
    ]


#: One row per image of either side, in the order of the sample.
DRIFT: Any = pa.schema(
    [
        known("request_id", pa.string(), "SHA-256 of the request's canonical JSON"),
        known("image_index", pa.int32(), "which of the request's images, from 0"),
        known("prompt_id", pa.string(), "one of the prompts that ask for the request"),
        known("prompt", pa.string(), "prompt sent"),
        known("seed", pa.int64(), "seed sent"),
        known("size", pa.string(), "size asked for, width*height"),
        known("outcome", pa.string(), f"one of: {', '.join(Outcome)}"),
        known(
            "rewritten",
            pa.bool_(),
            "the provider rewrites the prompt, and is not known to have written the same again",
        ),
        known("counted", pa.bool_(), "whether the image counts for the verdict"),
        known("drifted", pa.bool_(), "counted, and changed, resized or missing"),
        optional("distance", pa.int32(), "bits of 64 in which the perceptual hashes differ"),
        known("state", pa.string(), "how far the reproduction is, as in the ledger"),
        optional("problem", pa.string(), "what is wrong, in words"),
        *_sides("image_id", pa.string(), "SHA-256 of the bytes"),
        *_sides("path", pa.string(), "the file, relative to data/<profile>"),
        *_sides("phash", pa.string(), "perceptual hash, where the bytes differ"),
        *_sides("width", pa.int32(), "pixels across"),
        *_sides("height", pa.int32(), "pixels down"),
        *_sides("bytes", pa.int64(), "length of the file"),
        *_sides("cost_usd", USD, "the image's share of its task's cost"),
        *_sides("task_id", pa.string(), "the provider's task"),
        *_sides("created_at", TIME, "when it was bought"),
        optional("attempt", pa.int32(), "the reproduction's in the ledger"),
    ]
)


def write_drift_table(rows: Sequence[DriftRow], out: Path) -> None:
    """Write the table, replacing an older one at once.

    Raises:
        OSError: the disk refused; an older table stays.
    """
    with AtomicParquetWriter(out, DRIFT) as writer:
        for start in range(0, len(rows), ROWS):
            writer.write_records(rows[start : start + ROWS])
        writer.publish()
