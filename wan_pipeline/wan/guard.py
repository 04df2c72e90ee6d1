"""Where downloads may connect to.

A result URL comes from outside. It may name any host, and its host may resolve to an address in
our own network; so the check is made on the resolved address, at the moment of connecting, for
the first URL and for every redirect alike. Behind a proxy of the environment it is the proxy that
resolves and connects: only addresses written in the URL itself can be refused there, and what else
may be reached is for the proxy to decide.

One host may have a private address: that of the API, which a person named and which gets the key.
A provider inside our own network serves its results from there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from wan_pipeline.wan.errors import ConfigurationError, ForbiddenUrlError
from wan_pipeline.wan.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = [
    "LAST_PORT",
    "EnvironmentProxyTransport",
    "PublicAddressTransport",
    "host_of",
    "is_loopback_url",
    "is_public_address",
    "problem_of_origin",
    "usable_proxies",
]

LAST_PORT = 65_535
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_QUOTED = re.compile(r"'.*'", re.DOTALL)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def host_of(url: str) -> str:
    """The host that a URL names, as it is resolved: lower case, ASCII, without brackets."""
    return httpx.URL(url).raw_host.decode("ascii").lower()  # IPv6 keeps its case otherwise


def is_loopback_url(url: str) -> bool:
    """Whether a URL names this machine by a loopback address or as localhost."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def problem_of_origin(text: str) -> str:
    """Why a text is no origin to which a key may be sent; empty when it is one.

    The text itself is never quoted: it may hold a password.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        return f"is no URL: {_unquoted(error)}"
    if url.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    labels = url.raw_host.decode("ascii").removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) and ":" not in url.host:
        return "names no host"
    if url.port is not None and not 0 < url.port <= LAST_PORT:
        return f"has the port {url.port}, and ports end at {LAST_PORT}"
    if url.userinfo:
        return "holds a user name or password, which must not be in it"
    if "?" in text or "#" in text:
        return "has a query or a fragment, and paths are appended to it"
    if "//" in url.path:
        return "has two slashes in its path"
    return ""


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
    """Connects to public addresses only, but for one host's."""

    def __init__(self, api_host: str | None) -> None:
        self._api_host = api_host
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
            if host.lower() != self._api_host and not is_public_address(address):
                raise _not_public(host, address)
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
    """httpx's own transport over a pool that connects to public addresses only.

    Args:
        limits: of the pool.
        api_host: the one host that may have a private address; see `host_of`.
    """

    def __init__(self, *, limits: httpx.Limits, api_host: str | None = None) -> None:
        super().__init__(verify=tls_context(), limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_PublicAddressBackend(api_host),
        )


class EnvironmentProxyTransport(httpx.AsyncBaseTransport):
    """Goes through the proxy that the environment names for a URL, else directly.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are read once. The API's client follows them
    too, so that what can be bought can also be fetched. Loopback addresses never go through one.
    """

    def __init__(
        self,
        *,
        direct: httpx.AsyncBaseTransport,
        limits: httpx.Limits,
        allow_private: bool,
        api_host: str | None = None,
    ) -> None:
        self._direct = direct
        self._allow_private = allow_private
        self._api_host = api_host
        self._proxied: dict[str, httpx.AsyncBaseTransport] = {}
        found = getproxies()
        for scheme in ("http", "https"):
            if proxy := found.get(scheme) or found.get("all"):
                with usable_proxies():
                    self._proxied[scheme] = httpx.AsyncHTTPTransport(
                        verify=tls_context(),
                        limits=limits,
                        proxy=proxy if "://" in proxy else f"http://{proxy}",
                    )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it on by one road or the other."""
        proxied = self._proxied.get(request.url.scheme)
        host = request.url.host
        if proxied is None or is_loopback_url(str(request.url)) or proxy_bypass(host):
            return await self._direct.handle_async_request(request)
        is_allowed = self._allow_private or host_of(str(request.url)) == self._api_host
        if not is_allowed and _is_private_literal(host):
            raise _not_public(host, host)
        return await proxied.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all of them."""
        for transport in (self._direct, *self._proxied.values()):
            await transport.aclose()


@contextmanager
def usable_proxies() -> Generator[None]:
    """Around the making of a client: a proxy that it cannot use is told as a wrong setting.

    Raises:
        ConfigurationError: the environment names a proxy of an unknown kind, or no URL at all.
    """
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"the proxy that the environment names cannot be used: {_unquoted(error)}. Set"
            " HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY to http:// URLs and host names, or"
            " unset them. Nothing was sent"
        ) from None  # its text may quote a password


def _unquoted(error: Exception) -> str:
    """Without what it quotes of the URL: what is taken for a port may be half a password."""
    return str(error) if isinstance(error, ImportError) else _QUOTED.sub("'...'", str(error))


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public_address(host)
    except ValueError:
        return False


def _not_public(host: str, address: str) -> ForbiddenUrlError:
    return ForbiddenUrlError(
        f"the result's host {host} resolves to {address}, which is not a public address; it is not"
        " fetched. Ask the provider for a public URL"
    )
