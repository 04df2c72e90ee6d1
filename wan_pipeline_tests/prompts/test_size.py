"""The ``size`` column: what may be written there, and the API page's limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts.errors import RuleViolation
from wan_pipeline.prompts.size import MAX_PIXELS, MIN_PIXELS, PRESETS, parse_size


@pytest.mark.parametrize(
    "text",
    [
        "1280*1280",
        "1280x1280",
        "1280X1280",
        "1280×1280",
        " 1280 * 1280 ",
        "１２８０＊１２８０",  # noqa: RUF001
        "01280*1280",
        "1:1",
        " 1 : 1 ",
        "1：1",  # noqa: RUF001
    ],
)
def test_spellings_of_one_size(text: str) -> None:
    """Every accepted way to write a size gives the API's way to write it."""
    assert parse_size(text) == "1280*1280"


@pytest.mark.parametrize(("ratio", "size"), PRESETS.items())
def test_presets_are_valid_by_ratio_and_by_size(ratio: str, size: str) -> None:
    """The page's recommendations are valid although most are under its own minimum."""
    assert parse_size(ratio) == parse_size(size) == size


@pytest.mark.parametrize(
    "size", ["768*2700", "2560*640", "640*2560", "2880*720", "1440*1440", "1280*1620"]
)
def test_sizes_at_the_limits(size: str) -> None:
    """The limits themselves are allowed."""
    assert parse_size(size) == size


@pytest.mark.parametrize(
    ("size", "rule"),
    [
        ("1280*1279", "between 1280*1280 and 1440*1440"),
        ("1441*1440", "between 1280*1280 and 1440*1440"),
        ("1104*1471", "between 1280*1280 and 1440*1440"),
        ("639*2565", "between 1:4 and 4:1"),
        ("0*0", "between 1280*1280 and 1440*1440"),
        ("2:1", "a ratio is one of"),
        ("1280", "width*height"),
        ("1280*", "width*height"),
        ("-1280*1280", "width*height"),
        ("1280*1280*1", "width*height"),
        ("1280.0*1280", "width*height"),
        ("large", "width*height"),
        ("9" * 5000 + "*1", "width*height"),
    ],
)
def test_bad_sizes_name_the_rule_and_a_remedy(size: str, rule: str) -> None:
    """A size outside the rules is refused with the rule and an example to copy."""
    with pytest.raises(RuleViolation) as caught:
        parse_size(size)
    assert rule in caught.value.rule
    assert "*" in caught.value.remedy


@settings(deadline=None)
@given(st.integers(0, 4000), st.integers(0, 4000))
def test_the_rule_for_any_two_numbers(width: int, height: int) -> None:
    """A size is accepted exactly when it is a preset or keeps both limits."""
    size = f"{width}*{height}"
    pixels = width * height
    good = size in PRESETS.values() or (
        MIN_PIXELS <= pixels <= MAX_PIXELS and width <= 4 * height and height <= 4 * width
    )
    try:
        assert parse_size(size) == size
    except RuleViolation:
        assert not good
    else:
        assert good


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_violation(text: str) -> None:
    """No text crashes the parser, and what it accepts it accepts again unchanged."""
    try:
        size = parse_size(text)
    except RuleViolation:
        return
    assert parse_size(size) == size
