"""Fetching result images: no key, intact, and bounded."""

from __future__ import annotations

import gzip
import logging
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import (
    DamagedImageDownloadError,
    DownloadError,
    ForbiddenUrlError,
    UrlExpiredError,
)
from wan_pipeline.wan.retry import DamagedBodyError, RetryPolicy
from wan_pipeline_tests.wan.client_fixture import (
    IMAGE,
    any_bytes,
    bomb,
    downloader,
    drip,
    flood,
)
from wan_pipeline_tests.wan.scripted_server import Asked, always, in_turn, reply, scripted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable


async def test_bytes_come_as_received_and_without_a_key() -> None:
    """Signed URLs need no credentials, and some hosts refuse them."""
    async with scripted(always(reply(200, IMAGE))) as server, downloader() as fetcher:
        assert await fetcher.fetch(f"{server.url}/1.png?Signature=x", check=any_bytes) == IMAGE
    (asked,) = server.asked
    assert asked.target == "/1.png?Signature=x"
    assert not {"authorization", "cookie"} & set(asked.headers)


def raw_deflate(data: bytes) -> bytes:
    """As some servers read the RFC: without zlib's frame."""
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
async def test_image_that_comes_packed_all_the_same_is_unpacked(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """Plain bytes were asked for; what is paid for is not thrown away for a header."""
    packed = reply(200, pack(IMAGE), Content_Encoding=encoding)
    async with scripted(always(packed)) as server, downloader() as fetcher:
        assert await fetcher.fetch(server.url, check=any_bytes) == IMAGE
    assert [asked.headers["accept-encoding"] for asked in server.asked] == ["identity"]


@pytest.mark.parametrize("packed", [b"", IMAGE, gzip.compress(IMAGE, mtime=0)[:-9]])
async def test_packed_image_that_cannot_be_unpacked_is_damaged(packed: bytes) -> None:
    """Cut, or no such thing at all: asked for again like every damaged image."""
    answers = in_turn(
        reply(200, packed, Content_Encoding="gzip"),
        reply(200, packed, Content_Encoding="gzip"),
        reply(200, IMAGE),
    )
    async with scripted(answers) as server, downloader(retry=RetryPolicy(attempts=2)) as fetcher:
        with pytest.raises(DamagedImageDownloadError, match="gzip"):
            await fetcher.fetch(server.url, check=any_bytes)
        assert await fetcher.fetch(server.url, check=any_bytes) == IMAGE


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
async def test_packing_that_nobody_here_knows_is_named(encoding: str) -> None:
    """With what came, not only that nothing did."""
    answer = reply(200, IMAGE, Content_Encoding=encoding)
    retry = RetryPolicy(attempts=1)
    async with scripted(always(answer)) as server, downloader(retry=retry) as fetcher:
        with pytest.raises(DownloadError, match=f"Content-Encoding '{encoding}'"):
            await fetcher.fetch(server.url, check=any_bytes)


async def test_small_packed_image_that_is_a_large_one_is_cut_at_the_bound() -> None:
    """100 MB in 100 kB: no more of them is made than an image may have."""
    answer = reply(200, gzip.compress(b" " * 10**8, 9), Content_Encoding="gzip")
    async with scripted(always(answer)) as server, downloader(max_bytes=2**20) as fetcher:
        tracemalloc.start()
        with pytest.raises(ForbiddenUrlError, match="longer than 1048576 bytes"):
            await fetcher.fetch(server.url, check=any_bytes)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000
    assert len(server.asked) == 1


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


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_gone_url_is_told_apart_and_asked_once(status: int) -> None:
    """A signed URL answers so when it has expired, others when there never was such a file."""
    told = rf"the result's URL answers {status} \(gone or expired\)"
    async with scripted(always(reply(status))) as server, downloader() as fetcher:
        with pytest.raises(UrlExpiredError, match=told):
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


async def test_small_answer_that_unpacks_to_a_large_one_is_not_unpacked() -> None:
    """Packed twice, the outer layer alone would fill the memory before a length is looked at."""
    retry = RetryPolicy(attempts=2)
    async with scripted(always(bomb())) as server, downloader(retry=retry) as fetcher:
        tracemalloc.start()
        with pytest.raises(DownloadError, match="Content-Encoding 'gzip, gzip'"):
            await fetcher.fetch(server.url, check=any_bytes)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000
    assert len(server.asked) == 2


async def test_dripping_image_is_bounded_in_total() -> None:
    """Each byte within the reading bound, all of them not within ours."""
    bounds = Timeouts(download_total_s=0.1)
    retry = RetryPolicy(attempts=2)
    async with scripted(drip) as server, downloader(timeouts=bounds, retry=retry) as fetcher:
        with pytest.raises(DownloadError, match=r"no whole answer within 0\.1 s"):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 2


async def test_urls_in_the_logs_show_no_surprise(caplog: pytest.LogCaptureFixture) -> None:
    """The noisiest level of every library names no header that we send beyond the usual ones."""
    caplog.set_level(logging.DEBUG)
    async with scripted(always(reply(200, IMAGE))) as server, downloader() as fetcher:
        await fetcher.fetch(server.url, check=any_bytes)
    assert "uthorization" not in caplog.text
