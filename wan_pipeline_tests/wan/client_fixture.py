"""A client with a recognisable key and a downloader, naps for both, and answers."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

from wan_pipeline.wan.client import WanClient
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.download import Downloader
from wan_pipeline_tests.generation.batch_fixture import KEY
from wan_pipeline_tests.wan.scripted_server import Asked, reply

__all__ = [
    "ACCEPTED",
    "DONE",
    "IMAGE",
    "Naps",
    "any_bytes",
    "bomb",
    "client",
    "downloader",
    "drip",
    "flood",
]

ACCEPTED = reply(200, b'{"id": "task-1", "status": "in_progress"}')
IMAGE = b"the bytes of an image"
DONE = reply(200, b'{"id": "task-1", "status": "completed", "output": [{"url": "https://h/1"}]}')


class Naps:
    """A sleep that takes no time and remembers what was asked of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Remember."""
        self.seconds.append(seconds)


def client(base_url: str, **values: Any) -> WanClient:
    """A client with the recognisable key."""
    given = {"api_key": KEY, "dialect": DIALECTS["gateway"], "sleep": Naps()}
    return WanClient(base_url=base_url, **{**given, **values})


def downloader(**values: Any) -> Downloader:
    """One that may fetch from loopback and does not wait."""
    return Downloader(**{"allow_private": True, "sleep": Naps(), **values})


def any_bytes(_data: bytes) -> None:
    """Everything is intact."""


async def drip(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """One byte after the other, each well within the reading bound, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def flood(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Far more than any answer has."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" " * 2**16)
        await writer.drain()


def bomb(*, status: int = 200) -> bytes:
    """Packed twice: 100 MB in less than a kilobyte."""
    packed = gzip.compress(gzip.compress(b" " * 10**8, 9), 9)
    assert len(packed) < 2000
    return reply(status, packed, Content_Encoding="gzip, gzip")
