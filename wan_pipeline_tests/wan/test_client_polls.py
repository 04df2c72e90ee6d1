"""Polls over real sockets: repeated within bounds, since asking costs nothing."""

from __future__ import annotations

import pytest

from wan_pipeline.wan.answers import (
    TaskAnswer,
)
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import PollError
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.wan.client_fixture import DONE, Naps, client, drip
from wan_pipeline_tests.wan.scripted_server import always, in_turn, reply, scripted


async def test_dripping_poll_is_bounded_in_total() -> None:
    """Nor a poll."""
    bounds = Timeouts(poll_total_s=0.1)
    policy = RetryPolicy(attempts=2)
    async with (
        scripted(drip) as server,
        client(server.url, timeouts=bounds, poll_retry=policy) as wan,
    ):
        with pytest.raises(PollError, match="no whole answer within"):
            await wan.poll("task-1")
    assert len(server.asked) == 2


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
