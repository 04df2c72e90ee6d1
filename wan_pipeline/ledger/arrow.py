"""The ledger's tables as others read them: Arrow schemas, with a description of every column.

Written down here, once. What the columns are in the database stands in `schema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from wan_pipeline.ledger import schema

__all__ = ["EVENTS", "IMAGES", "PURCHASES", "TABLES", "ExportTable"]

USD = pa.decimal128(18, 9)
TIME = pa.timestamp("us", tz="UTC")


def _known(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column that every row has a value for."""
    return pa.field(name, kind, nullable=False, metadata={"description": description})


def _optional(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column that may not be known, or not yet."""
    return pa.field(name, kind, metadata={"description": description})


_KEY = [
    _known("profile", pa.string(), "account"),
    _known("request_id", pa.string(), "SHA-256 of the request's canonical JSON"),
    _known(
        "attempt", pa.int32(), "which purchase of the request, from 1; from -1 down a reproduction"
    ),
]

#: One row per purchase: a request, at a profile, for the k-th time.
PURCHASES: Any = pa.schema(
    [
        *_KEY,
        _known("state", pa.string(), "where it stands; only stored ones are complete"),
        _optional("owner_id", pa.string(), "process that works on it, or worked on it last"),
        _known("request", pa.string(), "the request as canonical JSON"),
        _known("n", pa.int32(), "images asked for"),
        _known("bought_by_set", pa.string(), "prompt set, or series of reproductions, that bought"),
        _known("run_id", pa.string(), "run that wrote the intent"),
        _known("code_version", pa.string(), "version of wan_pipeline that wrote the intent"),
        _known("dialect", pa.string(), "wire protocol spoken"),
        _optional("form", pa.string(), "layout of the create body: flat or wrapped"),
        _known("price_usd", USD, "per image, at the time of the intent"),
        _known("reserved_usd", USD, "set aside until the cost is known"),
        _optional("cost_usd", USD, "what it cost; empty until that is known"),
        _optional("cost_source", pa.string(), "reported, price_table, unreadable, or written_off"),
        _optional("discount", pa.string(), "as the provider reported it"),
        _optional("task_id", pa.string(), "the provider's task"),
        _known("created_at", TIME, "when the intent was written; caps count it on this day"),
        _optional("submitted_at", TIME, "the create was accepted"),
        _optional("completed_at", TIME, "the task was done"),
        _optional("deadline_at", TIME, "task record and result URLs die"),
        _optional("error_code", pa.string(), "the provider's code"),
        _optional("error_message", pa.string(), "the provider's words, or ours"),
        _optional("error_kind", pa.string(), "what kind of error that is"),
        _optional("actual_prompt", pa.string(), "the rewritten prompt, where the dialect tells"),
        _optional("provider_metadata", pa.string(), "the provider's metadata object as JSON"),
        _optional("final_answer", pa.string(), "the final poll's body as received"),
    ]
)

#: One row per image that a finished task named.
IMAGES: Any = pa.schema(
    [
        *_KEY,
        _known("image_index", pa.int32(), "which of the request's images, from 0"),
        _known("state", pa.string(), "expected, stored, damaged or lost"),
        _known("url", pa.string(), "where it is fetched"),
        _known("url_expires_at", TIME, "when that URL dies, at the latest"),
        _optional("job_id", pa.string(), "the provider's job behind the image"),
        _optional("image_id", pa.string(), "SHA-256 of the bytes as received"),
        _optional("path", pa.string(), "the file, relative to data/<profile>"),
        _optional("format", pa.string(), "png, webp or jpeg, by its content"),
        _optional("bytes", pa.int64(), "length of the file"),
        _optional("width", pa.int32(), "pixels across, as received"),
        _optional("height", pa.int32(), "pixels down, as received"),
        _optional("problem", pa.string(), "why it is damaged or lost"),
        _optional("stored_at", TIME, "when the file was durable"),
    ]
)

#: One row per change of a purchase or an image, in the order in which they were written.
EVENTS: Any = pa.schema(
    [
        _known("seq", pa.int64(), "number of the event; grows, with gaps"),
        _known("at", TIME, "when"),
        *_KEY,
        _optional("image_index", pa.int32(), "which image; empty when it concerns the purchase"),
        _optional("from_state", pa.string(), "state before; empty for a new row"),
        _known("to_state", pa.string(), "state after"),
        _optional("owner_id", pa.string(), "process that made the change"),
        _optional("detail", pa.string(), "reason, task, image, or what was answered"),
        _optional("who", pa.string(), "person who decided, where one did"),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """How one table is exported.

    Attributes:
        source: the database's table.
        arrow: the columns to export, in their order.
        file: name of the Parquet file.
    """

    source: sa.Table
    arrow: Any
    file: str

    def ordered_by(self, collation: str) -> list[Any]:
        """Its primary key, but for the profile; texts by their bytes."""
        keys = [key for key in self.source.primary_key.columns if key.name != "profile"]
        return [key.collate(collation) if isinstance(key.type, sa.Text) else key for key in keys]


TABLES = {
    "purchases": ExportTable(source=schema.purchases, arrow=PURCHASES, file="purchases.parquet"),
    "images": ExportTable(source=schema.images, arrow=IMAGES, file="images.parquet"),
    "events": ExportTable(source=schema.events, arrow=EVENTS, file="events.parquet"),
}
