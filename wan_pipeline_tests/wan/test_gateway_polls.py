"""A task's state in every shape that vendors' documents, clients and tests show."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.wan.answers import ErrorKind, TaskAnswer, TaskMissing, TaskState
from wan_pipeline.wan.errors import AccountStopError, PollError, StopReason
from wan_pipeline_tests.wan.answers_fixture import any_body
from wan_pipeline_tests.wan.polls_fixture import ID, read, task

A, B = "https://cdn.example/a.webp", "https://cdn.example/b.webp"


RUNNING = ["in_progress", "in_queue", "pending", "queued", "processing", "IN_QUEUE", "IN_PROGRESS"]
RUNNING += ["PENDING", "RUNNING", "SUSPENDED", "a word of next year"]
SUCCEEDED = ["completed", "success", "succeeded", "done", "COMPLETED", "SUCCEEDED", "Completed"]
FAILED = ["failed", "error", "cancelled", "canceled", "FAILED", "CANCELED"]


@pytest.mark.parametrize(
    ("word", "state"),
    [(word, TaskState.RUNNING) for word in RUNNING]
    + [(word, TaskState.SUCCEEDED) for word in SUCCEEDED]
    + [(word, TaskState.FAILED) for word in FAILED],
)
def test_every_status_word(word: str, state: TaskState) -> None:
    """In any case of letters; a word that nobody knows keeps the task running."""
    assert task(status=word).state is state


@pytest.mark.parametrize("word", ["UNKNOWN", "unknown"])
def test_unknown_is_missing(word: str) -> None:
    """A task that the provider has no record of is no failed task: it may have been paid."""
    assert read({"status": word}) == TaskMissing(task_id=ID)


def test_completed_with_an_error_is_a_failure() -> None:
    """Some providers know no other word for the end of a task."""
    answer = task(status="COMPLETED", error="blocked by policy", error_type="CONTENT_BLOCKED")
    assert answer.state is TaskState.FAILED
    assert str(answer.error) == "blocked by policy"


def test_completed_with_an_error_and_images_keeps_the_images() -> None:
    """What came is paid for."""
    answer = task(error={"code": "x", "message": "one of two failed"}, output=[{"url": A}])
    assert answer.state is TaskState.SUCCEEDED
    assert [link.url for link in answer.images] == [A]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"error": "boom"}, "boom"),
        ({"error": {"code": "X", "message": "boom"}}, "X: boom"),
        ({"error": {"code": 190000, "message": "boom"}}, "190000: boom"),
        ({"error": {"code": 190000, "error_message": "boom"}}, "190000: boom"),
        ({"code": "002014001", "message": "boom"}, "002014001: boom"),
        ({"error": None, "detail": "boom"}, "boom"),
        ({}, "failed without a reason"),
        ({"error": {}}, "failed without a reason"),
        ({"error": ""}, "failed without a reason"),
    ],
)
def test_reason_of_a_failure_in_every_shape(fields: dict[str, Any], text: str) -> None:
    """The reason survives, wherever it stands; a failure without one says so."""
    answer = task(status="failed", **fields)
    assert answer.state is TaskState.FAILED
    assert str(answer.error) == text


@pytest.mark.parametrize(
    "fields",
    [
        {"error": {"code": 110001, "message": "sensitive"}},
        {"error": {"code": "DataInspectionFailed", "message": "sensitive"}},
        {"error": {"code": "CONTENT_BLOCKED", "message": "sensitive"}},
    ],
)
def test_moderation_is_recognised_by_its_code(fields: dict[str, Any]) -> None:
    """Such a request is never bought again."""
    error = task(status="failed", **fields).error
    assert error is not None
    assert error.kind is ErrorKind.MODERATION


LAYOUTS: dict[str, dict[str, Any]] = {
    "one group": {"output": [{"content": [{"type": "image", "url": A}, {"url": B}]}]},
    "a group for each": {"output": [{"content": [{"url": A}]}, {"content": [{"url": B}]}]},
    "content as an object": {"output": [{"content": {"url": A}}, {"content": {"url": B}}]},
    "flat": {"output": [{"type": "image", "url": A, "jobId": "j"}, {"url": B}]},
    "output as an object": {"output": {"content": [{"url": A}, {"url": B}]}},
    "outputs": {"outputs": [{"type": "image", "url": A}, {"type": "image", "url": B}]},
    "results": {"output": {"results": [{"url": A, "orig_prompt": "x"}, {"url": B}]}},
    "failed entries": {
        "output": [{"content": [{"url": A}, {"code": "X"}, {"url": ""}, {"url": None}, {"url": B}]}]
    },
    "the same twice": {"output": [{"url": A}, {"url": A}, {"url": B}]},
    "capital type": {"output": [{"type": "IMAGE", "url": A}, {"type": "", "url": B}]},
    "odd neighbours": {"output": [None, 3, "x", {"content": [1, {"url": A}]}, {"url": B}, []]},
}


@pytest.mark.parametrize("fields", LAYOUTS.values(), ids=LAYOUTS)
def test_images_in_every_layout(fields: dict[str, Any]) -> None:
    """Every URL once, in the provider's order; entries without one are no images."""
    assert [link.url for link in task(**fields).images] == [A, B]


def test_job_ids_are_kept() -> None:
    """They are the only trace to the model's own task."""
    links = task(output=[{"content": [{"url": A, "jobId": "up-1"}, {"url": B, "jobId": 7}]}]).images
    assert [link.job_id for link in links] == ["up-1", "7"]


def test_video_is_a_foreign_item() -> None:
    """The page allows the type, the pipeline does not keep it."""
    answer = task(output=[{"content": [{"type": "video", "url": A}]}])
    assert (answer.images, answer.foreign_items) == ((), ("video",))


@pytest.mark.parametrize("url", ["https://h/\ud800", "https://h/\0", "h" * 9000, 7, ["x"], {}])
def test_url_that_no_ledger_could_hold_is_no_image(url: Any) -> None:
    """It could neither be stored nor fetched."""
    assert task(output=[{"url": url}, {"url": B}]).images[0].url == B


MOMENT = datetime(2026, 11, 22, 7, 28, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", [MOMENT.timestamp(), int(MOMENT.timestamp()), int(MOMENT.timestamp() * 1000)]
)
@pytest.mark.parametrize("kind", [lambda value: value, str])
def test_time_in_seconds_or_milliseconds(value: float, kind: Any) -> None:
    """Told apart by magnitude, as number or text."""
    answer = task(created_at=kind(value), metadata={"completed_at": kind(value)})
    assert answer.created_at == MOMENT
    assert answer.completed_at == MOMENT


@pytest.mark.parametrize(
    "value",
    ["2026-11-22 07:28:30.101", "", None, 0, -5, True, [], float("inf"), 10**400, 1e300, "nan"],
)
def test_time_that_is_none(value: Any) -> None:
    """Without a zone, or without sense: not known, and nothing breaks."""
    assert task(created_at=value).created_at is None


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [(0, 0.0), (0.45, 0.45), (1.0, 1.0), (None, None), (45, None), ("0.5", None), (True, None)],
)
def test_progress(progress: Any, fraction: float | None) -> None:
    """From 0 to 1, or not at all."""
    assert task(status="in_progress", progress=progress).progress == fraction


def test_envelope_is_taken_off() -> None:
    """The older gateway wraps every reply."""
    answer = read(
        {
            "data": {"id": ID, "status": "success", "output": [{"url": A}]},
            "status": {"code": 200, "message": "success"},
        }
    )
    assert isinstance(answer, TaskAnswer)
    assert [link.url for link in answer.images] == [A]


def test_raw_answer_and_metadata_are_kept() -> None:
    """As received; metadata stays valid JSON even where the answer was not quite."""
    body = b'{"status": "done", "metadata": {"b": NaN, "a": "\xe7\x8c\xab \\ud800", "c": 1e999}}'
    answer = read(body)
    assert isinstance(answer, TaskAnswer)
    assert answer.raw == body.decode()
    assert answer.metadata_json is not None
    assert json.loads(answer.metadata_json, parse_constant=pytest.fail) == {
        "a": "猫 ?",
        "b": None,
        "c": None,
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (404, b"<html/>"),
        (404, {"error": {"code": "TaskNotFound", "message": "Task not found"}}),
        (200, {"status": {"code": 404, "message": "Task not found"}, "data": None}),
    ],
)
def test_unknown_id_is_missing(status: int, body: Any) -> None:
    """Not yet, or no longer."""
    assert read(body, status) == TaskMissing(task_id=ID)


@pytest.mark.parametrize(
    ("status", "body", "stop"),
    [
        (401, b"", StopReason.BAD_KEY),
        (402, b"", StopReason.NO_CREDIT),
        (403, {"error": "permission denied"}, StopReason.FORBIDDEN),
        (
            200,
            {"status": {"code": 401, "message": "who are you"}, "data": None},
            StopReason.BAD_KEY,
        ),
    ],
)
def test_refused_account_stops(status: int, body: Any, stop: StopReason) -> None:
    """No other task can be asked for either; the message says what to do."""
    with pytest.raises(AccountStopError) as caught:
        read(body, status)
    assert caught.value.reason is stop
    assert stop.remedy in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b'{"id": "'),
        (200, b"<html/>"),
        (200, {}),
        (200, {"error": "busy"}),
        (200, {"id": ID}),
        (200, {"status": 3}),
        (200, {"status": {"code": 500, "message": "busy"}, "data": None}),
        (302, b""),
        (400, {"error": "bad"}),
        (500, b""),
    ],
)
def test_unreadable_answer_is_an_error_of_the_poll(status: int, body: Any) -> None:
    """Never a failure of the task, which goes on; the message says so."""
    with pytest.raises(PollError, match="goes on at the provider"):
        read(body, status)


@given(status=st.integers(100, 599), body=any_body())
def test_any_answer_is_read_or_a_documented_error(status: int, body: bytes) -> None:
    """Everything that comes out can be written to a ledger."""
    try:
        answer = read(body, status)
    except (PollError, AccountStopError) as error:
        str(error).encode()
        return
    assert isinstance(answer, TaskAnswer | TaskMissing)
    if isinstance(answer, TaskAnswer):
        texts = (answer.raw, answer.metadata_json or "", answer.discount or "", str(answer.error))
        for text in (*texts, *(link.url + link.job_id for link in answer.images)):
            text.encode()
            assert "\0" not in text
        assert answer.cost_usd is None or answer.cost_usd >= 0
        if answer.metadata_json is not None:
            json.loads(answer.metadata_json, parse_constant=pytest.fail)
