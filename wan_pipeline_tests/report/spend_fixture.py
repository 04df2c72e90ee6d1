"""Exported ledgers and pages of them, made from rows without a database, and how to read one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.ledger.export import TABLES, ExportSummary
from wan_pipeline.report.spend import SpendReport, SpendSummary, write_spend_page
from wan_pipeline.report.spending import read_spending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.ledger.cap_use import CapUse
    from wan_pipeline.ledger.review import OpenPurchase, PriceDifference

__all__ = ["HOSTILE", "NOON", "Page", "Told", "exported"]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTILE = (
    "</svg></style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "水墨画风格的山峦与云海_很长很长的提示词集合名称_第二版",
    "$x^2$ and _underscored_ and @0@",
    "{{ 7 * 7 }} &lt;b&gt; \ud800",
    "url(https://evil.example/x) | *bold*",
)


def exported(
    folder: Path, purchases: Sequence[dict[str, Any]], images: Sequence[dict[str, Any]] = ()
) -> ExportSummary:
    """Write the rows as the export does."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / table.file for name, table in TABLES.items()}
    for name, rows in {"purchases": purchases, "images": images, "events": ()}.items():
        pq.write_table(pa.Table.from_pylist(list(rows), TABLES[name].arrow), files[name])
    return ExportSummary(
        purchases=len(purchases), images=len(images), events=0, last_event=0, files=files
    )


@dataclass(kw_only=True)
class Told:
    """What a page is made of."""

    purchases: Sequence[dict[str, Any]] = ()
    images: Sequence[dict[str, Any]] = ()
    unknowns: Sequence[OpenPurchase] = ()
    unfinished: Sequence[OpenPurchase] = ()
    price_differences: Sequence[PriceDifference] = ()
    caps: Sequence[CapUse] = field(default_factory=tuple)

    def summary(self, folder: Path) -> SpendSummary:
        """The same as figures."""
        files = exported(folder, self.purchases, self.images)
        return SpendSummary(
            profile="a-profile",
            created=NOON,
            spending=read_spending(files),
            unknowns=self.unknowns,
            unfinished=self.unfinished,
            price_differences=self.price_differences,
            caps=self.caps,
            files={name: path.name for name, path in files.files.items()},
        )

    def page(self, folder: Path) -> SpendReport:
        """The same as a page in the folder."""
        return write_spend_page(self.summary(folder), out_dir=folder)


class Page(HTMLParser):
    """A page's elements, attributes and text, as a browser's parser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        """Leave a style."""
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Collect text, styles apart."""
        self.text += "" if self._style else f" {data} "

    def ids(self) -> list[str]:
        """Every id."""
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]
