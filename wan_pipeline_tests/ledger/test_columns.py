"""Money to the nano-dollar, and moments whatever zone they come in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.ledger.columns import Usd, UtcTime

if TYPE_CHECKING:
    from wan_pipeline_tests.ledger.conftest import Life

DIALECT: Any = None
USD = Usd()


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=9))
def test_money_survives_exactly(amount: Decimal) -> None:
    """Nine places, no float on the way."""
    stored = USD.process_bind_param(amount, DIALECT)
    assert isinstance(stored, int)
    assert USD.process_result_value(stored, DIALECT) == amount


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_money_is_exact_or_refused(amount: Decimal) -> None:
    """Never rounded in silence, however many digits it has."""
    try:
        stored = USD.process_bind_param(amount, DIALECT)
    except ValueError:
        return
    assert stored == Fraction(amount) * 10**9


@pytest.mark.parametrize(
    "amount", ["0.0000000001", "1.0000000000000000000000000000000000001", "NaN", "sNaN"]
)
def test_money_of_too_many_places_is_refused(amount: str) -> None:
    """Also beyond the precision in which Decimal computes."""
    with pytest.raises(ValueError, match=r"decimal places|NaN"):
        USD.process_bind_param(Decimal(amount), DIALECT)


async def test_sums_are_exact(life: Life) -> None:
    """A thousand amounts that no float can hold."""
    price = Decimal("0.030000001")
    await asyncio.gather(*(life.intend(f"r{n}", price_usd=price, n=3) for n in range(1000)))
    assert life.ledger.reserved() == price * 3000


def test_time_keeps_its_moment_and_needs_a_zone() -> None:
    """UTC in the file, whatever zone it came in."""
    column = UtcTime()
    beijing = datetime(2026, 11, 22, 15, tzinfo=timezone(timedelta(hours=8)))
    stored = column.process_bind_param(beijing, DIALECT)
    assert stored is not None
    back = column.process_result_value(stored.replace(tzinfo=None), DIALECT)
    assert back == beijing
    assert back is not None
    assert back.tzinfo is UTC
    with pytest.raises(ValueError, match="no timezone"):
        column.process_bind_param(beijing.replace(tzinfo=None), DIALECT)
