"""What came of a create, for every shape of answer: accepted, refused, throttled or doubt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateRefused,
    CreateThrottled,
    ErrorKind,
    TaskState,
)
from wan_pipeline.wan.dialects.exchange import ApiReply
from wan_pipeline.wan.dialects.gateway import Gateway
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.wan.answers_fixture import any_body

GATEWAY = Gateway()
OUTCOMES = (CreateAccepted, CreateRefused, CreateThrottled, CreateDoubtful)
ID = "d9abc0te878c73xyz010"


def read(status: int, body: Any, *, retry_after_s: float | None = None) -> Any:
    """The outcome of a create answered like this."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GATEWAY.read_create(ApiReply(status=status, body=raw, retry_after_s=retry_after_s))


ACCEPTED = {
    "as the page": {"id": ID, "created_at": 1795332508021, "status": "in_progress", "model": "m"},
    "old word": {"id": ID, "status": "in_queue"},
    "unknown word": {"id": ID, "status": "warming_up"},
    "id alone": {"id": ID},
    "null status": {"id": ID, "status": None},
    "status that is no word": {"id": ID, "status": {"code": 200, "message": "ok"}},
    "null error": {"id": ID, "status": "pending", "error": None},
    "number as id": {"id": 12345, "status": "queued"},
    "legacy envelope": {"data": {"id": ID}, "status": {"code": 200, "message": "success"}},
    "envelope with 202": {"data": {"id": ID}, "status": {"code": 202, "message": "accepted"}},
    "envelope with text code": {"data": {"id": ID}, "status": {"code": "200", "message": "ok"}},
    "envelope with code 0": {"code": 0, "message": "success", "data": {"id": ID}},
    "success code beside the task": {"code": 200, "message": "ok", "id": ID, "status": "queued"},
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_task_id_is_acceptance(status: int, body: dict[str, Any]) -> None:
    """An answer with an id is a task that will be billed, however it is wrapped."""
    outcome = read(status, body)
    assert isinstance(outcome, CreateAccepted)
    assert outcome.task.task_id == str(body.get("id") or ID)
    assert outcome.task.state is TaskState.RUNNING


def test_task_completed_at_once_brings_its_output() -> None:
    """Fast jobs carry the result in the create's own answer."""
    outcome = read(200, {"id": ID, "status": "completed", "output": [{"url": "https://h/1.png"}]})
    assert isinstance(outcome, CreateAccepted)
    assert outcome.task.state is TaskState.SUCCEEDED
    assert [link.url for link in outcome.task.images] == ["https://h/1.png"]


def test_task_that_failed_at_once_is_accepted_and_failed() -> None:
    """With an id it is a task, so its failure is the task's and not the create's."""
    outcome = read(200, {"id": ID, "status": "failed", "error": "boom"})
    assert isinstance(outcome, CreateAccepted)
    assert outcome.task.state is TaskState.FAILED


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_id_of_a_gateway_that_stopped_waiting_is_kept(status: int) -> None:
    """A time-out that still names the task leaves no doubt that there is one."""
    error = {"code": "SYNC_TIMEOUT", "message": "still running"}
    outcome = read(status, {"id": ID, "status": "in_progress", "error": error})
    assert isinstance(outcome, CreateAccepted)
    assert outcome.task.task_id == ID


@pytest.mark.parametrize("body", [{"id": "err-1"}, {"id": "err-1", "status": "error"}])
def test_id_of_an_error_is_no_task(body: dict[str, Any]) -> None:
    """A server error may number itself; only a task's state beside the id makes it a task."""
    assert isinstance(read(500, body), CreateDoubtful)


DOUBTFUL = {
    "empty": b"",
    "cut": b'{"id": "',
    "html": b"<html>sign in</html>",
    "no object": [],
    "null": None,
    "nothing in it": {},
    "status without id": {"status": "in_progress"},
    "unreadable id beside an error": {"id": "../x", "error": "odd"},
    "id in an unknown envelope": {"code": 7, "message": "odd", "data": {"id": ID}},
    "id of another dialect": {"output": {"task_id": ID}, "code": "x", "message": "y"},
    "envelope of a server error": {"data": None, "status": {"code": 500, "message": "busy"}},
    "envelope without code": {"data": None, "status": {}},
}


@pytest.mark.parametrize("body", DOUBTFUL.values(), ids=DOUBTFUL)
def test_good_status_without_task_or_refusal_is_doubt(body: Any) -> None:
    """Nothing here proves that no task was made."""
    assert isinstance(read(200, body), CreateDoubtful)


@pytest.mark.parametrize(
    "status", [100, 204, 301, 302, 307, 308, 405, 408, 409, 418, 500, 503, 599]
)
@pytest.mark.parametrize("body", [b"", b"<html/>", b'{"error": "x"}'])
def test_other_statuses_are_doubt(status: int, body: bytes) -> None:
    """Redirects, conflicts, time-outs and server errors may follow an acceptance."""
    assert isinstance(read(status, body), CreateDoubtful)


MESSAGE = "the size is not supported"
ERROR_SHAPES: dict[str, tuple[Any, str]] = {
    "string": ({"error": MESSAGE}, ""),
    "text code": ({"error": {"code": "InvalidParameter", "message": MESSAGE}}, "InvalidParameter"),
    "number code": ({"error": {"code": 40000, "message": MESSAGE}}, "40000"),
    "error_message": ({"error": {"code": 40000, "error_message": MESSAGE}}, "40000"),
    "top level": ({"code": "InvalidParameter", "message": MESSAGE}, "InvalidParameter"),
    "top level with null error": ({"error": None, "code": "x", "message": MESSAGE}, "x"),
    "detail": ({"detail": MESSAGE}, ""),
    "envelope": (
        {"status": {"code": 400, "message": MESSAGE, "error_code": 40001}, "data": None},
        "40001",
    ),
}


@pytest.mark.parametrize(("body", "code"), ERROR_SHAPES.values(), ids=ERROR_SHAPES)
@pytest.mark.parametrize("status", [200, 400, 413, 422])
def test_refusal_is_read_in_every_shape(status: int, body: Any, code: str) -> None:
    """Code and words survive; 400 and 422 may also mean that the form was not understood."""
    outcome = read(status, body)
    assert isinstance(outcome, CreateRefused)
    assert (outcome.error.code, outcome.error.message) == (code, MESSAGE)
    assert outcome.stop is None
    enveloped = code == "40001"
    assert outcome.form_suspect == (status in (400, 422) or (status == 200 and enveloped))


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b"[1]", b'"no"'])
def test_refusal_without_a_readable_error_is_one(status: int, body: bytes) -> None:
    """The status alone proves it."""
    outcome = read(status, body)
    assert isinstance(outcome, CreateRefused)
    assert outcome.error.message


def test_list_of_details_becomes_text() -> None:
    """Validators answer with a list of objects; it is kept as JSON."""
    outcome = read(422, {"detail": [{"loc": ["body", "n"], "msg": "too many"}]})
    assert isinstance(outcome, CreateRefused)
    assert "too many" in outcome.error.message


STOPS: dict[str, tuple[int, Any, StopReason]] = {
    "401": (401, b"", StopReason.BAD_KEY),
    "401 with text": (401, {"error": "no key"}, StopReason.BAD_KEY),
    "402": (402, b"", StopReason.NO_CREDIT),
    "402 envelope": (
        402,
        {"status": {"code": 402, "message": "Insufficient credits", "error_code": 40201}},
        StopReason.NO_CREDIT,
    ),
    "402 generic": (402, {"error": {"code": 40200, "message": "pay"}}, StopReason.NO_CREDIT),
    "40208": (400, {"error": {"code": 40208, "message": "balance"}}, StopReason.NO_CREDIT),
    "403": (403, {"error": "insufficient balance or permission denied"}, StopReason.FORBIDDEN),
    "403 free tier": (
        403,
        {"code": "AllocationQuota.FreeTierOnly", "message": "used up"},
        StopReason.NO_CREDIT,
    ),
    "400 arrearage": (400, {"code": "Arrearage", "message": "overdue"}, StopReason.NO_CREDIT),
    "200 envelope": (
        200,
        {"status": {"code": 402, "message": "no", "error_code": 40201}, "data": None},
        StopReason.NO_CREDIT,
    ),
    "200 envelope, text code": (
        200,
        {"status": {"code": "402", "message": "no"}, "data": None},
        StopReason.NO_CREDIT,
    ),
    "200 error": (200, {"error": {"code": "InvalidApiKey", "message": "no"}}, StopReason.BAD_KEY),
    "404": (404, b"<html>not found</html>", StopReason.MISSING_MODEL),
    "400 model": (400, {"code": "ModelNotFound", "message": "no"}, StopReason.MISSING_MODEL),
    "403 model": (403, {"code": "Model.AccessDenied", "message": "no"}, StopReason.FORBIDDEN),
}


@pytest.mark.parametrize(("status", "body", "stop"), STOPS.values(), ids=STOPS)
def test_account_trouble_stops_the_batch(status: int, body: Any, stop: StopReason) -> None:
    """No other request can do better, so none is tried, and the other form is not either."""
    outcome = read(status, body)
    assert isinstance(outcome, CreateRefused)
    assert outcome.stop is stop
    assert not outcome.form_suspect


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": 110001, "message": "sensitive"}},
        {"code": "DataInspectionFailed", "message": "sensitive"},
    ],
)
def test_moderation_refuses_one_request_only(status: int, error: Any) -> None:
    """The next prompt may be harmless, and another form of this one is as harmful."""
    outcome = read(status, error)
    assert isinstance(outcome, CreateRefused)
    assert outcome.error.kind is ErrorKind.MODERATION
    assert outcome.stop is None
    assert not outcome.form_suspect


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b""),
        (429, {"error": {"code": 1002, "message": "slow down"}}),
        (400, {"code": "Throttling.RateQuota", "message": "slow down"}),
        (403, {"code": "Throttling.AllocationQuota", "message": "slow down"}),
        (200, {"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "slow down"}}),
        (200, {"status": {"code": 429, "message": "slow down"}, "data": None}),
    ],
)
def test_throttling_under_any_status_pauses(status: int, body: Any) -> None:
    """A rate limit is no refusal; the wish of Retry-After is passed on."""
    outcome = read(status, body, retry_after_s=2.5)
    assert outcome == CreateThrottled(retry_after_s=2.5)


@given(status=st.integers(100, 599), body=any_body())
def test_any_answer_has_an_outcome(status: int, body: bytes) -> None:
    """Whatever comes, the create has one of four outcomes and nothing is raised."""
    outcome = read(status, body)
    assert isinstance(outcome, OUTCOMES)
    if isinstance(outcome, CreateRefused):
        assert status in {200, 201, 202, 400, 401, 402, 403, 404, 413, 422}
        outcome.error.message.encode()
        outcome.error.code.encode()
    if isinstance(outcome, CreateAccepted):
        assert status not in {400, 401, 402, 403, 404, 413, 422, 429}


@given(body=any_body())
def test_error_with_an_id_is_never_a_refusal(body: bytes) -> None:
    """Under a good status a readable id outweighs every error beside it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        outcome = read(200, json.dumps({**document, "id": ID}).encode())
        assert isinstance(outcome, CreateAccepted | CreateDoubtful)
