"""The columns without a meaning for us, as one JSON text per row.

Text and numbers stay what they are. What Parquet has and JSON has not becomes text: times in
ISO 8601, decimals in digits, bytes in base64. NaN, the "no value" of data frames, becomes null.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import cast

from wan_pipeline.prompts.canonical import canonical_json
from wan_pipeline.prompts.errors import RuleViolation

__all__ = ["columns_json"]


def columns_json(columns: Mapping[str, object]) -> str:
    """Return the canonical JSON object of `columns`.

    Raises:
        RuleViolation: a value that JSON or UTF-8 cannot hold.
    """
    if not columns:
        return "{}"
    try:
        # Cells of CSV and TSV are all text and need no conversion.
        if not all(type(value) is str for value in columns.values()):
            columns = {name: _json_value(value) for name, value in columns.items()}
        text = canonical_json(columns)
        text.encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        raise RuleViolation(
            "extra columns hold valid Unicode text and no deep nesting",
            "save the file as UTF-8 and check this value",
        ) from None
    return text


def _json_value(value: object) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): _json_value(item) for key, item in items}
    if isinstance(value, date | time | timedelta | Decimal | bytes):
        return _text(value)
    if isinstance(value, Sequence):
        return [_json_value(item) for item in cast("Sequence[object]", value)]
    raise RuleViolation(
        f"extra columns hold text, numbers, times or lists; this is {type(value).__name__}",
        "convert the column to text, or remove it",
    )


def _text(value: date | time | timedelta | Decimal | bytes) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)


def _number(value: float) -> float | None:
    if math.isinf(value):
        raise RuleViolation(
            "numbers in extra columns are finite", "write a smaller number, or put it in quotes"
        )
    return None if math.isnan(value) else value
