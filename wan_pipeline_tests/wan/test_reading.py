"""Words of a provider before anybody keeps or shows them."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.wan.dialects.reading import clean_text, read_error
from wan_pipeline.wan.errors import AccountStopError, StopReason


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("line\n\ttab, 清晨 \N{ROCKET}", "line\n\ttab, 清晨 \N{ROCKET}"),
        ("\x1b[2J\x1b]0;title\x07", "\ufffd[2J\ufffd]0;title\ufffd"),
        ("a\x9b31mb\x7f\0", "a\ufffd31mb\ufffd\ufffd"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\ud800", "?"),
    ],
    ids=["text", "escape sequences", "C1, DEL and NUL", "line ends", "lone surrogate"],
)
def test_controls_become_visible(text: str, cleaned: str) -> None:
    """A terminal must not obey a provider."""
    assert clean_text(text) == cleaned


@given(st.text() | st.text(st.characters(categories=["Cc", "Cs", "Zs"])))
def test_cleaned_text_has_no_controls_and_stays_as_it_is(text: str) -> None:
    """Whatever comes; and cleaning twice changes nothing."""
    cleaned = clean_text(text)
    assert {unicodedata.category(c) for c in cleaned if c not in "\n\t"}.isdisjoint({"Cc", "Cs"})
    assert clean_text(cleaned) == cleaned
    cleaned.encode()


def test_json_stays_json() -> None:
    """An answer with line ends of another system is kept readable."""
    assert json.loads(clean_text('{\r\n  "id":\r"x"\r\n}')) == {"id": "x"}


def test_error_of_a_provider_is_cleaned() -> None:
    """Code and message alike."""
    error = read_error({"error": {"code": "\x1b[1mE", "message": "\x1b[31mred"}})
    assert error is not None
    assert "\x1b" not in str(error)


def test_a_stop_ends_its_sentence_once() -> None:
    """Whether or not the provider ended its own."""
    for detail in ("status 402", "status 402, top up."):
        text = str(AccountStopError(StopReason.NO_CREDIT, detail))
        assert ". What to do: " in text
        assert ".. " not in text
