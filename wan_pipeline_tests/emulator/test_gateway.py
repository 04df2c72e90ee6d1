"""The dialect over real HTTP: create, poll, limits, credit, bill and every known variant."""

from __future__ import annotations

import itertools
import socket
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wan_pipeline.emulator.plan import (
    EmulatorPlan,
    ErrorShape,
    Fault,
    FaultKind,
    LatencyLaw,
    ReplyStyle,
)
from wan_pipeline_tests.emulator.client import (
    MODEL,
    Caller,
    flat,
    urls_of,
    wrapped_flat,
    wrapped_nested,
)
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

SLOW = EmulatorPlan(latency=LatencyLaw(queue_min_s=60, queue_max_s=60))


@pytest.mark.parametrize("form", [flat, wrapped_nested, wrapped_flat])
def test_a_task_goes_from_create_to_images(
    emulator: RunningEmulator, caller: Caller, form: Any
) -> None:
    """Create, poll until completed, download: in each request form, billed per image."""
    reply = caller.create(form("a kite", n=2, seed=7)).json()
    assert len(reply["id"]) == 20
    assert reply["status"] == "in_progress"
    assert reply["model"] == MODEL
    assert len(str(reply["created_at"])) == 13

    done = caller.finished(reply["id"])
    assert done["progress"] == 1.0
    assert done["usage"] == {"cost": "0.06", "discount": 1, "quantity": 2, "unit_price": "0.03"}
    images = [caller.get(url) for url in urls_of(done)]
    assert [image.status_code for image in images] == [200, 200]
    assert images[0].content != images[1].content

    bill = emulator.bill()
    assert (bill["images"], bill["usd"]) == (2, "0.06")
    assert (bill["creates_received"], bill["creates_accepted"], bill["refused"]) == (1, 1, 0)
    assert bill["tasks"] == {"queued": 0, "running": 0, "completed": 1, "failed": 0}
    (task,) = emulator.tasks()
    assert (task["id"], task["state"], task["cost"]) == (reply["id"], "completed", "0.06")
    assert task["content"]["prompt"] == "a kite"


def test_a_create_is_answered_as_of_its_acceptance(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """However long a busy machine takes to write the task down, it was not done by then."""
    account = emulator._emulator.account
    seconds = itertools.count(time.time(), 60.0)  # a minute passes between any two looks
    account.clock = lambda: next(seconds)
    assert caller.create(flat("a kite")).json()["status"] == "in_progress"


def test_client_that_dies_in_the_middle_of_a_create_has_bought_nothing(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """Its create counts as received and refused, so that the book still adds up."""
    with socket.create_connection(("127.0.0.1", emulator.port)) as client:
        client.sendall(
            b"POST /model/v1/generation HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
            b'Authorization: Bearer k\r\n\r\n{"model'
        )
    wait_for(lambda: emulator.bill()["refused"], what="the refusal", within_s=10)
    bill = emulator.bill()
    counts = (bill["creates_received"], bill["creates_accepted"], bill["refused"])
    assert counts == (1, 0, 1)
    assert caller.create(flat("a kite")).status_code == 200


def test_the_model_header_replaces_the_model_in_the_body(caller: Caller) -> None:
    """Newer clients name the model in X-Model only."""
    assert caller.create(flat(model=None), **{"x-model": MODEL}).status_code == 200
    assert caller.create(flat(model=None)).status_code == 400


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "test-key"])
def test_no_key_no_answer(emulator: RunningEmulator, header: str | None) -> None:
    """Create and poll without a Bearer key answer 401."""
    headers = {} if header is None else {"authorization": header}
    with httpx.Client(base_url=emulator.base_url, trust_env=False, headers=headers) as http:
        created = http.post("/model/v1/generation", json=flat())
        polled = http.get("/model/v1/generation/task/none")
    assert (created.status_code, polled.status_code) == (401, 401)
    assert created.json()["error"]["code"] == "InvalidApiKey"
    assert emulator.bill()["refused"] == 1


def test_only_the_configured_key_opens(emulator: RunningEmulator) -> None:
    """A plan with a key knows that key and no other."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, api_key="right"))
    with Caller(emulator.base_url, key="wrong") as wrong:
        assert wrong.create().status_code == 401
    with Caller(emulator.base_url, key="right") as right:
        assert right.create().status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"model": 1' + b"0" * 5000])
def test_a_body_that_is_not_json_is_refused(
    emulator: RunningEmulator, caller: Caller, body: bytes
) -> None:
    """Whatever is not JSON answers 400 and costs nothing."""
    reply = caller.http.post("/model/v1/generation", content=body)
    assert reply.status_code == 400
    assert emulator.bill()["creates_accepted"] == 0


def test_a_lone_surrogate_is_echoed_not_fatal(emulator: RunningEmulator, caller: Caller) -> None:
    """JSON can escape half a character; the book keeps it and the painter draws it."""
    body = b'{"model": "%s", "input": {"prompt": "half \\ud83d"}}' % MODEL.encode()
    reply = caller.http.post("/model/v1/generation", content=body)
    assert caller.get(urls_of(caller.finished(reply.json()["id"]))[0]).status_code == 200
    assert emulator.tasks()[0]["content"]["prompt"] == "half \ud83d"


def test_an_unknown_task_is_not_found(caller: Caller) -> None:
    """A task id that was never given answers 404."""
    assert caller.poll("0" * 20).status_code == 404


def test_the_same_request_twice_is_two_tasks(emulator: RunningEmulator, caller: Caller) -> None:
    """Nothing here is idempotent, as at the real provider: each create is billed."""
    first, second = caller.made(flat(n=1)), caller.made(flat(n=1))
    assert first != second
    caller.finished(first)
    caller.finished(second)
    assert emulator.bill()["usd"] == "0.06"


def test_progress_grows_and_a_waiting_task_costs_nothing(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A task that has not started shows progress 0 and is not on the bill."""
    emulator.set_plan(SLOW)
    body = caller.poll(caller.made(flat(n=4))).json()
    assert (body["status"], body["progress"]) == ("in_progress", 0.0)
    assert "output" not in body
    bill = emulator.bill()
    assert (bill["usd"], bill["tasks"]["queued"]) == ("0.00", 1)


def test_submissions_beyond_the_rate_get_429_with_retry_after(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A burst of one second's worth passes; then 429 says when to come back."""
    emulator.set_plan(EmulatorPlan(submissions_per_second=2))
    replies = [caller.create() for _ in range(4)]
    assert [reply.status_code for reply in replies[:2]] == [200, 200]
    limited = [reply for reply in replies if reply.status_code == 429]
    assert limited
    assert int(limited[-1].headers["retry-after"]) >= 1
    bill = emulator.bill()
    assert bill["creates_received"] == 4
    assert bill["refused"] == len(limited)


def test_queries_beyond_the_rate_get_429(emulator: RunningEmulator, caller: Caller) -> None:
    """Task queries have a limit of their own."""
    emulator.set_plan(EmulatorPlan(queries_per_second=3))
    task_id = caller.made()
    codes = [caller.poll(task_id).status_code for _ in range(8)]
    assert codes[:3] == [200] * 3
    assert 429 in codes


def test_credit_is_used_up_to_the_cent(emulator: RunningEmulator, caller: Caller) -> None:
    """Creates are accepted while the credit covers them, finished or not; then 402."""
    emulator.set_plan(SLOW.model_copy(update={"credit_usd": Decimal("0.09")}))
    assert caller.create(flat(n=2)).status_code == 200
    refused = caller.create(flat(n=2))
    assert refused.status_code == 402
    assert refused.json() == {
        "status": {"code": 402, "message": "Insufficient credits", "error_code": 40201},
        "data": None,
    }
    assert caller.create(flat(n=1)).status_code == 200
    assert caller.create(flat(n=1)).status_code == 402


def test_the_price_of_a_task_is_the_price_at_its_acceptance(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """A new price concerns new tasks; the bill adds both exactly."""
    caller.finished(caller.made(flat(n=1)))
    emulator.set_plan(EmulatorPlan(speed_up=1000, price_usd=Decimal("0.000000001")))
    caller.finished(caller.made(flat(n=3)))
    assert Decimal(emulator.bill()["usd"]) == Decimal("0.030000003")


@pytest.mark.parametrize("shape", [s for s in ErrorShape if s is not ErrorShape.HTML])
def test_a_failed_task_tells_its_reason(
    emulator: RunningEmulator, caller: Caller, shape: ErrorShape
) -> None:
    """A failed task answers 200 with its reason and an empty cost, and is not billed."""
    emulator.set_plan(
        EmulatorPlan(
            speed_up=1000,
            replies=ReplyStyle(error_shape=shape),
            faults=(Fault(kind=FaultKind.MODERATION_FAILED),),
        )
    )
    body = caller.finished(caller.made())
    assert body["status"] == "failed"
    assert "input may contain sensitive information" in str(body)
    assert body["usage"] == {"cost": ""}
    assert emulator.bill()["usd"] == "0.00"


def test_a_wrong_plan_is_rejected_and_the_old_one_stays(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """Posting nonsense answers 422 with the reason and changes nothing."""
    before = emulator.plan()
    for body in ({"speed_up": 1001}, {"speed": 2}, {"faults": [{"kind": "nonsense"}]}, []):
        reply = caller.http.post("/_emulator/plan", json=body)
        assert reply.status_code == 422
        assert reply.json()["error"]
    assert emulator.plan() == before


def test_urls_name_the_host_that_was_asked(emulator: RunningEmulator, caller: Caller) -> None:
    """A caller who says localhost gets URLs on localhost."""
    task_id = caller.made()
    caller.finished(task_id)
    reply = caller.http.get(f"http://localhost:{emulator.port}/model/v1/generation/task/{task_id}")
    assert urls_of(reply.json())[0].startswith(f"http://localhost:{emulator.port}/files/")
