"""The split: exact, the same everywhere, and blind to everything but the prompt id."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.dataset.release.errors import ReleaseUsageError
from wan_pipeline.dataset.release.split import DEFAULT_SPLIT, Split, SplitRatios

IDS = st.text(max_size=40)
KNOWN = {
    "kite": "validation",
    "tea-house": "train",
    "清晨": "test",
    "": "train",
    "a1": "train",
    "a2": "validation",
    "a3": "train",
}
SHARES = st.integers(min_value=0, max_value=10**9)


def test_known_prompts_are_where_they_always_were() -> None:
    """Golden: a change here would move prompts between the sides of every user's releases."""
    ratios = SplitRatios.parse("0.5/0.25/0.25")
    assert {name: ratios.of(name).value for name in KNOWN} == KNOWN


def test_shares_come_out_as_asked_for() -> None:
    """Of many prompts, each side gets its share; the bounds are ten standard deviations wide."""
    sides = Counter(SplitRatios.parse(DEFAULT_SPLIT).of(f"prompt {n}") for n in range(20_000))
    assert abs(sides[Split.TEST] - 1_000) < 310
    assert abs(sides[Split.VALIDATION] - 1_000) < 310


@given(prompt_id=IDS, train=SHARES, validation=SHARES, test=SHARES, factor=st.integers(1, 9))
def test_only_the_proportion_counts(
    prompt_id: str, train: int, validation: int, test: int, factor: int
) -> None:
    """90/5/5 is 0.9/0.05/0.05, to the last bit; a side with nothing gets nothing."""
    if train + validation + test == 0:
        return
    given_as = SplitRatios(train=str(train), validation=str(validation), test=str(test))
    scaled = SplitRatios(
        train=str(train * factor), validation=str(validation * factor), test=str(test * factor)
    )
    side = given_as.of(prompt_id)
    assert scaled.of(prompt_id) is side
    assert int(given_as.as_dict()[side.value]) > 0


@given(prompt_id=IDS)
def test_a_larger_test_side_keeps_what_was_in_it(prompt_id: str) -> None:
    """Growing it moves prompts into it, never out of it."""
    if SplitRatios.parse("0.9/0.05/0.05").of(prompt_id) is Split.TEST:
        assert SplitRatios.parse("0.8/0.05/0.15").of(prompt_id) is Split.TEST


@pytest.mark.parametrize("text", ["80.1234567891/10/9", "0.1/0.2/0.00000000001", "9" * 10 + "/1/1"])
def test_shares_finer_than_is_kept_are_refused_by_name(text: str) -> None:
    """With how fine they may be; nine digits are exact."""
    with pytest.raises(ReleaseUsageError, match="at most 9 digits stand before and after"):
        SplitRatios.parse(text)
    fine = SplitRatios.parse("80.123456789/10/9.876543211")
    assert fine.proportion != SplitRatios.parse("80.123456788/10/9.876543211").proportion
    assert str(fine) == "80.123456789/10/9.876543211"


def test_proportions_are_equal_however_they_are_written() -> None:
    """So that 90/5/5 after 0.9/0.05/0.05 is nothing new."""
    assert SplitRatios.parse("90/5/5").proportion == SplitRatios.parse(DEFAULT_SPLIT).proportion
    assert sum(SplitRatios.parse("80.1/10/10").proportion) == 1


@pytest.mark.parametrize(
    "text",
    ["", "1/1", "1/1/1/1", "-1/1/1", "1e3/1/1", "nan/0/1", "0/0/0", "1/1/x", "9" * 40 + "/1/1"],
)
def test_what_is_no_split_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(ReleaseUsageError):
        SplitRatios.parse(text)
