"""The `gateway` dialect: the API page's, as spoken by Vtrix and SeaArt.

``POST /model/v1/generation`` answers with a task id; ``GET /model/v1/generation/task/{id}``
answers with its state. The page prints a flat body; every vendor client sends a wrapped one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wan_pipeline.wan.answers import (
    ApiError,
    CreateAccepted,
    CreateDoubtful,
    CreateOutcome,
    CreateRefused,
    CreateThrottled,
    ErrorKind,
    ImageLink,
    TaskAnswer,
    TaskMissing,
    TaskState,
)
from wan_pipeline.wan.dialects.exchange import ApiCall, ApiReply
from wan_pipeline.wan.dialects.reading import (
    as_mapping,
    as_sequence,
    as_text,
    clean_text,
    parse_json,
    read_cost,
    read_error,
    read_fraction,
    read_time,
    unreadable_cost,
    write_json,
)
from wan_pipeline.wan.errors import AccountStopError, PollError, StopReason
from wan_pipeline.wan.profiles import RequestForm

if TYPE_CHECKING:
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["Gateway"]

CREATE_PATH = "/model/v1/generation"
TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+=~-]{0,199}")
MAX_IMAGES = 64  # an answer with more is cut: the page's n ends at 4
MAX_URL = 8192

SUCCEEDED_WORDS = frozenset({"completed", "complete", "success", "succeeded", "done"})
FAILED_WORDS = frozenset({"failed", "failure", "error", "cancelled", "canceled"})
MISSING_WORD = "unknown"  # a task that never existed or is no longer kept
GROUP_KEYS = ("content", "results")  # where a group of results keeps its entries
ID_KEYS = ("id", "task_id", "taskId", "job_id", "jobId")
NO_TASK_KEYS = frozenset({"error", "status"})  # objects that never describe a task
FOREIGN_TYPES = frozenset({"video", "audio", "text"})  # any other word may still be an image
KEPT_OF_DOUBT = 500  # characters of an unreadable answer, for the person who looks into it

OK_STATUSES = frozenset({200, 201, 202})

REFUSED_STATUSES = frozenset({400, 402, 403, 404, 413, 422})
FORM_SUSPECT_STATUSES = frozenset({400, 422})

_STOP_BY_KIND = {
    ErrorKind.NO_CREDIT: StopReason.NO_CREDIT,
    ErrorKind.BAD_KEY: StopReason.BAD_KEY,
    ErrorKind.FORBIDDEN: StopReason.FORBIDDEN,
    ErrorKind.MISSING_MODEL: StopReason.MISSING_MODEL,
}
_STOP_BY_STATUS = {
    401: StopReason.BAD_KEY,
    402: StopReason.NO_CREDIT,
    403: StopReason.FORBIDDEN,
    404: StopReason.MISSING_MODEL,
}


class Gateway:
    """Calls and replies of the gateway; stateless."""

    def create_call(self, request: GenerationRequest, form: RequestForm) -> ApiCall:
        """The paid call, every parameter explicit. The negative prompt is left out when empty."""
        content: dict[str, object] = {"prompt": request.prompt}
        if request.negative_prompt:
            content["negative_prompt"] = request.negative_prompt
        parameters = {
            "size": request.size,
            "n": request.n,
            "prompt_extend": request.prompt_extend,
            "watermark": request.watermark,
            "seed": request.seed,
        }
        body: dict[str, object] = {"model": request.model}
        if form is RequestForm.FLAT:
            body |= {"input": content, "parameters": parameters}
        else:
            body["input"] = [{"params": {"input": content, "parameters": parameters}}]
        return ApiCall(method="POST", path=CREATE_PATH, json=body)

    def poll_call(self, task_id: str) -> ApiCall:
        """The query of one task."""
        return ApiCall(method="GET", path=f"{CREATE_PATH}/task/{quote(task_id, safe='')}")

    def is_task_id(self, text: str) -> bool:
        """Letters, digits and some marks, as every id seen has; nothing that a path could be."""
        return TASK_ID.fullmatch(text) is not None

    def read_create(self, reply: ApiReply) -> CreateOutcome:
        """Only what proves a refusal is one; a task id proves a task; all else is doubt."""
        document = _unwrapped(as_mapping(parse_json(reply.body)))
        error = read_error(document)
        task = _task(document, reply.body, fallback_id=None)
        if reply.status in OK_STATUSES:
            if task is not None:
                return CreateAccepted(task=task)
            if error is None or _names_an_id(document):
                reason = f"status {reply.status} without a readable task id"
                return CreateDoubtful(reason=reason, answer=_excerpt(reply))
            inner = _envelope_status(document)
            if inner is None:
                return _refused(reply.status, error, retry_after_s=reply.retry_after_s)
            return _by_status(inner, error, reply)
        outcome = _by_status(reply.status, error, reply)
        if isinstance(outcome, CreateDoubtful) and task is not None and _goes_on(document, task):
            return CreateAccepted(task=task)  # a gateway that stopped waiting still tells the id
        return outcome

    def read_poll(self, reply: ApiReply, task_id: str) -> TaskAnswer | TaskMissing:
        """The state of the task; see `Dialect.read_poll`."""
        document = _unwrapped(as_mapping(parse_json(reply.body)))
        status = _envelope_status(document) or reply.status
        word = document.get("status")
        if status in (404, 410) or (isinstance(word, str) and word.casefold() == MISSING_WORD):
            return TaskMissing(task_id=task_id)
        if status in (401, 402, 403):
            error = read_error(document)
            raise AccountStopError(_STOP_BY_STATUS[status], _told(status, error))
        task = None
        if status in OK_STATUSES:
            task = _task(document, reply.body, fallback_id=task_id)
        if task is None:
            raise PollError(
                f"task {task_id}: {_told(status, read_error(document))}. The task goes on at the"
                " provider; run again to ask for it"
            )
        return task


def _unwrapped(document: dict[str, Any]) -> dict[str, Any]:
    """The task inside an envelope, else the document as it is.

    Envelopes are the legacy ``{"data": task, "status": {"code": 200}}`` and its common sibling
    ``{"code": 0, "data": task}``.
    """
    enveloped = isinstance(document.get("status"), dict) or "code" in document
    data = as_mapping(document.get("data"))
    return data if enveloped and data and read_error(document) is None else document


def _names_an_id(document: dict[str, Any]) -> bool:
    """Whether an answer without a readable task still looks as if it told of one."""
    inner = (as_mapping(document[key]) for key in document if key not in NO_TASK_KEYS)
    return any(place.get(key) for place in (document, *inner) for key in ID_KEYS)


def _excerpt(reply: ApiReply) -> str:
    return clean_text(reply.body[:KEPT_OF_DOUBT].decode("utf-8", "replace"))


def _goes_on(document: dict[str, Any], task: TaskAnswer) -> bool:
    return isinstance(document.get("status"), str) and task.state is not TaskState.FAILED


def _envelope_status(document: dict[str, Any]) -> int | None:
    """The HTTP-like code inside an error envelope that travels under HTTP 200."""
    code = as_text(as_mapping(document.get("status")).get("code"))
    return int(code) if re.fullmatch("[45][0-9]{2}", code) else None


def _by_status(status: int, error: ApiError | None, reply: ApiReply) -> CreateOutcome:
    if status == 429:
        return CreateThrottled(retry_after_s=reply.retry_after_s)
    if status in REFUSED_STATUSES or status == 401:
        return _refused(status, error, retry_after_s=reply.retry_after_s)
    return CreateDoubtful(reason=_told(status, error), answer=_excerpt(reply))


def _refused(
    status: int, error: ApiError | None, *, retry_after_s: float | None
) -> CreateRefused | CreateThrottled:
    error = error or ApiError(code=str(status), message="no reason given", kind=ErrorKind.OTHER)
    if error.kind is ErrorKind.THROTTLED:
        return CreateThrottled(retry_after_s=retry_after_s)
    stop = _STOP_BY_KIND.get(error.kind)
    if stop is None and error.kind is not ErrorKind.MODERATION:
        stop = _STOP_BY_STATUS.get(status)
    return CreateRefused(
        status=status,
        error=error,
        stop=stop,
        form_suspect=stop is None
        and status in FORM_SUSPECT_STATUSES
        and error.kind is not ErrorKind.MODERATION,
    )


def _task(document: dict[str, Any], body: bytes, *, fallback_id: str | None) -> TaskAnswer | None:
    """The task that a document describes; None when it describes none."""
    told_id = as_text(document.get("id"))
    task_id = fallback_id or told_id
    state = _state(document, created=fallback_id is None)
    if TASK_ID.fullmatch(task_id) is None or state is None:
        return None
    if told_id and told_id != task_id:
        return None  # somebody else's task
    items = _items(document)
    usage = as_mapping(document.get("usage"))
    metadata = as_mapping(document.get("metadata"))
    error = read_error(document) if state is TaskState.FAILED else None
    if state is TaskState.FAILED and error is None:
        error = ApiError(code="", message="failed without a reason", kind=ErrorKind.OTHER)
    return TaskAnswer(
        task_id=task_id,
        state=state,
        raw=clean_text(body.decode("utf-8", "replace")),
        progress=read_fraction(document.get("progress")),
        images=_links(items),
        foreign_items=_foreign(items),
        error=error,
        cost_usd=read_cost(usage.get("cost")),
        cost_told=unreadable_cost(usage.get("cost")),
        discount=as_text(usage.get("discount")) or None,
        created_at=read_time(document.get("created_at")),
        completed_at=read_time(metadata.get("completed_at")),
        actual_prompt=as_text(document.get("actual_prompt")) or None,
        metadata_json=write_json(metadata) or None if metadata else None,
    )


def _state(document: dict[str, Any], *, created: bool) -> TaskState | None:
    """Unknown words keep running; a create's answer may leave the word out."""
    word = document.get("status")
    if not isinstance(word, str) or not word:
        return TaskState.RUNNING if created else None
    word = word.casefold()
    if word in FAILED_WORDS:
        return TaskState.FAILED
    if word in SUCCEEDED_WORDS:
        has_images = bool(_links(_items(document)))
        return TaskState.SUCCEEDED if has_images or not read_error(document) else TaskState.FAILED
    return TaskState.RUNNING


def _items(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Result entries in order: groups are flattened, flat lists are taken."""
    items: list[dict[str, Any]] = []
    for group in _objects(document.get("output")) + _objects(document.get("outputs")):
        inner = next((group[key] for key in GROUP_KEYS if group.get(key) is not None), group)
        items.extend(_objects(inner))
    return items[:MAX_IMAGES]


def _objects(value: object) -> list[dict[str, Any]]:
    """One object, or a list of them, as a list."""
    values = [value] if isinstance(value, dict) else as_sequence(value)
    return [as_mapping(item) for item in values]


def _links(items: list[dict[str, Any]]) -> tuple[ImageLink, ...]:
    """Images with a URL, each URL once; a failed entry has none or an empty one."""
    links: dict[str, ImageLink] = {}
    for item in items:
        url = item.get("url")
        if isinstance(url, str) and _is_storable(url) and not _is_foreign(item):
            links.setdefault(url, ImageLink(url=url, job_id=as_text(item.get("jobId"))))
    return tuple(links.values())


def _is_storable(url: str) -> bool:
    return 0 < len(url) <= MAX_URL and url == clean_text(url)


def _foreign(items: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(_kind(item) for item in items if item.get("url") and _is_foreign(item))


def _is_foreign(item: dict[str, Any]) -> bool:
    """Whether a result certainly is no image; types may lie, the bytes decide in the end."""
    return _kind(item).partition("/")[0] in FOREIGN_TYPES


def _kind(item: dict[str, Any]) -> str:
    return as_text(item.get("type")).casefold()


def _told(status: int, error: ApiError | None) -> str:
    return f"status {status}, {error}" if error else f"status {status} without a readable error"
