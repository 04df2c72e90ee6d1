"""Counts, amounts and reasons as parts of a sentence."""

from __future__ import annotations

import re
import textwrap
from decimal import Decimal

__all__ = ["counted", "dollars", "reason_told", "rest_told"]

SHOWN = 160  # characters of a reason, which may quote a host's words
_ADVICE = re.compile(r"; |\. ")  # what to do follows the reason


def counted(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def dollars(amount: Decimal) -> str:
    """At least cents, all places where there are more: `0.24`, `0.0035`."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():f}"


def reason_told(problem: str | None) -> str:
    """A problem in one short, printable line, without its advice; None when nobody knows it."""
    text = _ADVICE.split(problem or "no reason is known", maxsplit=1)[0]
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return textwrap.shorten(shown, SHOWN, placeholder=" ...")


def rest_told(left: int, cost_usd: Decimal) -> str:
    """How many requests a stop kept from being bought, and their price."""
    if not left:
        return "nothing is left to buy"
    verb = "is" if left == 1 else "are"
    return f"{counted(left, 'request')} {verb} left, which would cost {dollars(cost_usd)} USD"
