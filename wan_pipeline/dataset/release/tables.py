"""The tables of a release: their files and Arrow schemas, written down here once."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from wan_pipeline.dataset.fields import description_of, known
from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.ledger.arrow import EVENTS, PURCHASES

__all__ = [
    "EVENTS_FILE",
    "IMAGES_FILE",
    "MANIFEST_FILE",
    "PURCHASES_FILE",
    "RELEASE_IMAGES",
    "TABLE_SCHEMAS",
    "described",
]

MANIFEST_FILE = "manifest.json"
IMAGES_FILE = "images.parquet"
PURCHASES_FILE = "purchases.parquet"
EVENTS_FILE = "events.parquet"

#: One row per image of a prompt: the metadata table's columns, and two that the release adds.
RELEASE_IMAGES: Any = pa.schema(
    [
        *METADATA,
        known("split", pa.string(), "train, validation or test, by a hash of the prompt id"),
        known(
            "quality_flags",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "what the quality checks found; empty when nothing",
        ),
    ]
)

TABLE_SCHEMAS: dict[str, Any] = {
    IMAGES_FILE: RELEASE_IMAGES,
    PURCHASES_FILE: PURCHASES,
    EVENTS_FILE: EVENTS,
}


def described(schema: Any) -> list[dict[str, Any]]:
    """A schema as the manifest tells it: name, type, whether it may be null, description."""
    return [
        {
            "name": column.name,
            "type": str(column.type),
            "nullable": column.nullable,
            "description": description_of(column),
        }
        for column in schema
    ]
