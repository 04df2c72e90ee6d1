"""The API client over real sockets: one POST per create, bounded polls, and where the key goes."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateNotSent,
    CreateRefused,
    CreateThrottled,
    TaskAnswer,
)
from wan_pipeline.wan.client import Timeouts, WanClient
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.errors import AccountStopError, ConfigurationError, PollError
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import KEY, make_request
from wan_pipeline_tests.wan.scripted_server import Asked, always, in_turn, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTED = reply(200, b'{"id": "task-1", "status": "in_progress"}')
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


async def test_create_without_an_answer_ends_in_doubt() -> None:
    """The reading bound holds while nothing comes."""

    async def silence(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    bounds = Timeouts(create_read_s=0.1)
    async with scripted(silence) as server, client(server.url, timeouts=bounds) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert outcome == CreateDoubtful(reason="ReadTimeout")
    assert len(server.asked) == 1


async def drip(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """One byte after the other, each well within the reading bound, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def test_dripping_create_is_bounded_in_total() -> None:
    """A server that keeps sending a little cannot hold a create for ever."""
    bounds = Timeouts(create_total_s=0.2)
    async with scripted(drip) as server, client(server.url, timeouts=bounds) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateDoubtful)
    assert "TimeoutError" in outcome.reason


async def test_dripping_poll_is_bounded_in_total() -> None:
    """Nor a poll."""
    bounds = Timeouts(poll_total_s=0.1)
    policy = RetryPolicy(attempts=2)
    async with (
        scripted(drip) as server,
        client(server.url, timeouts=bounds, poll_retry=policy) as wan,
    ):
        with pytest.raises(PollError, match="TimeoutError"):
            await wan.poll("task-1")
    assert len(server.asked) == 2


async def flood(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Far more than any answer has."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" " * 2**16)
        await writer.drain()


async def test_endless_answer_is_cut() -> None:
    """An answer of a gigabyte is neither read nor believed."""
    async with scripted(flood) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
        assert isinstance(outcome, CreateDoubtful)
        assert "more than 1000000 bytes" in outcome.reason
        with pytest.raises(PollError, match="more than 1000000 bytes"):
            await wan.poll("task-1")
    assert len(server.asked) == 1 + RetryPolicy().attempts


async def test_connection_refused_means_not_sent() -> None:
    """No byte left, so the request may be sent again."""
    async with client(f"http://127.0.0.1:{free_port()}") as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)
    assert "ConnectError" in outcome.reason


async def test_name_that_does_not_resolve_means_not_sent() -> None:
    """The same for the step before connecting."""
    async with client("http://nobody.invalid") as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_of_the_api_is_followed(status: int) -> None:
    """The key goes to the configured origin only, and a POST is sent once."""
    async with scripted(always(ACCEPTED)) as other:
        away = reply(status, Location=f"{other.url}/model/v1/generation")
        async with scripted(always(away)) as server, client(server.url) as wan:
            outcome = await wan.create(make_request(), RequestForm.FLAT)
            assert isinstance(outcome, CreateDoubtful)
            with pytest.raises(PollError, match=str(status)):
                await wan.poll("task-1")
    assert len(server.asked) == 2
    assert other.asked == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "//", "\x7f"])
async def test_odd_redirect_of_a_create_is_doubt(location: str) -> None:
    """Even a Location that is no URL."""
    answer = reply(302, Location=location)
    async with scripted(always(answer)) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateDoubtful)


@pytest.mark.parametrize(
    "bad",
    [
        reply(408),
        reply(425),
        reply(429),
        reply(500, b"oops"),
        reply(502, b"<html>"),
        reply(503),
        reply(504),
        reply(200, b"<html>"),
        reply(200, b'{"id": "'),
        reply(200, b'{"error": "busy"}'),
        reply(200, b'{"status": {"code": 503, "message": "busy"}, "data": null}'),
    ],
)
async def test_poll_is_repeated_until_it_goes_well(bad: bytes) -> None:
    """Asking costs nothing."""
    async with scripted(in_turn(bad, bad, DONE)) as server, client(server.url) as wan:
        answer = await wan.poll("task-1")
    assert isinstance(answer, TaskAnswer)
    assert [asked.target for asked in server.asked] == ["/model/v1/generation/task/task-1"] * 3


async def test_poll_honours_retry_after() -> None:
    """Seconds are waited as wished, with a little jitter on top."""
    naps = Naps()
    later = reply(429, Retry_After="7")
    async with scripted(in_turn(later, DONE)) as server, client(server.url, sleep=naps) as wan:
        await wan.poll("task-1")
    (nap,) = naps.seconds
    assert 7 <= nap < 7.2


async def test_poll_gives_up_within_its_attempts() -> None:
    """The error says that the task goes on."""
    naps = Naps()
    policy = RetryPolicy(attempts=4)
    async with (
        scripted(always(reply(503))) as server,
        client(server.url, sleep=naps, poll_retry=policy) as wan,
    ):
        with pytest.raises(PollError, match=r"task-1.*status 503.*goes on at the provider"):
            await wan.poll("task-1")
    assert len(server.asked) == 4
    assert len(naps.seconds) == 3


async def test_poll_that_is_refused_for_good_is_asked_once() -> None:
    """A 400 will be a 400 again."""
    async with scripted(always(reply(400))) as server, client(server.url) as wan:
        with pytest.raises(PollError):
            await wan.poll("task-1")
    assert len(server.asked) == 1


@pytest.mark.parametrize("key", ["", " ", "sk-1\n", "sk 1", "sk-\u00e9", "\u00a0sk", "sk\0"])
def test_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    """The HTTP library would quote it in its own error."""
    with pytest.raises(ConfigurationError) as caught:
        client("http://127.0.0.1:1", api_key=key)
    assert not key.strip() or key.strip() not in str(caught.value)


def test_key_is_not_in_the_repr() -> None:
    """A client may be logged."""
    assert KEY not in repr(client("http://127.0.0.1:1"))


Quoting = "Incorrect API key provided: {key}. You can find your key at the console"


@pytest.mark.parametrize(
    "shape", [json.dumps, lambda text: f'{{"error": {{"message": "{text}"}}}}']
)
async def test_key_quoted_by_the_provider_is_blanked(shape: Callable[[str], str]) -> None:
    """Some servers quote the key that they refuse, and an error's text is kept and shown."""
    body = shape(Quoting.format(key=KEY)).encode()
    for status in (400, 401, 403):
        async with scripted(always(reply(status, body))) as server, client(server.url) as wan:
            outcome = await wan.create(make_request(), RequestForm.FLAT)
            assert isinstance(outcome, CreateRefused)
            assert KEY not in repr(outcome)
            if status != 400:
                with pytest.raises(AccountStopError) as caught:
                    await wan.poll("task-1")
                assert KEY not in str(caught.value)


ODD_KEY = 'sk/recognisable+"7f3a=91\\c2'
SPELLINGS = {
    "as it is": lambda key: key,
    "URL-quoted": lambda key: quote(key, safe=""),
    "URL-quoted in part": quote,
    "in small hexadecimal": lambda key: quote(key, safe="").lower(),
    "JSON-escaped": lambda key: json.dumps(key)[1:-1],
    "with slashes escaped": lambda key: json.dumps(key)[1:-1].replace("/", r"\/"),
    "in code points": lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_key_quoted_in_a_good_answer_is_blanked(spelling: str) -> None:
    """Nobody downstream ever holds it: the answer's text is kept in the ledger as it came."""
    quoted = SPELLINGS[spelling](ODD_KEY)
    body = (
        '{"id": "task-1", "status": "completed", "actual_prompt": "Bearer KEY",'
        ' "metadata": {"KEY": "KEY"}, "output": [{"url": "https://h/1?k=KEY", "jobId": "KEY"}]}'
    ).replace("KEY", quoted)
    async with (
        scripted(always(reply(200, body.encode()))) as server,
        client(server.url, api_key=ODD_KEY) as wan,
    ):
        accepted = await wan.create(make_request(), RequestForm.FLAT)
        polled = await wan.poll("task-1")
    for answer in (accepted, polled):
        assert ODD_KEY not in repr(answer)
        assert quoted not in repr(answer)
        assert "[API key]" in repr(answer)


async def test_key_in_a_line_that_is_no_http_is_blanked() -> None:
    """The library's error quotes the line, and the ledger keeps the error."""
    answer = f"HTTP/1.1 200 OK\r\nauthorization Bearer {KEY}\r\n\r\n".encode()
    policy = RetryPolicy(attempts=1)
    async with scripted(always(answer)) as server, client(server.url, poll_retry=policy) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
        with pytest.raises(PollError) as caught:
            await wan.poll("task-1")
    assert isinstance(outcome, CreateDoubtful)
    assert "[API key]" in outcome.reason
    for text in (outcome.reason, str(caught.value), repr(caught.value.__cause__)):
        assert KEY not in text
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__suppress_context__


def bomb(*, status: int = 200) -> bytes:
    """Packed twice: 100 MB in less than a kilobyte."""
    packed = gzip.compress(gzip.compress(b" " * 10**8, 9), 9)
    assert len(packed) < 2000
    return reply(status, packed, Content_Encoding="gzip, gzip")


async def test_packed_answer_is_not_unpacked() -> None:
    """A plain one was asked for; what is packed can be larger than the memory."""
    async with scripted(always(bomb())) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
        with pytest.raises(PollError, match="Content-Encoding"):
            await wan.poll("task-1")
    assert isinstance(outcome, CreateDoubtful)
    assert "Content-Encoding" in outcome.reason
    assert len(server.asked) == 1 + RetryPolicy().attempts
    assert {asked.headers["accept-encoding"] for asked in server.asked} == {"identity"}


async def test_status_of_a_packed_error_counts() -> None:
    """It proves as much as with a body."""
    async with scripted(always(bomb(status=429))) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateThrottled)


async def test_identity_is_no_encoding() -> None:
    """Some servers say so."""
    body = b'{"id": "task-1", "status": "in_progress"}'
    answer = reply(200, body, Content_Encoding="Identity")
    async with scripted(always(answer)) as server, client(server.url) as wan:
        assert isinstance(await wan.create(make_request(), RequestForm.FLAT), CreateAccepted)


@pytest.mark.parametrize("url", ["cloud.example", "htps://cloud.example", "ftp://cloud.example"])
async def test_scheme_that_nobody_speaks_means_not_sent(url: str) -> None:
    """A typo is no doubt."""
    async with client(url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
    assert isinstance(outcome, CreateNotSent)


@pytest.mark.parametrize(
    "proxy",
    [
        "gopher://127.0.0.1:9",
        "http://127.0.0.1:x",
        "http://user:hunter2/x@127.0.0.1:9",
        "gopher://user:hunter2@127.0.0.1:9",
    ],
)
async def test_proxy_that_cannot_be_used_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Before anything is sent, with the variables' names and without a password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as refused:
        async with client("https://cloud.example"):
            pass
    assert "hunter2" not in str(refused.value)


async def test_key_is_in_no_log_record_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """At the noisiest level of every library, over success, refusal, doubt and failure."""
    caplog.set_level(logging.DEBUG)
    answers = in_turn(ACCEPTED, reply(401), reply(500), b"no HTTP\r\n\r\n", reply(503))
    told: list[str] = []
    async with scripted(answers) as server, client(server.url) as wan:
        for _ in range(4):
            outcome = await wan.create(make_request(), RequestForm.FLAT)
            told.append(repr(outcome))
        for _ in range(2):
            with pytest.raises((PollError, AccountStopError)) as caught:
                await wan.poll("task-1")
            told.append(f"{caught.value!r} {caught.value.__cause__!r}")
    assert len(server.asked) > 4
    records = [record.getMessage() + repr(record.args) for record in caplog.records]
    assert any("httpcore" in record.name for record in caplog.records)
    assert not [text for text in (*records, *told, caplog.text) if KEY in text]
