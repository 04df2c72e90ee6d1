"""One row at a time: defaults, every rule, and what a rejection says."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts.errors import RuleViolation
from wan_pipeline.prompts.fields import parse_integer
from wan_pipeline.prompts.prompt import Prompt, RawRow, Rejection
from wan_pipeline.prompts.validate import AcceptedRow, validate_row


def accept(*, truncate: bool = False, extra: dict[str, Any] | None = None, **known: Any) -> Prompt:
    """The prompt of a row that has to be good."""
    row = RawRow(row=1, known={"prompt": "a kite", **known}, extra=extra or {})
    result = validate_row(row, file="set.csv", truncate=truncate)
    assert isinstance(result, AcceptedRow), result
    return result.prompt


def reject(extra: dict[str, Any] | None = None, **known: Any) -> list[Rejection]:
    """The rejections of a row that has to be bad."""
    row = RawRow(row=7, known={"prompt": "a kite", **known}, extra=extra or {})
    result = validate_row(row, file="set.csv")
    assert isinstance(result, tuple)
    assert result
    return list(result)


def test_defaults() -> None:
    """A bare prompt gets the API page's defaults, but one image instead of four."""
    prompt = accept()
    assert (prompt.size, prompt.n, prompt.seed, prompt.replicas) == ("1280*1280", 1, None, 1)
    assert (prompt.prompt_extend, prompt.watermark, prompt.negative_prompt) == (True, False, "")
    assert prompt.prompt_columns == "{}"


@pytest.mark.parametrize("missing", [None, "", "  ", math.nan, "NaN", "null", "<NA>", "None"])
@pytest.mark.parametrize("column", ["size", "n", "seed", "replicas", "prompt_extend", "watermark"])
def test_missing_values_are_defaults(column: str, missing: Any) -> None:
    """Whatever data frames write for "no value" is the default."""
    assert accept(**{column: missing}) == accept()


@pytest.mark.parametrize("value", [3, 3.0, "3", " 3 ", "3.0", "3.", "003", "+3", Decimal("3.0")])
def test_whole_numbers(value: Any) -> None:
    """Numbers that passed through a spreadsheet or a data frame are still whole numbers."""
    assert accept(n=value, seed=value).n == 3


@pytest.mark.parametrize(
    "value",
    [
        *(7.5, "7.5", "1e400", "1e2", math.inf, -math.inf, "inf", True, False, "seven", "1,000"),
        *([1], -1, "-1", 2**31, str(2**31), 10**400, "9" * 5000, Decimal("Infinity")),
    ],
)
def test_bad_seeds(value: Any) -> None:
    """What is no whole number from 0 to 2147483647 is refused with that rule."""
    (rejection,) = reject(seed=value)
    assert rejection.column == "seed"
    assert rejection.rule == "seed is a whole number from 0 to 2147483647"
    assert rejection.remedy


@pytest.mark.parametrize(
    ("column", "low", "high"), [("n", 1, 4), ("seed", 0, 2147483647), ("replicas", 1, 1000)]
)
def test_ranges(column: str, low: int, high: int) -> None:
    """Both ends of a range are inside it, their neighbours are not."""
    assert getattr(accept(**{column: low}), column) == low
    assert getattr(accept(**{column: str(high)}), column) == high
    assert reject(**{column: low - 1})[0].column == column
    assert reject(**{column: high + 1})[0].column == column


@settings(deadline=None)
@given(st.integers() | st.floats() | st.text(max_size=40) | st.booleans() | st.none())
def test_integer_parsing_never_crashes(value: Any) -> None:
    """Any value is a number in range, missing, or a violation."""
    try:
        number = parse_integer(value, name="seed", low=0, high=100)
    except RuleViolation:
        return
    assert number is None or 0 <= number <= 100


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(0, 5), st.sampled_from(["", ".", ".0", ".000"]))
def test_integer_spellings(number: int, zeros: int, tail: str) -> None:
    """Leading zeros and an empty fraction do not change a number."""
    text = " " + "0" * zeros + str(number) + tail
    assert parse_integer(text, name="seed", low=0, high=2**31) == number


@pytest.mark.parametrize("value", [True, "true", "TRUE", " Yes ", "1", 1, 1.0, "1.0"])
def test_true(value: Any) -> None:
    """Every spelling of true."""
    assert accept(watermark=value).watermark is True


@pytest.mark.parametrize("value", [False, "false", "False", "no", "0", 0, 0.0])
def test_false(value: Any) -> None:
    """Every spelling of false."""
    assert accept(prompt_extend=value).prompt_extend is False


@pytest.mark.parametrize("value", ["maybe", 2, "2", "t", [True], math.inf])
def test_not_a_boolean(value: Any) -> None:
    """Anything else is refused."""
    assert reject(watermark=value)[0].rule == "watermark is true or false"


@pytest.mark.parametrize(
    "text", ["x" * 2000, "山" * 2000, " leading and trailing ", "two\r\nlines"]
)
def test_prompts_are_kept_as_written(text: str) -> None:
    """A prompt of 1 to 2000 characters is not touched, not even its white space."""
    assert accept(prompt=text).prompt == text


@pytest.mark.parametrize("value", ["\u200b", "\ufeff", " \u200b\u2060\t\ufeff", "\u200d\u200f"])
def test_prompts_in_which_nothing_can_be_seen_are_empty(value: str) -> None:
    """They would be paid for; what joins letters is fine between them."""
    assert reject(prompt=value)[0].rule == "prompt is not empty"
    assert accept(prompt=f"a{value}b").prompt == f"a{value}b"


@pytest.mark.parametrize("value", [None, "", "   ", "\n\t", "\u3000", math.nan])
def test_empty_prompts(value: Any) -> None:
    """A prompt of nothing but white space is no prompt."""
    assert reject(prompt=value)[0].rule == "prompt is not empty"


@pytest.mark.parametrize("value", [42, 4.2, True, ["a kite"], b"a kite"])
def test_prompts_are_text(value: Any) -> None:
    """A prompt of another type is refused, not converted."""
    assert reject(prompt=value)[0].rule == "prompt is text"


@pytest.mark.parametrize(("column", "limit"), [("prompt", 2000), ("negative_prompt", 500)])
def test_long_texts(column: str, limit: int) -> None:
    """One character too many is refused, or cut when that was asked for, and then recorded."""
    text = "山" * (limit + 1)
    (rejection,) = reject(**{column: text})
    assert str(limit) in rejection.rule
    assert rejection.value is not None
    assert len(rejection.value) == 200
    row = RawRow(row=1, known={"prompt": "a kite", column: text}, extra={})
    result = validate_row(row, file="set.csv", truncate=True)
    assert isinstance(result, AcceptedRow)
    assert getattr(result.prompt, column) == text[:limit]
    assert result.truncated == (column,)


def test_truncation_leaves_short_texts_alone() -> None:
    """Nothing is recorded as cut that was not."""
    row = RawRow(row=1, known={"prompt": " a kite ", "negative_prompt": " "}, extra={})
    result = validate_row(row, file="set.csv", truncate=True)
    assert isinstance(result, AcceptedRow)
    assert result.truncated == ()


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("column", ["prompt", "negative_prompt", "prompt_id"])
def test_text_no_file_can_hold(column: str, text: str) -> None:
    """NUL and lone surrogates are refused, and shown in a form that can be stored."""
    (rejection,) = reject(**{column: text})
    assert rejection.column == column
    assert rejection.value is not None
    rejection.value.encode()
    assert "\0" not in rejection.value


def test_every_violation_is_named() -> None:
    """A row with several mistakes is fixed in one go."""
    columns = {r.column for r in reject(prompt="", n=9, seed="x", size="tiny", watermark="?")}
    assert columns == {"prompt", "n", "seed", "size", "watermark"}


def test_a_rejection_says_where() -> None:
    """File, row and value are there to find it."""
    (rejection,) = reject(n="9")
    assert (rejection.file, rejection.row, rejection.value) == ("set.csv", 7, "9")


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [("kite", "kite"), (" 007 ", "007"), (17, "17"), (17.0, "17"), ("山", "山")],
)
def test_given_ids(given_id: Any, kept: str) -> None:
    """An id of one's own is kept, without outer spaces."""
    assert accept(prompt_id=given_id).prompt_id == kept


@pytest.mark.parametrize("given_id", ["x" * 201, "a\nb", True, ["a"], 1.5])
def test_bad_ids(given_id: Any) -> None:
    """An id has to be short and printable."""
    assert reject(prompt_id=given_id)[0].column == "prompt_id"


def test_extra_columns_are_untouched() -> None:
    """Text stays text, numbers stay exact, nesting stays nested."""
    extra = {"sku": "007", "Stil": " é ", "big": 12345678901234567890, "tags": ["a", {"b": None}]}
    assert accept(extra=extra).prompt_columns == (
        '{"Stil":" é ","big":12345678901234567890,"sku":"007","tags":["a",{"b":null}]}'
    )


def test_missing_numbers_in_extra_columns_are_null() -> None:
    """JSON has no NaN; a data frame's "no value" becomes its null."""
    assert accept(extra={"price": math.nan}).prompt_columns == '{"price":null}'


@pytest.mark.parametrize("value", [math.inf, "a\ud800", [[math.inf]], object()])
def test_extra_values_that_json_cannot_hold(value: Any) -> None:
    """They are refused by the name of their column."""
    (rejection,) = reject(extra={"fine": "yes", "odd": value})
    assert rejection.column == "odd"
