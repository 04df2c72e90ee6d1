"""One call and one reply as plain values, so that dialects need no HTTP library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ApiCall", "ApiReply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """What to send. `path` is relative to the profile's base URL."""

    method: Literal["GET", "POST"]
    path: str
    json: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiReply:
    """What came back: status, the Retry-After header in seconds if any, the bounded body."""

    status: int
    body: bytes
    retry_after_s: float | None = None
