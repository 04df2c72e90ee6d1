"""Exports as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.screen import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

__all__ = ["show_exports"]

MEGABYTE = 10**6


def show_exports(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """What was written, and where: paths in one piece, below the table."""
    console.print(_table(found))
    for each in found:
        console.print(printable(each["folder"]), soft_wrap=True)


def _table(found: Sequence[Mapping[str, Any]]) -> Table:
    """One row per export."""
    table = Table(title=f"Exports of {found[0]['release']}", title_justify="left")
    for name in ("format", "images", "splits", "marking", "files", "MB"):
        table.add_column(name, justify="right" if name in ("images", "files", "MB") else "left")
    for each in found:
        table.add_row(
            each["format"],
            f"{sum(each['rows'].values()):,}",
            ", ".join(f"{split} {count:,}" for split, count in each["rows"].items()),
            ", ".join(f"{word} {count:,}" for word, count in each["markings"].items()),
            f"{each['files']:,}",
            f"{each['file_bytes'] / MEGABYTE:,.1f}",
        )
    return table
