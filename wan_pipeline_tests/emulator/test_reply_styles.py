"""The emulator answers in every variant that is known of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import (
    EmulatorPlan,
    ErrorShape,
    LatencyLaw,
    OutputLayout,
    ReplyStyle,
)
from wan_pipeline_tests.emulator.client import (
    Caller,
    flat,
    urls_of,
    wrapped_nested,
)

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

SLOW = EmulatorPlan(latency=LatencyLaw(queue_min_s=60, queue_max_s=60))


def styled(**style: Any) -> EmulatorPlan:
    """A fast plan with a variant of the replies."""
    return EmulatorPlan(speed_up=1000, replies=ReplyStyle(**style))


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("code_text", {"error": {"code": "TaskNotFound", "message": "Task not found: x"}}),
        ("code_number", {"error": {"code": 40402, "message": "Task not found: x"}}),
        ("error_message", {"error": {"code": 40402, "error_message": "Task not found: x"}}),
        ("string", {"error": "Task not found: x"}),
        ("top_level", {"code": "TaskNotFound", "message": "Task not found: x"}),
        ("detail", {"detail": "Task not found: x"}),
        (
            "status_envelope",
            {
                "status": {"code": 404, "message": "Task not found: x", "error_code": 40402},
                "data": None,
            },
        ),
    ],
)
def test_errors_come_in_every_known_shape(
    emulator: RunningEmulator, caller: Caller, shape: str, body: Any
) -> None:
    """The plan chooses the shape of error bodies."""
    emulator.set_plan(styled(error_shape=ErrorShape(shape)))
    reply = caller.poll("x")
    assert (reply.status_code, reply.json()) == (404, body)


def test_errors_may_be_a_page_of_a_proxy(emulator: RunningEmulator, caller: Caller) -> None:
    """One of the shapes is not JSON at all."""
    emulator.set_plan(styled(error_shape=ErrorShape.HTML))
    reply = caller.poll("<x>")
    assert reply.headers["content-type"].startswith("text/html")
    assert "&lt;x&gt;" in reply.text


@pytest.mark.parametrize(
    ("cost", "usage"),
    [
        ("string", {"cost": "0.06"}),
        ("number", {"cost": 0.06}),
        ("empty", {"cost": ""}),
        ("null", {"cost": None}),
        ("absent", {}),
    ],
)
def test_cost_is_written_in_every_known_way(
    emulator: RunningEmulator, caller: Caller, cost: Any, usage: dict[str, Any]
) -> None:
    """The cost of a completed task as text, number, empty, null or nothing."""
    emulator.set_plan(styled(cost=cost, discount=None))
    body = caller.finished(caller.made(flat(n=2)))
    assert body["usage"] == {"quantity": 2, "unit_price": "0.03", **usage}


def test_images_are_grouped_in_every_known_way(emulator: RunningEmulator, caller: Caller) -> None:
    """One group, a group each, no group, and the object of an old revision."""
    sizes: dict[OutputLayout, Any] = {}
    for layout in OutputLayout:
        emulator.set_plan(styled(output_layout=layout))
        sizes[layout] = caller.finished(caller.made(flat(n=2)))["output"]
    assert [len(g["content"]) for g in sizes[OutputLayout.ONE_GROUP]] == [2]
    assert [len(g["content"]) for g in sizes[OutputLayout.GROUP_PER_IMAGE]] == [1, 1]
    assert [set(e) for e in sizes[OutputLayout.FLAT]] == [{"type", "url", "jobId"}] * 2
    assert len(sizes[OutputLayout.OBJECT]["content"]) == 2


def test_created_at_may_be_in_seconds(emulator: RunningEmulator, caller: Caller) -> None:
    """Thirteen digits are milliseconds, ten are seconds."""
    emulator.set_plan(styled(created_at="s"))
    assert len(str(caller.create().json()["created_at"])) == 10


def test_the_old_envelope_wraps_create_and_poll(emulator: RunningEmulator, caller: Caller) -> None:
    """The older gateway put the task under data and a status object beside it."""
    emulator.set_plan(styled(envelope=True))
    created = caller.create().json()
    assert created["status"] == {"code": 200, "message": "success"}
    polled = caller.poll(created["data"]["id"]).json()
    assert polled["data"]["id"] == created["data"]["id"]


def test_status_words_follow_the_plan(emulator: RunningEmulator, caller: Caller) -> None:
    """Waiting, running and finished tasks use the words of the plan; progress can be left out."""
    emulator.set_plan(
        SLOW.model_copy(update={"replies": ReplyStyle(queued_word="in_queue", progress=False)})
    )
    waiting = caller.poll(caller.made()).json()
    assert waiting["status"] == "in_queue"
    assert "progress" not in waiting
    emulator.set_plan(styled(completed_word="SUCCESS", completed_at_once=True))
    assert caller.create().json()["status"] == "SUCCESS"


def test_the_create_reply_may_already_carry_the_output(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A fast gateway answers the create with the finished task."""
    emulator.set_plan(styled(completed_at_once=True))
    body = caller.create(flat(n=2)).json()
    assert body["status"] == "completed"
    assert [caller.get(url).status_code for url in urls_of(body)] == [200, 200]


def test_a_form_can_be_switched_off(emulator: RunningEmulator, caller: Caller) -> None:
    """A server that knows only the wrapper refuses the flat body with 400, before any bill."""
    emulator.set_plan(styled(request_forms=["wrapped_nested"]))
    assert caller.create(flat()).status_code == 400
    assert caller.create(wrapped_nested()).status_code == 200
    assert emulator.bill()["creates_accepted"] == 1
