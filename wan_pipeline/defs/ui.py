"""Results to Dagster metadata; the only file that knows what the UI renders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from wan_pipeline.dataset.fields import description_of
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.report.pages import relative_link

__all__ = [
    "Origins",
    "column_lineage",
    "column_schema",
    "from_words",
    "further_table",
    "money",
    "page_link",
    "page_told",
    "same_columns",
    "share_allowed",
    "table_rows",
]

Origins = Mapping[str, str | tuple[str, str] | Sequence[tuple[str, str]]]
"""Where columns come from: ``{column: (asset, column there)}``, several such pairs, or in words.

Words are for what no table above has: the provider's answer, a file, the ledger.
"""


def column_schema(schema: pa.Schema, sources: Origins) -> dg.TableSchema:
    """An Arrow schema as the UI's table schema.

    A description says what the field itself says, and in words where the column comes from when no
    table above has it, so that nobody looks for a missing link.
    """
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=_description(column, sources.get(column.name)),
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in schema
        ]
    )


def _description(column: pa.Field, origins: object) -> str | None:
    said = [f"from {origins}"] if isinstance(origins, str) else []
    return "; ".join([*filter(None, [description_of(column)]), *said]) or None


def column_lineage(sources: Origins) -> dg.TableColumnLineage:
    """Origins as the UI's lineage; those in words are in the descriptions."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=origin)
                for asset, origin in ([origins] if isinstance(origins, tuple) else origins)
            ]
            for column, origins in sources.items()
            if not isinstance(origins, str)
        }
    )


def same_columns(
    schema: pa.Schema, *, source: str, origin: pa.Schema
) -> dict[str, tuple[str, str]]:
    """The columns of `schema` that come unchanged from the asset `source`."""
    return {name: (source, name) for name in schema.names if name in origin.names}


def further_table(
    name: str, path: Path, *, schema: pa.Schema, sources: Origins
) -> dict[str, dg.TableSchema | dg.TableColumnLineage | dg.MetadataValue]:
    """A table beside the one that an asset's row count is of: where it is, columns and lineage."""
    return {
        name: dg.MetadataValue.path(str(path)),
        f"{name}_column_schema": column_schema(schema, sources),
        f"{name}_column_lineage": column_lineage(sources),
    }


def from_words(where: str, columns: Iterable[str]) -> dict[str, str]:
    """Columns that all come from one place, which is no table."""
    return dict.fromkeys(columns, where)


def money(amount: Any) -> dg.MetadataValue:
    """USD as a number that the UI can plot; the exact amount stands in the ledger."""
    return dg.MetadataValue.null() if amount is None else dg.MetadataValue.float(float(amount))


def page_link(page: Path, wan: WanResource, anchor: str = "") -> dg.MetadataValue:
    """A page, or a part of it: to open where pages are served, else to copy.

    A browser follows no ``file:`` link of a page that came over HTTP, so none is made.
    """
    part, served = f"#{anchor}" if anchor else "", wan.settings().pages_url
    if served is None:
        return dg.MetadataValue.path(f"{page}{part}")
    return dg.MetadataValue.url(f"{served}/{relative_link(page, wan.layout.root)}{part}")


def page_told(page: Path, wan: WanResource) -> dict[str, dg.MetadataValue]:
    """A page that an asset wrote: where it lies, and a link where pages are served."""
    told = {"page": dg.MetadataValue.path(str(page))}
    return told if wan.settings().pages_url is None else {**told, "open": page_link(page, wan)}


def share_allowed(wan: WanResource, setting: str) -> str:
    """What a check's description says of its threshold, and of the variable that sets it."""
    share = getattr(wan.settings(), setting)
    return f"; {100 * share:.6g}% are allowed (WAN_{setting.upper()})"


def table_rows(rows: list[dict[str, Any]], *, limit: int = 50) -> dg.MetadataValue:
    """The first rows as a table; cells longer than 200 characters are cut."""
    if not rows:
        return dg.MetadataValue.text("none")
    records = [
        dg.TableRecord({name: str(value)[:200] for name, value in row.items()})
        for row in rows[:limit]
    ]
    return dg.MetadataValue.table(
        records=records,
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in rows[0]]),
    )
