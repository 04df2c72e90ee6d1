"""One image's row, and how to write a gallery of such and read it as a browser would."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from wan_pipeline.report.gallery import GallerySummary, write_gallery
from wan_pipeline.report.items import GalleryRow

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ROW", "SUMMARY", "Page", "written"]


class Page(HTMLParser):
    """A page's elements, attributes and scripts, as a browser's parser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self._script_type: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect an element."""
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "script":
            self._script_type = attributes.get("type", "")

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        if tag == "script":
            self._script_type = None

    def handle_data(self, data: str) -> None:
        """Collect text, scripts apart."""
        if self._script_type is None:
            self.texts.append(data)
        else:
            self.scripts.append((self._script_type, data))

    def attributes(self, *names: str) -> list[str]:
        """Return the values of these attributes, over all elements."""
        return [value for _, attrs in self.elements for key, value in attrs.items() if key in names]

    def count(self, tag: str, class_name: str = "") -> int:
        """Return how many elements have this tag and class."""
        return sum(
            name == tag and (not class_name or class_name in attrs.get("class", "").split())
            for name, attrs in self.elements
        )

    @property
    def data(self) -> dict[str, Any]:
        """The embedded data."""
        ((_, text),) = [script for script in self.scripts if script[0] == "application/json"]
        return json.loads(text)

    def column(self, name: str) -> list[Any]:
        """One value per item."""
        column = self.data["columns"][name]
        return column if isinstance(column, list) else [column["v"][code] for code in column["c"]]


ROW = GalleryRow(
    request_id="1" * 64,
    image_id="2" * 64,
    prompt_id="p-1",
    prompt="A red fox in the snow, 雪中的狐狸",
    negative_prompt="blurry",
    size="1280*1280",
    width=1280,
    height=1280,
    seed=42,
    seed_source="given",
    n=1,
    image_index=0,
    cost_usd=Decimal("0.030000000"),
    path="images/22/a.png",
    thumb="thumbs/22/a.jpg",
    size_matches=True,
)
SUMMARY = GallerySummary(
    prompt_set="animals",
    profile="a-profile",
    images=1,
    requests=1,
    failed={},
    unknown=0,
    missing=0,
    cost_usd=Decimal("0.030000000"),
    shown_usd=Decimal("0.030000000"),
    created=datetime(2026, 11, 2, 3, 4, tzinfo=UTC),
)


def written(
    tmp_path: Path, rows: list[GalleryRow], summary: GallerySummary = SUMMARY
) -> tuple[str, Page]:
    """Write a gallery and return its text, as source and as parsed."""
    report = write_gallery(
        rows, out_dir=tmp_path / "gallery" / "animals", data_root=tmp_path, summary=summary
    )
    source = report.path.read_text("utf-8")
    assert len(source.encode()) == report.bytes
    return source, Page(source)
