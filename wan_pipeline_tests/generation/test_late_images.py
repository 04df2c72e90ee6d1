"""Tasks that are done before their images are listed: asked again, within a bound."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.generation.confirming import confirmed
from wan_pipeline.wan.answers import ApiError, ErrorKind, ImageLink, TaskAnswer, TaskMissing
from wan_pipeline.wan.answers import TaskState as State
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import PRICE, Workbench, make_request
from wan_pipeline_tests.generation.deaf_provider import DeafProvider
from wan_pipeline_tests.wan.client_fixture import Naps
from wan_pipeline_tests.wan.scripted_server import Asked, reply, scripted

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

N = 2
FAILURE = ApiError(code="", message="a bad day", kind=ErrorKind.OTHER)


def told(images: int, cost: str | None = None, state: State = State.SUCCEEDED) -> TaskAnswer:
    """What a poll may say."""
    return TaskAnswer(
        task_id="task-1",
        state=state,
        raw="{}",
        images=tuple(ImageLink(url=f"http://h/{number}", job_id="") for number in range(images)),
        cost_usd=None if cost is None else Decimal(cost),
        error=FAILURE if state is State.FAILED else None,
    )


NOTHING, EMPTY, ONE, BOTH = told(0, "0"), told(0), told(1, "0.03"), told(2, "0.06")
RUNNING, FAILED = told(0, state=State.RUNNING), told(0, state=State.FAILED)
MISSING = TaskMissing(task_id="task-1")
Said = TaskAnswer | TaskMissing | None


@pytest.mark.parametrize(
    ("first", "then", "believed", "polls"),
    [
        (NOTHING, [BOTH], BOTH, 1),
        (NOTHING, [NOTHING, NOTHING, BOTH], BOTH, 3),
        (NOTHING, [NOTHING, NOTHING, NOTHING], NOTHING, 3),
        (NOTHING, [MISSING, NOTHING, NOTHING], NOTHING, 3),
        (NOTHING, [ONE, NOTHING, NOTHING], ONE, 3),
        (NOTHING, [FAILED], FAILED, 1),
        (NOTHING, [EMPTY, EMPTY, EMPTY], EMPTY, 3),
        # Too few answers that it was for nothing.
        (NOTHING, [MISSING, MISSING, NOTHING], None, 3),
        (NOTHING, [NOTHING, None], None, 2),
        (EMPTY, [EMPTY, EMPTY, NOTHING], None, 3),
        # It goes on after all.
        (NOTHING, [RUNNING, RUNNING, RUNNING], None, 3),
        (NOTHING, [RUNNING, BOTH], BOTH, 2),
        (ONE, [ONE, BOTH], BOTH, 2),
        (ONE, [ONE, ONE, ONE], ONE, 3),
        # What was listed once is there.
        (ONE, [NOTHING, FAILED, RUNNING], ONE, 3),
        (ONE, [MISSING, None], ONE, 2),
    ],
)
async def test_what_counts_after_some_polls(
    first: TaskAnswer, then: list[Said], believed: TaskAnswer | None, polls: int
) -> None:
    """Three of them over 30 s, fewer when all images are there."""
    naps, left = Naps(), list(then)

    async def poll() -> Said:
        return left.pop(0)

    assert await confirmed(first, N, poll=poll, sleep=naps, confirm_s=30.0) == believed
    assert len(naps.seconds) == polls
    assert sum(naps.seconds) == pytest.approx(30.0) or polls < 3


@dataclass
class Late:
    """A provider whose tasks are done with the images that each poll lists, one image each."""

    listed: list[int]
    cost: str | None = None
    polls: int = 0
    creates: int = 0
    provider: DeafProvider = field(default_factory=DeafProvider)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """One exchange."""
        if asked.method == "POST":
            self.creates += 1
            writer.write(reply(200, b'{"id": "task-1", "status": "in_progress"}'))
        elif asked.target.startswith("/image"):
            await self.provider(asked, writer)
        else:
            images = self.listed[min(self.polls, len(self.listed) - 1)]
            self.polls += 1
            url = f"http://{asked.headers['host']}/image"
            links = [{"type": "image", "url": f"{url}/{index}"} for index in range(images)]
            cost = str(images * PRICE) if self.cost is None else self.cost
            body = {"id": "task-1", "status": "COMPLETED", "output": [{"content": links}]}
            writer.write(reply(200, json.dumps(body | {"usage": {"cost": cost}}).encode()))


@pytest.mark.parametrize(
    ("listed", "n", "state", "images", "polls"),
    [
        ([0, 0, 1], 1, "stored", 1, 3),
        ([1, 1, 2], 2, "stored", 2, 3),
        ([0, 1, 2], 2, "stored", 2, 3),
        ([1], 2, "stored", 1, 4),
        ([0], 1, "failed", 0, 4),
    ],
)
async def test_output_that_grows_with_polls_is_stored_whole(
    *, listed: list[int], n: int, state: str, images: int, polls: int, tmp_path: Path
) -> None:
    """And one that does not is believed after some polls, once."""
    late, request = Late(listed), make_request(n=n)
    async with scripted(late) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        await bench.buy([request])
        books = bench.books()
        assert (books.state(request), late.polls) == (state, polls)
        assert books.image_states(request) == ("stored",) * images
        assert books.spent == images * PRICE
        await bench.buy([request])
    assert (late.polls, late.creates) == (polls, 1)


async def test_charged_task_without_an_image_is_asked_again_by_this_run_and_the_next(
    tmp_path: Path,
) -> None:
    """As before it is never believed to be for nothing."""
    late, request = Late([0], cost="0.03"), make_request()
    async with scripted(late) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy([request])
        assert bench.books().state(request) == "submitted"
        assert report.tally.problems == {
            "left to the next run: done, without an image that we can read": 1
        }
        late.listed = [1]
        await bench.buy([request])
    assert bench.books().state(request) == "stored"


async def test_form_is_judged_by_the_answer_that_counts(tmp_path: Path) -> None:
    """One image of two, then four: the body was not understood, and nothing more is sent."""
    late = Late([1, 4])
    async with scripted(late) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        requests = [make_request(f"kite {number}", n=2) for number in range(5)]
        report = await bench.buy(requests, form=RequestForm.FLAT)
    assert (report.stop, late.creates) == (StopReason.BODY_NOT_UNDERSTOOD, 1)
    assert bench.books().image_states(requests[0]) == ("stored",) * 4
