"""Answers to polls, read as the gateway's."""

from __future__ import annotations

import json
from typing import Any

from wan_pipeline.wan.answers import TaskAnswer
from wan_pipeline.wan.dialects.exchange import ApiReply
from wan_pipeline.wan.dialects.gateway import Gateway

__all__ = ["GATEWAY", "ID", "read", "task"]

GATEWAY = Gateway()
ID = "d9abc0te878c73xyz010"


def read(body: Any, status: int = 200) -> Any:
    """The answer to a poll."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GATEWAY.read_poll(ApiReply(status=status, body=raw), ID)


def task(**fields: Any) -> TaskAnswer:
    """A poll's answer with the usual fields and these."""
    answer = read({"id": ID, "status": "completed", "model": "m", **fields})
    assert isinstance(answer, TaskAnswer)
    return answer
