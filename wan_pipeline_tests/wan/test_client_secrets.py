"""The API key is in no error, no answer, no log and no repr."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from wan_pipeline.wan.answers import (
    CreateDoubtful,
    CreateRefused,
)
from wan_pipeline.wan.errors import AccountStopError, ConfigurationError, PollError
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import KEY, make_request
from wan_pipeline_tests.wan.client_fixture import ACCEPTED, client
from wan_pipeline_tests.wan.scripted_server import always, in_turn, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable


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
