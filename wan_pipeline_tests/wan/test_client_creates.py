"""One POST per create over real sockets, and what its failures prove."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct

import pytest

from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateNotSent,
)
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import KEY, make_request
from wan_pipeline_tests.wan.client_fixture import ACCEPTED, client, drip
from wan_pipeline_tests.wan.scripted_server import Asked, always, reply, scripted


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_create_is_one_post_with_the_key() -> None:
    """Bearer key, JSON body as the dialect lays it out, and nothing is sent twice."""
    async with scripted(always(ACCEPTED)) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateAccepted)
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/model/v1/generation")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(asked.body)["input"] == {"prompt": "a red kite over dunes"}


async def test_base_url_may_have_a_path() -> None:
    """A gateway behind a prefix keeps its prefix."""
    async with scripted(always(ACCEPTED)) as server, client(f"{server.url}/v9") as wan:
        await wan.create(make_request(), RequestForm.FLAT)
    assert server.asked[0].target == "/v9/model/v1/generation"


@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        reply(503, b"", Retry_After="0"),
        reply(408),
        reply(425),
        reply(200, b"<html>"),
        reply(200, b"", Retry_After="Wed, 21 Oct 99999999999999999999 07:28:00 GMT"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"not even HTTP\r\n\r\n",
    ],
)
async def test_doubtful_create_is_not_repeated(answer: bytes) -> None:
    """Whatever follows the request, it stays one request."""

    async def once(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with scripted(once) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateDoubtful)
    assert len(server.asked) == 1


def cut_off(writer: asyncio.StreamWriter) -> None:
    """As a dying server or a firewall does."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "the connection broke before the answer"),
        (b"", "no whole answer came: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "no whole answer came: "),
        (b"not even HTTP\r\n\r\n", "no whole answer came: "),
        (
            reply(200, b"abcd", Content_Encoding="gzip"),
            "the answer could not be read: it comes in Content-Encoding 'gzip', not asked for",
        ),
        (
            reply(200, b" " * 1_000_001),
            "the answer could not be read: it is longer than 1000000 bytes",
        ),
    ],
)
async def test_reason_of_a_doubt_is_told_in_words(answer: bytes | None, reason: str) -> None:
    """It stands in the ledger and in `wan status`, for people who read no Python."""

    async def once(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            cut_off(writer)
            return
        writer.write(answer)
        writer.close()

    async with scripted(once) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateDoubtful)
    assert outcome.reason.startswith(reason)
    assert not re.search(r"[a-z][A-Z]|Error", outcome.reason)


async def test_create_without_an_answer_ends_in_doubt() -> None:
    """The reading bound holds while nothing comes."""

    async def silence(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    bounds = Timeouts(create_read_s=0.1)
    async with scripted(silence) as server, client(server.url, timeouts=bounds) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert outcome == CreateDoubtful(reason="no answer within 0.1 s")
    assert len(server.asked) == 1


async def test_dripping_create_is_bounded_in_total() -> None:
    """A server that keeps sending a little cannot hold a create for ever."""
    bounds = Timeouts(create_total_s=0.2)
    async with scripted(drip) as server, client(server.url, timeouts=bounds) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert outcome == CreateDoubtful(reason="no whole answer within 0.2 s")


async def test_connection_refused_means_not_sent() -> None:
    """No byte left, so the request may be sent again."""
    async with client(f"http://127.0.0.1:{free_port()}") as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)
    assert outcome.reason.startswith("no connection could be made: ")


async def test_name_that_does_not_resolve_means_not_sent() -> None:
    """The same for the step before connecting."""
    async with client("http://nobody.invalid") as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "//", "\x7f"])
async def test_odd_redirect_of_a_create_is_doubt(location: str) -> None:
    """Even a Location that is no URL."""
    answer = reply(302, Location=location)
    async with scripted(always(answer)) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateDoubtful)


@pytest.mark.parametrize("url", ["cloud.example", "htps://cloud.example", "ftp://cloud.example"])
async def test_scheme_that_nobody_speaks_means_not_sent(url: str) -> None:
    """A typo is no doubt."""
    async with client(url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)
