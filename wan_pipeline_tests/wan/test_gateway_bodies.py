"""What the `gateway` dialect sends: bodies, paths, and task ids that try tricks."""

from __future__ import annotations

import json

import pytest

from wan_pipeline.wan.answers import CreateAccepted, CreateDoubtful
from wan_pipeline.wan.dialects.exchange import ApiReply
from wan_pipeline.wan.dialects.gateway import Gateway
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import make_request

GATEWAY = Gateway()
REQUEST = make_request(
    "a red kite", negative_prompt="text", size="1696*960", n=2, seed=0, prompt_extend=True
)
CONTENT = {"prompt": "a red kite", "negative_prompt": "text"}
PARAMETERS = {"size": "1696*960", "n": 2, "prompt_extend": True, "watermark": False, "seed": 0}


def test_flat_body_is_the_pages() -> None:
    """The API page's layout, every parameter explicit, seed 0 and false included."""
    call = GATEWAY.create_call(REQUEST, RequestForm.FLAT)
    assert (call.method, call.path) == ("POST", "/model/v1/generation")
    assert call.json == {
        "model": "wan25_t2i_preview_intl",
        "input": CONTENT,
        "parameters": PARAMETERS,
    }


def test_wrapped_body_is_the_vendor_clients() -> None:
    """The same two objects, nested under the first element of `input`."""
    call = GATEWAY.create_call(REQUEST, RequestForm.WRAPPED)
    assert call.json == {
        "model": "wan25_t2i_preview_intl",
        "input": [{"params": {"input": CONTENT, "parameters": PARAMETERS}}],
    }


def test_empty_negative_prompt_is_not_sent() -> None:
    """None is the provider's own default; an empty text might be something else to it."""
    call = GATEWAY.create_call(make_request(negative_prompt=""), RequestForm.FLAT)
    assert call.json is not None
    assert call.json["input"] == {"prompt": "a red kite over dunes"}


@pytest.mark.parametrize(
    "task_id", ["d758n65e878c73cmdg20", "0385dc79-0000-4d82-bcb6-000000000000", "mmsu.01:kq_8"]
)
def test_real_task_ids_are_asked_for(task_id: str) -> None:
    """Ids as providers give them are accepted and stay one segment of the path."""
    body = json.dumps({"id": task_id, "status": "in_progress"}).encode()
    outcome = GATEWAY.read_create(ApiReply(status=200, body=body))
    assert isinstance(outcome, CreateAccepted)
    assert outcome.task.task_id == task_id
    path = GATEWAY.poll_call(task_id).path
    assert path.removeprefix("/model/v1/generation/task/").count("/") == 0


@pytest.mark.parametrize(
    "task_id",
    [
        "..",
        ".",
        "../../user",
        "a/b",
        "a?x=1",
        "a#b",
        "a b",
        "a\nb",
        "a\\b",
        "%2e%2e",
        "é",
        "x" * 201,
    ],
)
def test_task_id_that_is_no_id_is_doubt(task_id: str) -> None:
    """A task may exist, but what the answer calls its id is not put into a path."""
    body = json.dumps({"id": task_id, "status": "in_progress"}).encode()
    outcome = GATEWAY.read_create(ApiReply(status=200, body=body))
    assert isinstance(outcome, CreateDoubtful)


@pytest.mark.parametrize("task_id", ["../../user", "a/b", "a?x=1", "a#b", "a%2fb"])
def test_path_of_a_poll_stays_below_the_task(task_id: str) -> None:
    """Whatever the ledger holds as an id, it is quoted whole."""
    path = GATEWAY.poll_call(task_id).path
    tail = path.removeprefix("/model/v1/generation/task/")
    assert not set(tail) & set("/?#")
