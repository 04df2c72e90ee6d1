"""A Markdown grid of small pictures, self-contained, for places that show Markdown.

Bounded in images and bytes, because it is stored with every materialization for ever. Files on
disk are the gallery's business.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.report.pages import markdown_text
from wan_pipeline.report.thumbnails import ThumbnailError, load_small

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

__all__ = ["ContactItem", "contact_sheet"]

_COLUMNS = 4
_EDGE_PX = 96
_CAPTION_LENGTH = 48
# Tried in this order until the sheet fits; the last fits 16 images of pure noise in 50 kB.
_STEPS = ((96, 70), (96, 55), (96, 40), (80, 40), (64, 40), (48, 35), (32, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactItem:
    """One cell of the sheet.

    Attributes:
        image_path: the stored image, or its thumbnail, which is faster.
        caption: any text, a prompt for example; shortened and escaped.
    """

    image_path: Path
    caption: str


def contact_sheet(
    items: Sequence[ContactItem], *, max_items: int = 16, max_bytes: int = 50_000
) -> str:
    """Draw the first images of `items` as a Markdown table with the pictures inside.

    Pictures lose quality, then size, until the whole fits. An image that cannot be decoded shows
    its caption and says so.

    Args:
        items: what to show, most telling first.
        max_items: how many at most.
        max_bytes: bound of the returned text in UTF-8; when not even the smallest pictures fit,
            fewer are shown.

    Returns:
        Markdown, or an empty string when there is nothing to show.
    """
    cells = [
        (_load(item.image_path), markdown_text(item.caption, longest=_CAPTION_LENGTH))
        for item in items[:max_items]
    ]
    while cells:
        for edge_px, quality in _STEPS:
            sheet = _table([_cell(image, text, edge_px, quality) for image, text in cells])
            if len(sheet.encode()) <= max_bytes:
                return sheet
        cells.pop()
    return ""


def _load(image_path: Path) -> Image | None:
    """Return the picture at the largest size a sheet shows, or nothing if it cannot be read."""
    try:
        return load_small(image_path, (_EDGE_PX, _EDGE_PX))
    except ThumbnailError:
        return None  # shown as such in its cell


def _cell(image: Image | None, caption: str, edge_px: int, quality: int) -> str:
    """Return one table cell: picture above caption."""
    if image is None:
        return f"*cannot be shown* {caption}"
    small = image.copy()
    small.thumbnail((edge_px, edge_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![](data:image/jpeg;base64,{data}) {caption}"


def _table(cells: list[str]) -> str:
    """Lay out cells in rows of four, under the header row that Markdown tables must have."""
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    width = min(_COLUMNS, len(cells))
    lines = ["| " * width + "|", "|---" * width + "|"]
    lines += ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    return "\n".join(lines) + "\n"
