"""What the emulator answers: task bodies and errors, in the variant the plan asks for.

Bodies only: status codes, headers and connections are the business of ``app``.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from wan_pipeline.emulator.book import money
from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.plan import ErrorShape, OutputLayout

if TYPE_CHECKING:
    from decimal import Decimal

    from wan_pipeline.emulator.book import Task
    from wan_pipeline.emulator.plan import ReplyStyle

__all__ = ["Reply", "ResultUrls", "error_reply", "task_reply"]

JSON = "application/json"

_FAILURE_REASONS: dict[FaultKind, tuple[str, int, str]] = {
    FaultKind.MODERATION_FAILED: (
        "DataInspectionFailed",
        110001,
        "input may contain sensitive information",
    ),
    FaultKind.TASK_FAILED: ("InternalError.Algo", 150000, "the model could not finish this task"),
    FaultKind.TASK_FAILED_BILLED: ("InternalError.Upload", 150001, "the result could not be saved"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, type and body of an answer."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def json(cls, status: int, body: object) -> Reply:
        """A JSON answer; escapes everything but ASCII, so that any prompt can be echoed."""
        return cls(status, JSON, json.dumps(body).encode("ascii"))


@dataclass(frozen=True, slots=True)
class ResultUrls:
    """Makes and checks the signed, expiring URLs of images.

    Attributes:
        base: scheme and authority under which the caller reached this server.
        secret: signing key, kept with the book so that URLs survive a restart.
    """

    base: str
    secret: bytes

    def url(self, task: Task, index: int) -> str:
        """The URL of one image of a task that has ended."""
        expires = str(int(task.expires_at or 0) + 1)
        query = urlencode(
            {"Expires": expires, "Signature": self.sign(task.task_id, index, expires)}
        )
        suffix = task.image_format.value
        return f"{self.base}/files/{task.task_id}/{index}.{suffix}?{query}"

    def sign(self, task_id: str, index: int, expires: str) -> str:
        """The signature that belongs to a URL."""
        text = f"{task_id}/{index}/{expires}".encode()
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()[:32]


def error_reply(style: ReplyStyle, status: int, *, code: str, number: int, message: str) -> Reply:
    """An HTTP error in the shape the plan asks for."""
    if style.error_shape is ErrorShape.HTML:
        page = f"<html><body><h1>{status}</h1><p>{html.escape(message)}</p></body></html>"
        return Reply(status, "text/html", page.encode("utf-8", "replace"))
    if style.error_shape is ErrorShape.STATUS_ENVELOPE:
        return status_envelope(status, number=number, message=message)
    return Reply.json(status, _error(style.error_shape, code, number=number, message=message))


def status_envelope(status: int, *, number: int, message: str) -> Reply:
    """The envelope in which the gateway reports an empty account, whatever its error shape."""
    body = {"status": {"code": status, "message": message, "error_code": number}, "data": None}
    return Reply.json(status, body)


def _error(shape: ErrorShape, code: str, *, number: int, message: str) -> dict[str, Any]:
    match shape:
        case ErrorShape.CODE_NUMBER:
            return {"error": {"code": number, "message": message}}
        case ErrorShape.ERROR_MESSAGE:
            return {"error": {"code": number, "error_message": message}}
        case ErrorShape.STRING:
            return {"error": message}
        case ErrorShape.TOP_LEVEL:
            return {"code": code, "message": message}
        case ErrorShape.DETAIL:
            return {"detail": message}
        case _:
            return {"error": {"code": code, "message": message}}


def task_reply(
    task: Task, now: float, *, style: ReplyStyle, urls: ResultUrls, creating: bool = False
) -> Reply:
    """What the provider says of a task at a moment.

    Args:
        task: the task.
        now: seconds since the epoch.
        style: variant of the protocol.
        urls: maker of result URLs.
        creating: whether this answers the create call, which tells no progress.
    """
    state = task.state(now)
    scale = 1000 if style.created_at == "ms" else 1
    body: dict[str, Any] = {
        "id": task.task_id,
        "created_at": int(task.accepted_at * scale),
        "status": {
            "queued": style.queued_word,
            "running": style.running_word,
            "completed": style.completed_word,
            "failed": style.failed_word,
        }[state],
        "model": task.content.model,
    }
    if style.progress and not creating and state != "failed":
        body["progress"] = task.progress(now)
    if state == "completed":
        body["output"] = _output(task, style=style, urls=urls)
        body["usage"] = _usage(task, style)
        body["metadata"] = _metadata(task)
    elif state == "failed":
        body |= _failure(task, style)
    if style.envelope:
        body = {"data": body, "status": {"code": 200, "message": "success"}}
    return Reply.json(200, body)


def _metadata(task: Task) -> dict[str, float | None]:
    return {
        "in_queue_at": round(task.accepted_at, 3),
        "upload_at": task.end_at and round(task.end_at, 3),
        "completed_at": task.end_at and round(task.end_at, 3),
    }


def _failure(task: Task, style: ReplyStyle) -> dict[str, Any]:
    code, number, message = _FAILURE_REASONS[task.outcome or FaultKind.TASK_FAILED]
    cost = money(task.cost_usd) if task.billed else ""
    return {
        **_error(style.error_shape, code, number=number, message=message),
        "usage": {"cost": cost},
    }


def _usage(task: Task, style: ReplyStyle) -> dict[str, Any]:
    usage: dict[str, Any] = {"quantity": task.billed, "unit_price": money(task.price_usd)}
    if style.cost != "absent":
        usage["cost"] = _cost(task.cost_usd, style)
    if style.discount is not None:
        usage["discount"] = style.discount
    return usage


def _cost(cost: Decimal, style: ReplyStyle) -> str | float | None:
    match style.cost:
        case "number":
            return float(cost)
        case "empty":
            return ""
        case "null":
            return None
        case _:
            return money(cost)


def _output(task: Task, *, style: ReplyStyle, urls: ResultUrls) -> object:
    entries = _entries(task, urls)
    match style.output_layout:
        case OutputLayout.GROUP_PER_IMAGE:
            return [{"content": [entry]} for entry in entries]
        case OutputLayout.FLAT:
            return entries
        case OutputLayout.OBJECT:
            return {"content": entries}
        case _:
            return [{"content": entries}]


def _entries(task: Task, urls: ResultUrls) -> list[dict[str, str]]:
    job = f"job-{task.digest[:12]}-{task.occurrence}"
    entries = [
        {"type": "image", "url": urls.url(task, index), "jobId": job}
        for index in range(task.images)
    ]
    odd: dict[str, str]
    match task.outcome:
        case FaultKind.DUPLICATE_URL:
            odd = {"type": "image", "url": urls.url(task, 0), "jobId": job}
        case FaultKind.ENTRY_WITHOUT_URL:
            odd = {"type": "image", "jobId": job, "code": "InternalError", "message": "failed"}
        case FaultKind.ENTRY_WITH_EMPTY_URL:
            odd = {"type": "image", "url": "", "jobId": job}
        case FaultKind.VIDEO_ENTRY:
            odd = {"type": "video", "url": f"{urls.base}/files/{job}/0.mp4", "jobId": job}
        case _:
            return entries
    return entries + [odd] * max(1, task.content.n - task.images)
