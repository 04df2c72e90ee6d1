"""What every exchange has in common on the wire: trusted certificates, and bodies sent plain."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import ssl

__all__ = ["is_plain", "tls_context"]


@cache
def tls_context() -> ssl.SSLContext:
    """The context that httpx makes, shared by every client of this process.

    Reading the certificates takes longer than a request.
    """
    return httpx.create_ssl_context()


def is_plain(response: httpx.Response) -> bool:
    """Whether a body travels as it is, without any Content-Encoding.

    We ask for plain bodies only. Encodings may be nested, and undoing the outer one can fill the
    memory before any bound on length is looked at.
    """
    encodings = response.headers.get("content-encoding", "").split(",")
    return all(each.strip().casefold() in ("", "identity") for each in encodings)
