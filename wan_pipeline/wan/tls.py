"""The certificates we trust, read once: reading them takes longer than a request."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import ssl

__all__ = ["tls_context"]


@cache
def tls_context() -> ssl.SSLContext:
    """The context that httpx makes, shared by every client of this process."""
    return httpx.create_ssl_context()
