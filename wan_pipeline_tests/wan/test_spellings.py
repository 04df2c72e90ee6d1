"""Which spellings of a key are recognised, whatever the key and whatever stands around it."""

from __future__ import annotations

import base64
import html
import json
import string
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wan_pipeline.wan.spellings import every_spelling

if TYPE_CHECKING:
    from collections.abc import Callable

PRINTABLE = string.ascii_letters + string.digits + string.punctuation
KEYS = st.text(PRINTABLE, min_size=8, max_size=40)
MODES = ("upper", "lower", "swapcase")


def percent(key: str) -> str:
    """Every character of it."""
    return "".join(f"%{ord(each):02X}" for each in key)


def entities(key: str) -> str:
    """Every character as a decimal entity."""
    return "".join(f"&#{ord(each)};" for each in key)


def named(key: str) -> str:
    """What has a name by its name."""
    names = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "/": "sol", "+": "plus"}
    return "".join(f"&{names[each]};" if each in names else each for each in key)


ESCAPES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON of JSON": lambda key: json.dumps(json.dumps(key))[3:-3],
    "JSON with slashes": lambda key: json.dumps(key)[1:-1].replace("/", r"\/"),
    "code points": lambda key: "".join(f"\\u{ord(each):04X}" for each in key),
    "Python": lambda key: "".join(f"\\x{ord(each):02x}" for each in key),
    "URL": lambda key: quote(key, safe=""),
    "URL twice": lambda key: quote(quote(key, safe=""), safe=""),
    "URL thrice": lambda key: quote(quote(percent(key))),
    "URL whole": percent,
    "HTML": html.escape,
    "HTML twice": lambda key: html.escape(html.escape(key)),
    "HTML decimal": entities,
    "HTML decimal, escaped": lambda key: html.escape(entities(key)),
    "HTML hexadecimal": lambda key: "".join(f"&#x{ord(each):04X};" for each in key),
    "HTML named": named,
    "HTML in JSON of Go": lambda key: json.dumps(html.escape(key))[1:-1].replace("&", "\\u0026"),
    "hexadecimal": lambda key: key.encode().hex(),
}


@pytest.mark.parametrize("way", ESCAPES)
@settings(max_examples=25)
@given(key=KEYS, before=st.text(max_size=9), after=st.text(max_size=9))
@example(key="0000\\'000", before="", after="")  # both escapes begin with backslashes
def test_escaped_key_is_recognised_in_any_letter_case(
    way: str, key: str, before: str, after: str
) -> None:
    """Wherever it stands."""
    spelled, pattern = ESCAPES[way](key), every_spelling(key)
    for each in (spelled, *(getattr(spelled, mode)() for mode in MODES)):
        text = f"{before} {each} {after}".encode()
        blanked = pattern.sub(b"", text)
        assert each.encode() not in blanked or each.encode() in f"{before}  {after}".encode()
        assert len(blanked) <= len(text) - len(each.encode())


@given(
    key=KEYS,
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
    is_url_safe=st.booleans(),
    is_padded=st.booleans(),
)
def test_key_in_base64_is_recognised_at_every_alignment(
    key: str, before: bytes, after: bytes, is_url_safe: bool, is_padded: bool
) -> None:
    """Nothing that is left decodes to a character of the key."""
    encode = base64.urlsafe_b64encode if is_url_safe else base64.b64encode
    told = encode(before + key.encode() + after).decode()
    told = told if is_padded else told.rstrip("=")
    for text in (told, json.dumps(told).replace("/", r"\/"), quote(told, safe="")):
        found = every_spelling(key).search(text.encode())
        assert found is not None, text
        left = len(text) - len(found.group())
        around = len(quote(encode(before))) + len(quote(encode(after))) + 2
        assert left <= around + 8


@settings(max_examples=25)
@given(key=KEYS)
def test_bearer_and_key_in_base64(key: str) -> None:
    """As a basic-auth reading of the header would quote it."""
    told = base64.b64encode(f"Bearer {key}".encode())
    blanked = every_spelling(key).sub(b"[API key]", told)
    assert blanked.startswith(b"QmVhcmVyI")
    assert blanked.endswith(b"[API key]")


@settings(max_examples=25)
@given(key=KEYS, text=st.text(PRINTABLE, max_size=200))
def test_other_text_is_left_alone(key: str, text: str) -> None:
    """Only what holds the key is taken out."""
    spoken = text.replace(key, "")
    pattern = every_spelling("sk-" + "q7" * 16 + key)
    assert pattern.sub(b"", spoken.encode()) == spoken.encode()


@pytest.mark.parametrize("filler", ["a", "\\", "%25", "&amp;", "sk", "\\u0073", "c2s"])
def test_longest_answer_takes_no_noticeable_time(filler: str) -> None:
    """Whatever a server fills it with: time grows with its length, and no faster."""
    pattern, unit = every_spelling('sk\\recognisable+"7f3a=91/c2&'), filler.encode()
    seconds = list[float]()
    for length in (100_000, 1_000_000):
        body, began = unit * (length // len(unit)), time.process_time()
        pattern.sub(b"", body)
        seconds.append(time.process_time() - began)
    assert seconds[1] < max(40 * seconds[0], 0.5)
