"""Answers that no API gives: endless, packed, redirected. Neither read, unpacked nor followed."""

from __future__ import annotations

import pytest

from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateThrottled,
)
from wan_pipeline.wan.errors import PollError
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import make_request
from wan_pipeline_tests.wan.client_fixture import ACCEPTED, bomb, client, flood
from wan_pipeline_tests.wan.scripted_server import always, reply, scripted


async def test_endless_answer_is_cut() -> None:
    """An answer of a gigabyte is neither read nor believed."""
    async with scripted(flood) as server, client(server.url) as wan:
        outcome = await wan.create(make_request(), RequestForm.FLAT)
        assert isinstance(outcome, CreateDoubtful)
        assert "longer than 1000000 bytes" in outcome.reason
        with pytest.raises(PollError, match="longer than 1000000 bytes"):
            await wan.poll("task-1")
    assert len(server.asked) == 1 + RetryPolicy().attempts


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
