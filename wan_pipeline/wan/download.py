"""Fetching result images: no key, bounded size, bounded redirects, only where we may go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import (
    DamagedImageDownloadError,
    DownloadError,
    ForbiddenUrlError,
    UrlExpiredError,
)
from wan_pipeline.wan.failures import failure_told
from wan_pipeline.wan.guard import LAST_PORT, EnvironmentProxyTransport, PublicAddressTransport
from wan_pipeline.wan.packing import (
    PackedBodyError,
    TooLongError,
    UnknownPackingError,
    unpacked,
)
from wan_pipeline.wan.retry import DamagedBodyError, RetryPolicy, TransientError, read_retry_after
from wan_pipeline.wan.tls import is_plain, tls_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

__all__ = ["Downloader"]

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ASK = "Ask the provider for a direct URL of the image, by http or https"
GONE = frozenset({401, 403, 404, 410})  # a signed URL answers 403 when it has expired


@dataclass(slots=True, kw_only=True)
class Downloader:
    """Fetches result URLs with retries, through the environment's proxy where one applies.

    Attributes:
        allow_private: whether private and loopback addresses may be fetched; only for a
            provider that itself is on loopback.
        api_host: the host of the API, as `guard.host_of` tells it. It may have a private address,
            since the key is sent there anyway.
        timeouts: bounds of each exchange.
        retry: bounds of all attempts at one image.
        max_bytes: longest image accepted.
        connections: sockets held open at most.
        sleep: waits between attempts; a test passes its own.
    """

    allow_private: bool
    api_host: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_bytes: int = 64 * 2**20
    connections: int = 16
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _client: httpx.AsyncClient = field(init=False, repr=False)
    _stack: AsyncExitStack = field(init=False, repr=False)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        limits = httpx.Limits(max_connections=self.connections, keepalive_expiry=30.0)
        direct = (
            httpx.AsyncHTTPTransport(verify=tls_context(), limits=limits)
            if self.allow_private
            else PublicAddressTransport(limits=limits, api_host=self.api_host)
        )
        transport = EnvironmentProxyTransport(
            direct=direct,
            limits=limits,
            allow_private=self.allow_private,
            api_host=self.api_host,
        )
        self._client = await self._stack.enter_async_context(
            httpx.AsyncClient(
                transport=transport,
                timeout=self.timeouts.httpx(self.timeouts.download_read_s),
                follow_redirects=False,
                headers={"Accept": "image/*", "Accept-Encoding": "identity"},
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def fetch(self, url: str, *, check: Callable[[bytes], None]) -> bytes:
        """The bytes behind a result URL, as received; unpacked where the server packed them.

        `check` gets the bytes of each attempt and raises `DamagedBodyError` when they are no
        intact image, so that they are fetched again within the bounds.

        Raises:
            DamagedImageDownloadError: every attempt brought a damaged image.
            UrlExpiredError: the URL is gone.
            ForbiddenUrlError: the URL or a redirect leads where we do not go.
            DownloadError: attempts or time used up; its cause is the last failure.
        """

        async def attempt() -> bytes:
            data = await self._fetch_once(url)
            check(data)
            return data

        try:
            return await self.retry.run(attempt, sleep=self.sleep)
        except TransientError as error:
            damaged = isinstance(error, DamagedBodyError)
            raise (DamagedImageDownloadError if damaged else DownloadError)(
                f"image could not be fetched: {error}. It stays at the provider while its URL"
                " lives; run again to fetch it"
            ) from error

    async def _fetch_once(self, url: str) -> bytes:
        try:
            async with asyncio.timeout(self.timeouts.download_total_s):
                return await self._follow(httpx.URL(url))
        except (httpx.HTTPError, TimeoutError) as error:
            bounds = self.timeouts
            told = failure_told(
                error, bounds, read_s=bounds.download_read_s, total_s=bounds.download_total_s
            )
            raise TransientError(told) from error
        # Among them: no URL at all, and host names that the encoding for the DNS refuses.
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ForbiddenUrlError(f"the result's URL is not valid: {error}. {_ASK}") from error

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise ForbiddenUrlError(
                    f"a result URL of scheme {url.scheme!r} is not fetched. {_ASK}"
                )
            if url.port is not None and not 0 < url.port <= LAST_PORT:
                raise ForbiddenUrlError(
                    f"a result URL with the port {url.port} is not fetched. {_ASK}"
                )
            if url.userinfo:
                url = url.copy_with(userinfo=b"")
            async with self._client.stream("GET", url) as response:
                if response.status_code in REDIRECTS and "location" in response.headers:
                    url = url.join(response.headers["location"])
                    continue
                return await self._read(response)
        raise ForbiddenUrlError(
            f"the result's URL redirects more than {MAX_REDIRECTS} times. {_ASK}"
        )

    async def _read(self, response: httpx.Response) -> bytes:
        status = response.status_code
        if status in GONE:
            raise UrlExpiredError(
                f"the result's URL answers {status} (gone or expired). Run again: while the"
                " provider keeps the task it is asked for a new one"
            )
        if status != 200:
            raise TransientError(
                f"status {status}",
                retry_after_s=read_retry_after(response.headers.get("retry-after")),
            )
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > self.max_bytes:
                raise self._too_long()
        return bytes(data) if is_plain(response) else await self._unpacked(bytes(data), response)

    async def _unpacked(self, data: bytes, response: httpx.Response) -> bytes:
        """The image itself, from a server that packs although a plain body was asked for."""
        encoding = response.headers["content-encoding"]
        try:
            return await asyncio.to_thread(unpacked, data, encoding, max_bytes=self.max_bytes)
        except TooLongError:
            raise self._too_long() from None
        except UnknownPackingError as error:
            raise TransientError(
                f"the image comes in Content-Encoding {encoding!r}, not asked for and not known"
            ) from error
        except PackedBodyError as error:
            raise DamagedBodyError(f"the image's packed bytes are damaged: {error}") from error

    def _too_long(self) -> ForbiddenUrlError:
        return ForbiddenUrlError(
            f"the result is longer than {self.max_bytes} bytes, which no image of this model is."
            f" {_ASK}"
        )
