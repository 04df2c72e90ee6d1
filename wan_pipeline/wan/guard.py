"""Where downloads may connect to.

A result URL comes from outside. It may name any host, and its host may resolve to an address in
our own network; so the check is made on the resolved address, at the moment of connecting, for
the first URL and for every redirect alike.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, cast

import httpcore
import httpx

from wan_pipeline.wan.errors import ForbiddenUrlError
from wan_pipeline.wan.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PublicAddressTransport", "is_loopback_url", "is_public_address"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_loopback_url(url: str) -> bool:
    """Whether a URL names this machine by a loopback address or as localhost."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public_address(address: str) -> bool:
    """Whether a resolved address is a host of the public internet.

    An IPv6 address that wraps an IPv4 one (mapped, 6to4, NAT64) is as public as that one.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        found = found.ipv4_mapped or found.sixtofour or nat64 or found
    return found.is_global and not found.is_multicast


class _PublicAddressBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self) -> None:
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, then connect to the address that was checked."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"cannot resolve {host}: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not is_public_address(address):
                raise ForbiddenUrlError(
                    f"the result's host {host} resolves to {address}, which is not a public"
                    " address; it is not fetched. Ask the provider for a public URL"
                )
        failure: Exception = httpcore.ConnectError(f"no address for {host}")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """No result lies behind a local socket."""
        raise ForbiddenUrlError(f"{path} is a local socket; it is not fetched")

    async def sleep(self, seconds: float) -> None:
        """As the default backend does."""
        await self._backend.sleep(seconds)


class PublicAddressTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool that connects to public addresses only."""

    def __init__(self, *, limits: httpx.Limits) -> None:
        super().__init__(verify=tls_context(), limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_PublicAddressBackend(),
        )
