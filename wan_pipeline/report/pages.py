"""What static pages share: template environment, files, links, and how amounts are written."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from wan_pipeline.dataset.atomic import write_atomic

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

__all__ = [
    "asset",
    "environment",
    "markdown_text",
    "relative_link",
    "seconds",
    "usd",
    "write_page",
]

_ASCII_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


@cache
def environment() -> Environment:
    """Return the template environment: escapes everything, and fails on a misspelt name.

    One per process: it keeps the compiled templates, for the sets that are built after the first.
    """
    made = Environment(
        loader=PackageLoader("wan_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["usd"] = usd
    made.filters["count"] = "{:,}".format
    return made


def asset(name: str) -> str:
    """Read a style or script that goes into the page as it is."""
    return (files("wan_pipeline.report") / "templates" / name).read_text("utf-8")


def write_page(path: Path, page: str) -> int:
    """Write a page, replacing an older one at once; returns its length in bytes.

    Raises:
        OSError: the disk refused; an older page stays.
    """
    # A lone surrogate, legal in JSON input, has no UTF-8 form: shown as a question mark.
    data = page.encode("utf-8", errors="replace")
    write_atomic(path, data)
    return len(data)


def relative_link(target: Path, folder: Path) -> str:
    """A URL from a page in `folder` to `target`, so that the data folder can be moved as a whole.

    Quoting leaves it no scheme, no host and no space.
    """
    return quote(os.path.relpath(target, folder).replace(os.sep, "/"))


def usd(amount: Decimal) -> str:
    """Return dollars with at least two decimals and no further trailing zeros."""
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    whole, _, decimals = f"{abs(amount):f}".partition(".")
    return f"{sign}${int(whole):,}.{decimals.rstrip('0').ljust(2, '0')}"


def seconds(value: float) -> str:
    """Return seconds with three digits that count."""
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def markdown_text(text: str, *, longest: int) -> str:
    """Return one line that no Markdown or HTML reader takes for markup.

    Every ASCII punctuation mark becomes a character reference: CommonMark lets those stand for
    text only, never for structure.

    Args:
        text: anything.
        longest: characters to show at most, before they become references.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > longest:
        line = line[: longest - 1].rstrip() + "…"
    return _ASCII_PUNCTUATION.sub(lambda mark: f"&#{ord(mark.group())};", line)
