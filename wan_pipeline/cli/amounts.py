"""Amounts of money as a person types them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from wan_pipeline.wan.errors import ConfigurationError

__all__ = ["read_budget"]

LARGEST = Decimal(10**9)


def read_budget(given: str | None) -> Decimal | None:
    """The value of `--budget`; None when it is not given.

    Raises:
        ConfigurationError: it is no amount.
    """
    if given is None:
        return None
    try:
        amount = Decimal(given)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= LARGEST):
        raise ConfigurationError(
            f"--budget {given!r} is no amount of USD; write it like 12.50. Nothing was sent"
        )
    return amount
