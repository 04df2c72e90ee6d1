"""Every fault can be seen from outside, at its step, as often as the plan says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wan_pipeline.emulator.faults import OUTCOMES
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline_tests.emulator.client import Caller, flat, urls_of

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

K = FaultKind
_REFUSALS = {
    K.RATE_LIMITED: 429,
    K.RATE_LIMITED_NO_RETRY_AFTER: 429,
    K.ERROR_408_BEFORE: 408,
    K.ERROR_409_BEFORE: 409,
    K.ERROR_500_BEFORE: 500,
    K.ERROR_502_BEFORE: 502,
    K.ERROR_503_BEFORE: 503,
    K.ERROR_504_BEFORE: 504,
    K.REFUSED_400: 400,
    K.REFUSED_413: 413,
    K.REFUSED_422: 422,
    K.NO_CREDIT: 402,
    K.BAD_KEY: 401,
    K.FORBIDDEN_MODEL: 403,
    K.MISSING_MODEL: 404,
}
_ACCEPTED_ERRORS = {
    K.ERROR_500_AFTER: 500,
    K.ERROR_502_AFTER: 502,
    K.ERROR_503_AFTER: 503,
    K.ERROR_504_AFTER: 504,
}
_POLL_ERRORS = {
    K.RATE_LIMITED: 429,
    K.RATE_LIMITED_NO_RETRY_AFTER: 429,
    K.ERROR_408_BEFORE: 408,
    K.ERROR_409_BEFORE: 409,
    K.ERROR_500_BEFORE: 500,
    K.ERROR_502_BEFORE: 502,
    K.ERROR_503_BEFORE: 503,
    K.ERROR_504_BEFORE: 504,
    K.NO_CREDIT: 402,
    K.BAD_KEY: 401,
    K.FORBIDDEN_MODEL: 403,
    K.UNKNOWN_TASK: 404,
}


def broken(*faults: Fault) -> EmulatorPlan:
    """A fast plan with faults."""
    return EmulatorPlan(speed_up=1000, faults=faults)


def once(kind: FaultKind, **options: Any) -> EmulatorPlan:
    """A fast plan in which one thing goes wrong once."""
    return broken(Fault(kind=kind, times=1, **options))


@pytest.mark.parametrize("kind", _REFUSALS)
def test_a_create_is_refused_once_then_accepted(
    emulator: RunningEmulator, caller: Caller, kind: FaultKind
) -> None:
    """A fault before acceptance answers its status and makes no task; the next create works."""
    emulator.set_plan(once(kind, on="create", retry_after_s=7))
    reply = caller.create()
    assert reply.status_code == _REFUSALS[kind]
    assert reply.headers.get("retry-after") == ("7" if kind is K.RATE_LIMITED else None)
    assert emulator.tasks() == []
    assert caller.create().status_code == 200
    bill = emulator.bill()
    assert (bill["creates_received"], bill["creates_accepted"], bill["refused"]) == (2, 1, 1)


@pytest.mark.parametrize("kind", _ACCEPTED_ERRORS)
def test_an_error_after_acceptance_leaves_a_task_that_is_billed(
    emulator: RunningEmulator, caller: Caller, kind: FaultKind
) -> None:
    """The caller sees a server error, the provider has a task and a bill."""
    emulator.set_plan(once(kind))
    assert caller.create().status_code == _ACCEPTED_ERRORS[kind]
    (task,) = emulator.tasks()
    caller.finished(task["id"])
    assert emulator.bill()["usd"] == "0.03"


@pytest.mark.parametrize(("kind", "tasks"), [(K.RESET_BEFORE, 0), (K.RESET_AFTER, 1)])
def test_a_reset_create_is_known_to_the_provider_only_after_acceptance(
    emulator: RunningEmulator, caller: Caller, kind: FaultKind, tasks: int
) -> None:
    """The connection is cut; whether there is a task depends on the moment."""
    emulator.set_plan(once(kind, on="create"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        caller.create()
    assert len(emulator.tasks()) == tasks
    assert caller.create().status_code == 200


@pytest.mark.parametrize(("kind", "tasks"), [(K.HUNG_BEFORE, 0), (K.HUNG_AFTER, 1)])
def test_a_hung_create_says_nothing(emulator: RunningEmulator, kind: FaultKind, tasks: int) -> None:
    """The caller runs into its own timeout; the server goes on serving others."""
    emulator.set_plan(once(kind, on="create"))
    with Caller(emulator.base_url, timeout_s=0.3) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.create()
    assert len(emulator.tasks()) == tasks


def test_a_hung_answer_ends_after_its_duration(emulator: RunningEmulator, caller: Caller) -> None:
    """Who waits long enough gets a gateway timeout."""
    emulator.set_plan(once(K.HUNG_BEFORE, on="create", duration_s=0.05))
    assert caller.create().status_code == 504


def test_a_hung_answer_does_not_keep_the_server_from_stopping(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """The fixture ends while an answer is still open, well before the answer would."""
    emulator.set_plan(once(K.HUNG_BEFORE, on="create"))
    with Caller(emulator.base_url, timeout_s=0.2) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.create()
    started = time.monotonic()
    emulator.__exit__(None, None, None)
    assert time.monotonic() - started < 10
    emulator.__enter__()


def test_malformed_json_on_create_comes_after_acceptance(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A 200 cut in the middle of its JSON: the task exists."""
    emulator.set_plan(once(K.MALFORMED_JSON, on="create"))
    reply = caller.create()
    assert reply.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        reply.json()
    assert len(emulator.tasks()) == 1


def test_an_unreadable_200_is_not_of_the_provider(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A sign-in page of the network: 200, HTML, no task."""
    emulator.set_plan(once(K.OK_UNREADABLE))
    reply = caller.create()
    assert (reply.status_code, reply.headers["content-type"][:9]) == (200, "text/html")
    assert emulator.tasks() == []


def test_a_200_with_an_error_and_no_id_is_a_refusal(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """Gateways are known to answer 200 with an error instead of a task."""
    emulator.set_plan(once(K.OK_WITHOUT_ID_WITH_ERROR))
    body = caller.create().json()
    assert "id" not in body
    assert body["error"]["code"] == "InvalidParameter"
    assert emulator.tasks() == []


def test_a_redirected_create_is_accepted_by_whoever_follows(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """307 makes no task; a client that follows it with its POST makes one."""
    emulator.set_plan(broken(Fault(kind=K.REDIRECT, on="create")))
    reply = caller.create()
    assert reply.status_code == 307
    assert emulator.tasks() == []
    followed = caller.http.post(reply.headers["location"], json=flat())
    assert followed.status_code == 200
    assert len(emulator.tasks()) == 1


@pytest.mark.parametrize("step", ["create", "download"])
def test_a_redirect_points_where_the_plan_says(
    emulator: RunningEmulator, caller: Caller, step: Any
) -> None:
    """The target is free, so that a client's rules about hosts can be tried."""
    target = "http://192.0.2.1/elsewhere"
    emulator.set_plan(broken(Fault(kind=K.REDIRECT, on=step, target=target)))
    reply = caller.create()
    if step == "download":
        reply = caller.get(urls_of(caller.finished(reply.json()["id"]))[0])
    assert reply.headers["location"] == target


@pytest.mark.parametrize("kind", _POLL_ERRORS)
def test_a_poll_goes_wrong_once(emulator: RunningEmulator, caller: Caller, kind: FaultKind) -> None:
    """An error on a poll does not touch the task."""
    task_id = caller.made()
    emulator.set_plan(once(kind, on="poll", retry_after_s=7))
    reply = caller.poll(task_id)
    assert reply.status_code == _POLL_ERRORS[kind]
    assert reply.headers.get("retry-after") == ("7" if kind is K.RATE_LIMITED else None)
    assert caller.finished(task_id)["status"] == "completed"


@pytest.mark.parametrize("kind", [K.MALFORMED_JSON, K.OK_UNREADABLE])
def test_a_poll_answers_what_nobody_can_read(
    emulator: RunningEmulator, caller: Caller, kind: FaultKind
) -> None:
    """Broken JSON and a page of HTML, both with status 200."""
    task_id = caller.made()
    emulator.set_plan(once(kind, on="poll"))
    reply = caller.poll(task_id)
    assert reply.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        reply.json()


def test_polls_are_reset_and_hang(emulator: RunningEmulator, caller: Caller) -> None:
    """The two ways of a poll without an answer."""
    task_id = caller.made()
    emulator.set_plan(once(K.RESET_BEFORE, on="poll"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        caller.poll(task_id)
    emulator.set_plan(once(K.HUNG_BEFORE, on="poll"))
    with Caller(emulator.base_url, timeout_s=0.2) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.poll(task_id)


@pytest.mark.parametrize(
    ("kind", "usd"),
    [(K.TASK_FAILED, "0.00"), (K.MODERATION_FAILED, "0.00"), (K.TASK_FAILED_BILLED, "0.06")],
)
def test_a_task_fails(emulator: RunningEmulator, caller: Caller, kind: FaultKind, usd: str) -> None:
    """A failed task has a reason, no output, and a cost only if the plan wants one."""
    emulator.set_plan(once(kind))
    body = caller.finished(caller.made(flat(n=2)))
    assert (body["status"], "output" in body) == ("failed", False)
    assert body["error"]["message"]
    assert body["usage"]["cost"] == ("" if usd == "0.00" else usd)
    bill = emulator.bill()
    assert (bill["usd"], bill["images"], bill["tasks"]["failed"]) == (usd, 0, 1)


def test_a_stuck_task_never_ends_and_blocks_nobody(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """Stuck tasks stay in progress below 100 % and leave the running slots to others."""
    emulator.set_plan(broken(Fault(kind=K.STUCK_TASK, first=6)))
    stuck = [caller.made() for _ in range(6)]
    caller.finished(caller.made())
    bodies = [caller.poll(task_id).json() for task_id in stuck]
    assert {body["status"] for body in bodies} == {"in_progress"}
    assert all(body["progress"] < 1 for body in bodies)
    assert emulator.bill()["usd"] == "0.03"


@pytest.mark.parametrize(
    ("kind", "n", "entries", "billed"),
    [
        (K.MISSING_IMAGES, 4, 3, 3),
        (K.MISSING_IMAGES, 1, 0, 0),
        (K.TOO_MANY_IMAGES, 1, 2, 2),
        (K.DUPLICATE_URL, 1, 2, 1),
        (K.DUPLICATE_URL, 3, 3, 2),
        (K.ENTRY_WITHOUT_URL, 2, 2, 1),
        (K.ENTRY_WITH_EMPTY_URL, 2, 2, 1),
        (K.VIDEO_ENTRY, 2, 2, 1),
    ],
)
def test_an_output_is_odd_and_billed_for_what_it_holds(
    emulator: RunningEmulator, caller: Caller, *, kind: FaultKind, n: int, entries: int, billed: int
) -> None:
    """Missing, surplus, doubled and empty entries; only real images are billed."""
    emulator.set_plan(once(kind))
    body = caller.finished(caller.made(flat(n=n)))
    (group,) = body["output"]
    assert len(group["content"]) == entries
    real = {e["url"] for e in group["content"] if e.get("url") and e["type"] == "image"}
    assert len(real) == billed
    assert [caller.get(url).status_code for url in real] == [200] * billed
    assert emulator.bill()["images"] == billed
    assert (kind is K.ENTRY_WITHOUT_URL) == any("url" not in e for e in group["content"])
    assert (kind is K.ENTRY_WITH_EMPTY_URL) == any(e.get("url") == "" for e in group["content"])
    assert (kind is K.VIDEO_ENTRY) == any(e["type"] == "video" for e in group["content"])


def test_late_images_are_listed_and_charged_by_later_polls(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """Completed at once, with what is there by then; polls before its end are not counted."""
    emulator.set_plan(broken(Fault(kind=K.LATE_IMAGES, times=2, amount=2)))
    first = caller.finished(task_id := caller.made(flat(n=2)))
    second, third = caller.poll(task_id).json(), caller.poll(task_id).json()
    told = [
        (body["status"], len(body["output"][0]["content"]), body["usage"]["cost"])
        for body in (first, second, third)
    ]
    assert told == [("completed", 0, "0.00"), ("completed", 0, "0.00"), ("completed", 2, "0.06")]
    assert emulator.bill()["usd"] == "0.06"


def test_every_outcome_is_tried_here() -> None:
    """A kind that is added must be added to these tests."""
    tried = {K.TASK_FAILED, K.TASK_FAILED_BILLED, K.MODERATION_FAILED, K.STUCK_TASK}
    tried |= {K.MISSING_IMAGES, K.TOO_MANY_IMAGES, K.DUPLICATE_URL, K.ENTRY_WITHOUT_URL}
    assert tried | {K.ENTRY_WITH_EMPTY_URL, K.VIDEO_ENTRY} == OUTCOMES
