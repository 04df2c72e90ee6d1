"""Words that people read in many places."""

from __future__ import annotations

from decimal import Decimal

import pytest

from wan_pipeline.told import counted, dollars, rest_told


@pytest.mark.parametrize(
    ("left", "cost", "words"),
    [
        (0, "0", "nothing is left to buy"),
        (1, "0.03", "1 request is left, which would cost 0.03 USD"),
        (40, "1.2", "40 requests are left, which would cost 1.20 USD"),
    ],
)
def test_what_is_left(left: int, cost: str, words: str) -> None:
    """A stop may come when the last request has been sent."""
    assert rest_told(left, Decimal(cost)) == words


def test_numbers() -> None:
    """One is one, and no part of a cent is lost."""
    assert (counted(1, "image"), counted(0, "image")) == ("1 image", "0 images")
    assert (dollars(Decimal("0.0035")), dollars(Decimal(3))) == ("0.0035", "3.00")
