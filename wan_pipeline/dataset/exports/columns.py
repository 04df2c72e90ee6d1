"""The columns of an export, and how Hugging Face's readers are told about them.

The release's columns go through with their types: `datasets` reads decimals, UTC timestamps and
lists of strings as they are. In front of them stand the image and what was shipped for it. What
only its owner may use of a URL stays behind.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from wan_pipeline.dataset.fields import known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.dataset.exports.items import Item

__all__ = [
    "IMAGE",
    "archive_features",
    "card_features",
    "export_schema",
    "folder_file",
    "publishable",
    "table_of",
    "with_features",
]

IMAGE = "image"
_FILE = "file_name"
_FLOATS = {"double": "float64", "float": "float32"}


_STRUCT = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_LEADING: dict[str, Any] = {
    IMAGE: known(IMAGE, _STRUCT, "the file's bytes, and a name for it"),
    _FILE: known(_FILE, pa.string(), "the image file, relative to this table"),
}
_SHIPPED = [
    known("file_sha256", pa.string(), "SHA-256 of the file's bytes as shipped"),
    known(
        "marking",
        pa.string(),
        "how the file is marked: none, xmp, xmp+c2pa, or provider-c2pa (signed by the provider, so"
        " left as received)",
    ),
]

_ELSEWHERE = {
    each.name: each
    for each in (
        known(
            "url",
            pa.string(),
            "where the image was fetched, without the query that made the link work",
        ),
        known(
            "path",
            pa.string(),
            "the file as received, in the project that bought it (relative to data/<profile>);"
            " nothing in this export",
        ),
    )
}
"""Columns whose sentences would not hold outside the project."""


def export_schema(released: Any, *, leading: str | None) -> Any:
    """The schema of an export's table.

    Args:
        released: the schema of the release's rows.
        leading: `image`, `file_name`, or None for neither.
    """
    first = [] if leading is None else [_LEADING[leading]]
    return pa.schema([*first, *_SHIPPED, *(_plain(each) for each in released)])


def publishable(batch: Any) -> Any:
    """The release's rows without what signs their URLs, which may open the provider's storage.

    Scheme, host and path stay, to tell where an image came from; the link itself is dead in a day.
    """
    bare = pc.replace_substring_regex(batch["url"], r"(?s)[?#].*", "")
    bare = pc.replace_substring_regex(bare, r"^([^/]*//)[^/]*@", r"\1")  # user and password
    place = batch.schema.get_field_index("url")
    return batch.set_column(place, batch.schema.field(place), bare)


def _plain(field: Any) -> Any:
    """The column as exported: a list has no names for its elements, about which readers differ."""
    field = _ELSEWHERE.get(field.name, field)
    kind = field.type
    return field.with_type(pa.list_(kind.value_type)) if pa.types.is_list(kind) else field


def table_of(items: Sequence[Item], schema: Any) -> Any:
    """The rows of `items` as a table of `schema`, without copying one image twice."""
    columns: dict[str, Any] = {
        "file_sha256": pa.array([item.file_sha256 for item in items], pa.string()),
        "marking": pa.array([item.marking.value for item in items], pa.string()),
    }
    if IMAGE in schema.names:
        columns[IMAGE] = pa.StructArray.from_arrays(
            [
                pa.array([item.data for item in items], pa.binary()),
                pa.array([item.file_name for item in items], pa.string()),
            ],
            fields=list(_STRUCT),
        )
    if _FILE in schema.names:
        columns[_FILE] = pa.array([folder_file(item) for item in items], pa.string())
    rows = pa.Table.from_batches(_taken(items))
    return pa.Table.from_arrays(
        [
            columns[each.name] if each.name in columns else rows[each.name].cast(each.type)
            for each in schema
        ],
        schema=schema,
    )


def folder_file(item: Item) -> str:
    """Where an image lies beside its table: a thousand to a folder."""
    return f"{item.number // 1000:06d}/{item.file_name}"


def _taken(items: Sequence[Item]) -> list[Any]:
    """The release's rows of the items, one piece per batch that they come from."""
    pieces: list[Any] = []
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or items[end].batch is not items[start].batch:
            positions = pa.array([item.position for item in items[start:end]], pa.int64())
            pieces.append(items[start].batch.take(positions))
            start = end
    return pieces


def with_features(schema: Any) -> Any:
    """The schema with the note by which `datasets` finds the image column."""
    features = {each.name: _feature(each.type, each.name) for each in schema}
    note = json.dumps({"info": {"features": features}})
    return schema.with_metadata({"huggingface": note})


def card_features(schema: Any) -> list[dict[str, Any]]:
    """The features as a dataset card lists them; a file name stands for its image."""
    listed: list[dict[str, Any]] = []
    for each in schema:
        if each.name in (IMAGE, _FILE):
            listed.append({"name": IMAGE, "dtype": "image"})
        elif pa.types.is_list(each.type):
            listed.append({"name": each.name, "list": _dtype(each.type.value_type)})
        else:
            listed.append({"name": each.name, "dtype": _dtype(each.type)})
    return listed


def archive_features(suffixes: Sequence[str], released: Any) -> list[dict[str, Any]]:
    """The features that `datasets` makes of a WebDataset: a column per suffix, and where from.

    Written down, because what it guesses from the first images fails where a column is empty there.
    """
    return [
        *({"name": suffix, "dtype": "image"} for suffix in suffixes),
        {"name": "json", "struct": [_in_json(each) for each in card_features(released)]},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def _in_json(feature: dict[str, Any]) -> dict[str, Any]:
    """A feature as JSON carries it: exact amounts and times as text."""
    text = str(feature.get("dtype", "")).startswith(("decimal", "timestamp"))
    return {"name": feature["name"], "dtype": "string"} if text else feature


def _feature(kind: Any, name: str) -> dict[str, Any]:
    if name == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, ""), "_type": "List"}
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: Any) -> str:
    return _FLOATS.get(str(kind), str(kind))
