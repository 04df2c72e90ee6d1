"""What checks of `quality` point at: sections of the quarantine, rows of the tables."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dagster as dg
import pyarrow.parquet as pq

__all__ = ["outcomes_with", "section_of"]


def section_of(check: dg.AssetCheckEvaluation) -> str:
    """The part of the page that a check tells of, which must be there."""
    url = urlsplit(check.metadata["page"].value)
    assert not url.scheme, url  # nobody serves it, and the UI's browser opens no file:// link
    page = Path(unquote(url.path)).read_text("utf-8")
    found = page.partition(f'<section id="{url.fragment}">')[2]
    assert found, url
    return found.partition("</section>")[0]


def outcomes_with(table: Path, flag: str) -> list[dict[str, Any]]:
    """Requests that bear a flag, as any reader of Parquet finds them."""
    return [row for row in pq.read_table(table).to_pylist() if flag in row["flags"]]
