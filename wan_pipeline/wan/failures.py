"""What went wrong with an exchange, in words that a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from wan_pipeline.wan.client import Timeouts

__all__ = ["UnreadableAnswerError", "failure_told"]

_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ProxyError, "the proxy refused"),
    (httpx.UnsupportedProtocol, "the URL cannot be asked"),
    (httpx.ConnectError, "no connection could be made"),
    (httpx.NetworkError, "the connection broke before the answer"),
    (httpx.RemoteProtocolError, "no whole answer came"),
    (httpx.DecodingError, "the answer could not be read"),
)


class UnreadableAnswerError(Exception):
    """An answer that no API of this kind gives."""


def failure_told(error: Exception, bounds: Timeouts, *, read_s: float, total_s: float) -> str:
    """Why an exchange brought no answer; the library's own words follow where it has any.

    Args:
        error: what httpx, the total bound or the reading of the answer raised.
        bounds: which the exchange had.
        read_s: longest silence while the answer was awaited.
        total_s: longest time of the whole exchange.
    """
    match error:
        case httpx.ConnectTimeout():
            return f"no connection within {bounds.connect_s:g} s"
        case httpx.PoolTimeout():
            return f"no free connection within {bounds.pool_s:g} s"
        case httpx.WriteTimeout():
            return f"the request could not be sent within {bounds.write_s:g} s"
        case httpx.ReadTimeout():
            return f"no answer within {read_s:g} s"
        case TimeoutError():
            return f"no whole answer within {total_s:g} s"
        case UnreadableAnswerError():
            return f"the answer could not be read: {error}"
        case _:
            told = next((words for kind, words in _KINDS if isinstance(error, kind)), None)
            said = str(error).rstrip(" .")
            return ": ".join(filter(None, (told or "the exchange failed", said)))
