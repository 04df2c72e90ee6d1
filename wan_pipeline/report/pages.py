"""What static pages share: the template environment, their files, and how amounts are written."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["asset", "environment", "markdown_text", "seconds", "usd"]

_ASCII_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def environment() -> Environment:
    """Return the template environment: escapes everything, and fails on a misspelt name."""
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


def usd(amount: Decimal) -> str:
    """Return dollars with at least two decimals and no further trailing zeros."""
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    whole, _, decimals = f"{abs(amount):f}".partition(".")
    return f"{sign}${int(whole):,}.{decimals.rstrip('0').ljust(2, '0')}"


def seconds(value: float) -> str:
    """Return seconds with three digits that count."""
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def markdown_text(text: str) -> str:
    """Return one line that no Markdown or HTML reader takes for markup.

    Every ASCII punctuation mark becomes a character reference: CommonMark lets those stand for
    text only, never for structure.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _ASCII_PUNCTUATION.sub(lambda mark: f"&#{ord(mark.group())};", line)
