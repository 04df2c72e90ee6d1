"""Exports as a table and as JSON, from their manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.screen import printable
from wan_pipeline.dataset.exports.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["exports_table", "read_exports"]

FOLDER = "folder_"
MEGABYTE = 10**6


def read_exports(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the manifests of the exports say that a run told of.

    Args:
        told: metadata of the asset `exports`.
    """
    folders = [Path(str(value)) for name, value in told.items() if name.startswith(FOLDER)]
    return [_summary(folder) for folder in folders]


def _summary(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_bytes())
    files: list[dict[str, Any]] = manifest["files"]
    return {
        **{name: manifest[name] for name in ("format", "bytes", "licence", "signed", "rows")},
        "release": manifest["release"]["reference"],
        "content": manifest["release"]["content"],
        "markings": manifest["markings"],
        "files": len(files),
        "file_bytes": sum(each["bytes"] for each in files),
        "folder": str(folder),
    }


def exports_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """One row per export."""
    table = Table(title=f"Exports of {found[0]['release']}", title_justify="left")
    for name in ("format", "images", "splits", "marking", "files", "MB", "folder"):
        table.add_column(name, justify="right" if name in ("images", "files", "MB") else "left")
    for each in found:
        table.add_row(
            each["format"],
            f"{sum(each['rows'].values()):,}",
            ", ".join(f"{split} {count:,}" for split, count in each["rows"].items()),
            ", ".join(f"{word} {count:,}" for word, count in each["markings"].items()),
            f"{each['files']:,}",
            f"{each['file_bytes'] / MEGABYTE:,.1f}",
            printable(each["folder"]),
        )
    return table
