"""Single values: how a cell of a prompt table becomes text, a whole number or a yes/no.

Cells come as text (CSV, TSV) or typed (JSONL, Parquet). Nothing here knows rows or files, and
each function either returns a value, returns None for "not given", or raises `RuleViolation`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal

from wan_pipeline.prompts.errors import RuleViolation

__all__ = ["is_blank", "is_missing", "is_not_given", "parse_boolean", "parse_integer", "parse_text"]

_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,18})(?:\.0*)?")
#: What spreadsheets and data frames write for "no value" in a column of numbers.
_MISSING_WORDS = frozenset({"", "nan", "na", "n/a", "<na>", "nat", "none", "null"})
#: Control and format characters (U+200B, U+FEFF, direction marks) by their Unicode category.
_INVISIBLE = frozenset({"Cc", "Cf"})
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "0", "0.0"), False),
}


def is_missing(value: object) -> bool:
    """Whether `value` means "not given": None, NaN, or text of nothing but white space."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def is_not_given(value: object) -> bool:
    """Whether a cell of any column but the texts is empty, in any tool's word for it."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in _MISSING_WORDS)


def is_blank(text: str) -> bool:
    """Whether nothing in `text` can be seen: white space and characters without a width only."""
    return all(each.isspace() or unicodedata.category(each) in _INVISIBLE for each in text)


def parse_text(value: object, *, name: str, limit: int, truncate: bool = False) -> str | None:
    """Return the text as it is, white space included, or None when there is none.

    Args:
        value: the cell.
        name: column name for the message.
        limit: most characters (Unicode code points) allowed.
        truncate: cut longer text at `limit` instead of refusing it.

    Raises:
        RuleViolation: not text, not valid Unicode, or too long.
    """
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise RuleViolation(f"{name} is text", "write it as text, in JSON within double quotes")
    _check_characters(value, name=name)
    if len(value) > limit and not truncate:
        raise RuleViolation(
            f"{name} has at most {limit} characters; this has {len(value)}, and the provider "
            "would silently cut it",
            "shorten it, or set WAN_TRUNCATE_PROMPTS=1, which cuts it as the provider would",
        )
    return value[:limit]


def _check_characters(value: str, *, name: str) -> None:
    """Raise `RuleViolation` for text that no UTF-8 file can hold, or that holds a NUL."""
    if "\0" in value:
        raise RuleViolation(f"{name} has no NUL characters", "remove them")
    if value.isascii():
        return
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RuleViolation(
            f"{name} is valid Unicode text", "save the file as UTF-8 and check this row"
        ) from None


def parse_integer(value: object, *, name: str, low: int, high: int) -> int | None:
    """Return a whole number between `low` and `high`, or None when it is not given.

    ``7``, ``" 7 "``, ``7.0`` as text or number are all seven. Booleans are not numbers.

    Raises:
        RuleViolation: not a whole number, or out of range.
    """
    if is_not_given(value):
        return None
    rule = f"{name} is a whole number from {low} to {high}"
    number = _whole_number(value)
    if number is None:
        raise RuleViolation(rule, "write it in plain digits, or leave it empty for the default")
    if not low <= number <= high:
        raise RuleViolation(rule, f"choose a number from {low} to {high}")
    return number


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float | Decimal):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, str):
        match = _INTEGER.fullmatch(value.strip())
        return int(match[1] + match[2]) if match else None
    return None


def parse_boolean(value: object, *, name: str) -> bool | None:
    """Return a yes/no value, or None when it is not given.

    Raises:
        RuleViolation: none of true, false, yes, no, 1, 0 (case does not matter).
    """
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value)
    if is_not_given(value):
        return None
    if isinstance(value, str | int | float) and word in _BOOLEANS:
        return _BOOLEANS[word]
    raise RuleViolation(
        f"{name} is true or false", "write true or false, or leave it empty for the default"
    )
