"""The open connections of the server, so that a fault can cut one.

An ASGI application cannot reset its connection; the server's protocol class can, and this table
lets the two meet.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Connections"]

_NO_LINGER = struct.pack("ii", 1, 0)


class Connections:
    """Transports by the address of their client."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    async def reset(self, request: Request) -> None:
        """Cut the connection of a request with a TCP reset, whatever was sent on it so far."""
        client = request.client
        transport = self._transports.get((client.host, client.port)) if client else None
        if transport is None:
            raise RuntimeError("this connection is not in the table; start the app with serve()")
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
        # The transport tells its protocol in the next turn of the loop; only then does the
        # server know that nothing more can be sent.
        await asyncio.sleep(0)

    def protocol(self) -> type[asyncio.Protocol]:
        """A protocol class for uvicorn that keeps this table."""
        transports = self._transports

        class TrackedProtocol(H11Protocol):
            """HTTP/1.1 as uvicorn speaks it, with its transport on record."""

            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                transports[_peer(transport)] = transport
                self.tracked = _peer(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.tracked, None)
                super().connection_lost(exc)

        return TrackedProtocol


def _peer(transport: asyncio.Transport) -> tuple[str, int]:
    host, port, *_ = cast("tuple[str, int]", transport.get_extra_info("peername"))
    return host, port
