"""Fetching result images: no key, bounded, and only where we may go."""

from __future__ import annotations

import gzip
import logging
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.download import Downloader
from wan_pipeline.wan.errors import (
    DamagedImageDownloadError,
    DownloadError,
    ForbiddenUrlError,
    UrlExpiredError,
)
from wan_pipeline.wan.retry import DamagedBodyError, RetryPolicy
from wan_pipeline_tests.wan.scripted_server import Asked, always, in_turn, reply, scripted
from wan_pipeline_tests.wan.test_client import Naps, drip, flood

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

IMAGE = b"the bytes of an image"


def downloader(**values: Any) -> Downloader:
    """One that may fetch from loopback and does not wait."""
    return Downloader(**{"allow_private": True, "sleep": Naps(), **values})


def any_bytes(_data: bytes) -> None:
    """Everything is intact."""


async def test_bytes_come_as_received_and_without_a_key() -> None:
    """Signed URLs need no credentials, and some hosts refuse them."""
    async with scripted(always(reply(200, IMAGE))) as server, downloader() as fetcher:
        assert await fetcher.fetch(f"{server.url}/1.png?Signature=x", check=any_bytes) == IMAGE
    (asked,) = server.asked
    assert asked.target == "/1.png?Signature=x"
    assert not {"authorization", "cookie"} & set(asked.headers)


async def test_compression_of_the_transport_is_undone() -> None:
    """A proxy may compress on the way."""
    answer = reply(200, gzip.compress(IMAGE), Content_Encoding="gzip")
    async with scripted(always(answer)) as server, downloader() as fetcher:
        assert await fetcher.fetch(server.url, check=any_bytes) == IMAGE


async def test_credentials_in_a_url_are_not_sent() -> None:
    """Nor those in a redirect."""
    async with scripted(always(reply(200, IMAGE))) as target:
        away = target.url.replace("http://", "http://user:secret@")
        async with scripted(always(reply(302, Location=away))) as server, downloader() as fetcher:
            first = server.url.replace("http://", "http://user:secret@")
            assert await fetcher.fetch(first, check=any_bytes) == IMAGE
    for asked in (*server.asked, *target.asked):
        assert "authorization" not in asked.headers


async def test_redirects_are_followed_and_bounded() -> None:
    """Five hops are followed; a loop ends and is not retried."""

    async def hops(asked: Asked, writer: asyncio.StreamWriter) -> None:
        left = int(asked.target[1:])
        writer.write(reply(302, Location=f"/{left - 1}") if left else reply(200, IMAGE))

    async with scripted(hops) as server, downloader() as fetcher:
        assert await fetcher.fetch(f"{server.url}/5", check=any_bytes) == IMAGE
        server.asked.clear()
        with pytest.raises(ForbiddenUrlError, match="more than 5 times"):
            await fetcher.fetch(f"{server.url}/6", check=any_bytes)
    assert len(server.asked) == 6


FORBIDDEN = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/1.png",
    "data:image/png;base64,AAAA",
    "gopher://127.0.0.1:70/",
    "//127.0.0.1/1.png",
    "1.png",
    "",
    "http:///1.png",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:x/",
    "http://xn--/",
    "http://\0/",
    "http://" + "é" * 80 + ".example/",
]


@pytest.mark.parametrize("url", FORBIDDEN, ids=ascii)
async def test_url_that_is_no_web_address_is_refused(url: str) -> None:
    """With a typed error, so that one odd answer ends no batch."""
    async with downloader() as fetcher:
        with pytest.raises(ForbiddenUrlError):
            await fetcher.fetch(url, check=any_bytes)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://xn--/",
        "http://[",
    ],
)
async def test_redirect_to_no_web_address_is_refused(location: str) -> None:
    """The same for every hop."""
    answer = reply(302, Location=location)
    async with scripted(always(answer)) as server, downloader() as fetcher:
        with pytest.raises(DownloadError):
            await fetcher.fetch(server.url, check=any_bytes)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_gone_url_is_told_apart_and_asked_once(status: int) -> None:
    """A signed URL answers so when it has expired."""
    async with scripted(always(reply(status))) as server, downloader() as fetcher:
        with pytest.raises(UrlExpiredError, match=str(status)):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 1


async def cut(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Less than was announced."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    writer.close()


@pytest.mark.parametrize(
    "bad",
    [always(reply(500)), always(reply(429)), always(reply(206, IMAGE)), always(reply(204)), cut],
)
async def test_failed_download_is_repeated_within_bounds(
    bad: Callable[..., Awaitable[None]],
) -> None:
    """It stays at the provider, and the message says so."""
    retry = RetryPolicy(attempts=3)
    async with scripted(bad) as server, downloader(retry=retry) as fetcher:
        with pytest.raises(DownloadError, match="stays at the provider"):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 3


async def test_damaged_image_is_fetched_again() -> None:
    """`check` decides; the good bytes of a later attempt are taken."""

    def check(data: bytes) -> None:
        if data != IMAGE:
            raise DamagedBodyError("truncated")

    answers = in_turn(reply(200, b""), reply(200, IMAGE[:5]), reply(200, IMAGE))
    async with scripted(answers) as server, downloader() as fetcher:
        assert await fetcher.fetch(server.url, check=check) == IMAGE
    assert len(server.asked) == 3


async def test_image_that_stays_damaged_is_named_so() -> None:
    """The ledger tells damaged images from those that never came."""

    def check(_data: bytes) -> None:
        raise DamagedBodyError("bad CRC")

    retry = RetryPolicy(attempts=2)
    async with scripted(always(reply(200, b"x"))) as server, downloader(retry=retry) as fetcher:
        with pytest.raises(DamagedImageDownloadError, match="bad CRC"):
            await fetcher.fetch(server.url, check=check)


async def test_endless_image_is_cut() -> None:
    """Longer than any image: not kept in memory, not asked for again."""
    async with scripted(flood) as server, downloader(max_bytes=2**20) as fetcher:
        with pytest.raises(ForbiddenUrlError, match="longer than 1048576 bytes"):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 1


async def test_small_answer_that_unpacks_to_a_large_one_is_cut() -> None:
    """The bound is on what we would hold, not on what travels."""
    bomb = reply(200, gzip.compress(b"\0" * 2**24), Content_Encoding="gzip")
    async with scripted(always(bomb)) as server, downloader(max_bytes=2**20) as fetcher:
        with pytest.raises(ForbiddenUrlError, match="longer than"):
            await fetcher.fetch(server.url, check=any_bytes)


async def test_dripping_image_is_bounded_in_total() -> None:
    """Each byte within the reading bound, all of them not within ours."""
    bounds = Timeouts(download_total_s=0.1)
    retry = RetryPolicy(attempts=2)
    async with scripted(drip) as server, downloader(timeouts=bounds, retry=retry) as fetcher:
        with pytest.raises(DownloadError, match="TimeoutError"):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_refused_when_the_provider_is_elsewhere(host: str) -> None:
    """Nothing is connected to, by address or by a name that resolves to it."""
    async with scripted(always(reply(200, IMAGE))) as server:
        url = server.url.replace("127.0.0.1", host)
        async with downloader(allow_private=False) as fetcher:
            with pytest.raises(ForbiddenUrlError, match="not a public address"):
                await fetcher.fetch(url, check=any_bytes)
    assert server.asked == []


async def test_urls_in_the_logs_show_no_surprise(caplog: pytest.LogCaptureFixture) -> None:
    """The noisiest level of every library names no header that we send beyond the usual ones."""
    caplog.set_level(logging.DEBUG)
    async with scripted(always(reply(200, IMAGE))) as server, downloader() as fetcher:
        await fetcher.fetch(server.url, check=any_bytes)
    assert "uthorization" not in caplog.text
