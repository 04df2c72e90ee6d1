"""What an image costs, by whom and when it was said.

A new price is a new entry with its date, never a changed one: the plan and every purchase carry the
price they were made at, and `VERSION` says from which table it came. `WAN_PRICE_USD` overrides it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

__all__ = ["PRICES", "VERSION", "Price", "price_of"]

VERSION = "2026-11-22"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One published price.

    Attributes:
        model: the model's id in our requests.
        region: where the account is.
        usd_per_image: for every image that a task brings, whatever its size.
        source: who publishes it.
        read_on: the day on which it was read there.
    """

    model: str
    region: str
    usd_per_image: Decimal
    source: str
    read_on: date

    @property
    def spoken(self) -> str:
        """Where it comes from, in one line."""
        return f"price table {VERSION}: {self.source}, {self.region}, read {self.read_on}"


PRICES = (
    Price(
        model="wan25_t2i_preview_intl",
        region="international (Singapore)",
        usd_per_image=Decimal("0.03"),
        # The page says 0.220177 CNY; its other rows give the rate of 7.3392 to the dollar.
        source="copy of Alibaba Cloud Model Studio's price page, wan2.5-t2i-preview",
        read_on=date(2026, 11, 22),
    ),
)


def price_of(model: str) -> Price:
    """The newest price of a model. Raises KeyError for a model without one."""
    known = [price for price in PRICES if price.model == model]
    if not known:
        raise KeyError(model)
    return max(known, key=lambda price: price.read_on)
