"""Tolerant reading of JSON from outside: every function takes anything and raises nothing.

The shapes are those seen in vendors' clients and documents: errors in five shapes, costs as
string, number, empty or null, times in seconds or milliseconds.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from wan_pipeline.wan.answers import ApiError, ErrorKind

__all__ = [
    "as_mapping",
    "as_sequence",
    "as_text",
    "clean_text",
    "parse_json",
    "read_cost",
    "read_error",
    "read_fraction",
    "read_time",
    "unreadable_cost",
    "write_json",
]

MAX_TEXT = 2000
MILLISECONDS_FROM = 10**11  # as seconds this is the year 5138; every millisecond time is above it
MAX_COST = Decimal(10_000)  # USD; a task is a few cents, anything above is not a cost
COST_STEP = Decimal("1e-9")
MOST_TOLD = 80  # characters of a cost that cannot be read
_DOLLARS = re.compile(r"(?:US\s?\$|USD|\$)\s*", re.IGNORECASE)
_CONTROLS = dict.fromkeys(
    [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"], "\ufffd"
)
_SUCCESS_CODES = frozenset({"", "0", "ok", "success"})

_KIND_BY_CODE = {
    # Balance and credit. 40201 to 40208 is the gateway's balance family, 40200 generic.
    **{str(code): ErrorKind.NO_CREDIT for code in range(40200, 40209)},
    "402": ErrorKind.NO_CREDIT,
    "arrearage": ErrorKind.NO_CREDIT,
    "allocationquota.freetieronly": ErrorKind.NO_CREDIT,
    "insufficientbalance": ErrorKind.NO_CREDIT,
    "insufficient_balance": ErrorKind.NO_CREDIT,
    "insufficient_credits": ErrorKind.NO_CREDIT,
    # Key.
    "401": ErrorKind.BAD_KEY,
    "invalidapikey": ErrorKind.BAD_KEY,
    "invalid_api_key": ErrorKind.BAD_KEY,
    "unauthorized": ErrorKind.BAD_KEY,
    # Permission and model.
    "403": ErrorKind.FORBIDDEN,
    "accessdenied": ErrorKind.FORBIDDEN,
    "accessdenied.unpurchased": ErrorKind.FORBIDDEN,
    "model.accessdenied": ErrorKind.FORBIDDEN,
    "forbidden": ErrorKind.FORBIDDEN,
    "modelnotfound": ErrorKind.MISSING_MODEL,
    "model_not_found": ErrorKind.MISSING_MODEL,
    # Moderation.
    "110001": ErrorKind.MODERATION,
    "datainspectionfailed": ErrorKind.MODERATION,
    "invalidparameter.datainspection": ErrorKind.MODERATION,
    "content_blocked": ErrorKind.MODERATION,
    # Pace.
    "429": ErrorKind.THROTTLED,
    "1002": ErrorKind.THROTTLED,
    "rate_limit_exceeded": ErrorKind.THROTTLED,
    # Parameters.
    "400": ErrorKind.INVALID,
    "422": ErrorKind.INVALID,
    "invalidparameter": ErrorKind.INVALID,
    "request_invalid": ErrorKind.INVALID,
}


def parse_json(body: bytes) -> object:
    """The body as JSON, or None when it is not JSON (a proxy's HTML page, a cut answer).

    Python reads NaN and Infinity, and JSON knows neither: they become a
    `_NoNumber`, which every reader takes for null but `unreadable_cost`.
    """
    try:
        return json.loads(body, parse_constant=_NoNumber, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def write_json(value: object) -> str:
    """A value that `parse_json` read, as JSON text; empty when it is nested too deeply."""
    try:
        return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True, default=_as_null))
    except RecursionError:
        return ""


def clean_text(text: str) -> str:
    """Text that any database, file and terminal can take.

    No lone surrogates, and no control characters but line feed and tab: the others, an escape
    sequence's first byte among them, become a visible replacement character.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def as_mapping(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_sequence(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Strings and numbers as bounded text; everything else as nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return clean_text(str(value)[:MAX_TEXT])


def read_cost(value: object) -> Decimal | None:
    """USD as exact Decimal with at most 9 places; None when absent, empty or no amount.

    A sign of the dollar before it is read. A comma is not: it may stand before cents or thousands.
    """
    text = as_text(value).strip()
    if (dollars := _DOLLARS.match(text)) is not None:
        text = text[dollars.end() :]
    if not text:
        return None
    try:
        cost = Decimal(text)
    except InvalidOperation:
        return None
    if not cost.is_finite() or not 0 <= cost <= MAX_COST:
        return None
    return cost.quantize(COST_STEP)


def unreadable_cost(value: object) -> str:
    """What stands where a cost should be and is none, in one line; empty when nothing does."""
    if value is None or read_cost(value) is not None:
        return ""
    if isinstance(value, _NoNumber):
        value = value.text
    text = as_text(value) or ("" if isinstance(value, str) else write_json(value))
    return " ".join(text.split())[:MOST_TOLD]


def read_time(value: object) -> datetime | None:
    """Seconds or milliseconds since 1970, told apart by magnitude, as UTC."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        seconds = value / 1000 if value >= MILLISECONDS_FROM else value
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def read_fraction(value: object) -> float | None:
    """A progress from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def read_error(document: dict[str, Any]) -> ApiError | None:
    """The error of an answer in any of its shapes, or None.

    Shapes: ``error`` as string, as ``{code, message}`` with a text or a number as code, as
    ``{code, error_message}``; top-level ``code`` and ``message``; ``{"detail": ...}``; the
    envelope ``{"status": {code, message, error_code}, "data": null}``.
    """
    error = document.get("error")
    if isinstance(error, str) and error:
        return _error("", error)
    if isinstance(error, dict) and error:
        return _error_from(as_mapping(error))
    status = document.get("status")
    if isinstance(status, dict):
        envelope = as_mapping(status)
        if _is_success(envelope.get("code")):
            return None
        code = as_text(envelope.get("error_code")) or as_text(envelope.get("code"))
        return _error(code, as_text(envelope.get("message")))
    named = "message" in document or "error_message" in document
    if named and not _is_success(document.get("code")):
        return _error_from(document)
    detail = document.get("detail")
    if isinstance(detail, str) and detail:
        return _error("", detail)
    if detail:
        return _error("", write_json(detail))
    return None


def _is_success(code: object) -> bool:
    """Whether a code says that all is well, as enveloped answers do."""
    text = as_text(code).casefold()
    return text in _SUCCESS_CODES or (len(text) == 3 and text.isdecimal() and text[0] == "2")


@dataclass(frozen=True, slots=True)
class _NoNumber:
    """What stands for a number and is none: NaN, Infinity, or one that no float holds."""

    text: str

    def __bool__(self) -> bool:
        return False


def _as_null(_value: object) -> None:
    """How JSON writes a `_NoNumber`."""


def _finite(text: str) -> float | _NoNumber:
    value = float(text)
    return value if math.isfinite(value) else _NoNumber(text)


def _error_from(fields: dict[str, Any]) -> ApiError:
    message = as_text(fields.get("message")) or as_text(fields.get("error_message"))
    return _error(as_text(fields.get("code")), message)


def _error(code: str, message: str) -> ApiError:
    kind = _KIND_BY_CODE.get(code.casefold(), ErrorKind.OTHER)
    if kind is ErrorKind.OTHER and code.casefold().startswith("throttling"):
        kind = ErrorKind.THROTTLED
    message = clean_text(message[:MAX_TEXT]) or "no message given"
    return ApiError(code=code, message=message, kind=kind)
