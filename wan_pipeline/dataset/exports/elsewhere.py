"""Remember exports that were made outside the data folder: a copy of the index, and the place.

What lies below ``data/<profile>/exports`` is found by looking there. An export made with ``--out``
may be anywhere, be moved or be gone; its copied index goes on telling which image a file was.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.atomic import write_atomic
from wan_pipeline.dataset.exports.index import INDEX_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["export_of", "indexes", "note_export"]

ELSEWHERE = "elsewhere"
PLACE_FILE = "place.json"
MAX_PLACE = 1 << 16


def note_export(exported: Path, *, exports: Path) -> None:
    """Remember an export, unless it lies where it is looked for anyway; a later one replaces it.

    Args:
        exported: the folder of the export, as `ExportSummary.folder`.
        exports: the folder of the release's exports, as `exports_of`.

    Raises:
        OSError: the index cannot be read, or the disk refused.
    """
    folder = exported.resolve()
    if folder.parent == exports.resolve():
        return
    name = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    target = exports / ELSEWHERE / name
    write_atomic(target / PLACE_FILE, json.dumps({"folder": str(folder)}, indent=2).encode())
    # The last, so that an index always has its place.
    write_atomic(target / INDEX_FILE, (folder / INDEX_FILE).read_bytes())


def indexes(exports_dir: Path) -> Iterator[Path]:
    """The index of every known export, below ``data/<profile>/exports``."""
    yield from sorted(exports_dir.glob(f"*/*/{INDEX_FILE}"))
    yield from sorted(exports_dir.glob(f"*/{ELSEWHERE}/*/{INDEX_FILE}"))


def export_of(index: Path) -> str:
    """The folder of the export that an index describes, there or not any more.

    Raises:
        ValueError: the note of its place is none.
        OSError: it cannot be read.
    """
    place = index.with_name(PLACE_FILE)
    if index.parent.parent.name != ELSEWHERE or not place.is_file():
        return str(index.parent)
    with place.open("rb") as file:
        found: Any = json.loads(file.read(MAX_PLACE))
    if not isinstance(found, dict) or not isinstance(found.get("folder"), str):
        raise ValueError(  # noqa: TRY004  a wrong value in a file
            f"{place} names no folder: export once more, or remove its folder"
        )
    return found["folder"]
