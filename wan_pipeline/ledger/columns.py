"""How money, time and foreign words are stored, the same on every database.

Money is whole nano-dollars (1e-9 USD) in the database and Decimal in code, so that sums are exact
on any database. Times are UTC. Words of others are cut down to what any database takes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import sqlalchemy as sa

__all__ = ["AnyText", "Usd", "UtcTime"]

PLACES = 9
NANO = Decimal(10**PLACES)
SAFE_DIGITS = 18  # with the nine places, within the 28 digits that Decimal computes exactly


class Usd(sa.types.TypeDecorator[Decimal]):
    """Decimal US dollars with at most nine places, as a whole number of nano-dollars."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        """Refuse what cannot be stored exactly."""
        if value is None:
            return None
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and exponent >= -PLACES and value.adjusted() < SAFE_DIGITS:
            return int(value.scaleb(PLACES))
        nano = Fraction(value) * int(NANO)  # Decimal arithmetic would round a longer value
        if nano.denominator != 1:
            raise ValueError(f"{value} USD has more than nine decimal places")
        return nano.numerator

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:
        """Back to dollars, exactly."""
        return None if value is None else Decimal(value) / NANO


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Timezone-aware UTC, also on SQLite, which keeps no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a time that does not know its zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AnyText(sa.types.TypeDecorator[str]):
    """Text that a provider or a person wrote.

    PostgreSQL takes no NUL and no database takes half a surrogate pair; a JSON string may hold
    either. Each becomes U+FFFD, since a refused write here would lose a paid answer.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Replace what cannot be stored."""
        if value is None:
            return None
        if "\0" in value:
            value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        if not value.isascii():
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
