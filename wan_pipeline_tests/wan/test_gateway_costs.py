"""What a task's answer says of its cost, in every shape that has been seen or may come."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from wan_pipeline.wan.answers import TaskAnswer
from wan_pipeline_tests.wan.polls_fixture import read, task


@pytest.mark.parametrize(
    ("cost", "usd"),
    [
        ("0.06", Decimal("0.06")),
        (0.06, Decimal("0.06")),
        (0.1 + 0.2, Decimal("0.3")),
        (0, Decimal(0)),
        ("0.0357142857142", Decimal("0.035714286")),
        ("1e-2", Decimal("0.01")),
        (" 0.03 ", Decimal("0.03")),
        ("", None),
        (None, None),
        (-1, None),
        ("-0.03", None),
        ("free", None),
        ("$0.50", Decimal("0.5")),
        ("US$ 0.5", Decimal("0.5")),
        ("usd 0.03", Decimal("0.03")),
        ("$-1", None),
        ("$", None),
        ("$$1", None),
        ("€0.50", None),
        ("0,50", None),
        ("$1,000.00", None),
        (99_999, None),
        (True, None),
        ("NaN", None),
        ("Infinity", None),
        ("1e999999999", None),
        (10**30, None),
        ({}, None),
    ],
)
def test_cost_in_every_shape(cost: Any, usd: Decimal | None) -> None:
    """Exact to the nano-dollar; what is no amount is no cost."""
    assert task(usage={"cost": cost}).cost_usd == usd


@pytest.mark.parametrize("usage", [None, {}, [], "x", {"quantity": 2}, {"cost": " "}])
def test_missing_usage_is_no_cost(usage: Any) -> None:
    """The price table steps in."""
    answer = task(usage=usage)
    assert (answer.cost_usd, answer.cost_told, answer.discount) == (None, "", None)


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        ('"0,50"', "0,50"),
        ('" about\\n a\\tdollar "', "about a dollar"),
        ("-1", "-1"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("99999", "99999"),
        ("true", "true"),
        ('{"usd": 1}', '{"usd": 1}'),
        (f'"{"9" * 300}"', "9" * 80),
        ('"$0.50"', ""),
        ("0", ""),
        ("null", ""),
    ],
)
def test_what_is_no_amount_is_told_in_one_line(cost: str, told: str) -> None:
    """As it stands in the answer, so that a person can read what no machine should guess."""
    answer = read(f'{{"status": "done", "usage": {{"cost": {cost}}}}}'.encode())
    assert isinstance(answer, TaskAnswer)
    assert answer.cost_told == told
    assert (answer.cost_usd is None) == (bool(told) or cost == "null")


@pytest.mark.parametrize(("discount", "text"), [(1, "1"), (0.7, "0.7"), ("0.7", "0.7")])
def test_discount_is_kept_as_received(discount: Any, text: str) -> None:
    """The sources disagree on its meaning."""
    assert task(usage={"discount": discount}).discount == text
