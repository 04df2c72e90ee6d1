"""Counts and amounts as parts of a sentence."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["counted", "dollars", "rest_told"]


def counted(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def dollars(amount: Decimal) -> str:
    """At least cents, all places where there are more: `0.24`, `0.0035`."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():f}"


def rest_told(left: int, cost_usd: Decimal) -> str:
    """How many requests a stop kept from being bought, and their price."""
    verb = "is" if left == 1 else "are"
    return f"{counted(left, 'request')} {verb} left, which would cost {dollars(cost_usd)} USD"
