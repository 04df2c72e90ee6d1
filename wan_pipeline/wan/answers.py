"""What the provider said, as typed values.

Everything here comes from outside and is already bounded and type-checked by the dialect that
read it; nothing here is trusted further than that (no answer ever chooses a file name).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from wan_pipeline.wan.errors import StopReason

__all__ = [
    "ApiError",
    "CreateAccepted",
    "CreateDoubtful",
    "CreateNotSent",
    "CreateOutcome",
    "CreateRefused",
    "CreateThrottled",
    "ErrorKind",
    "ImageLink",
    "TaskAnswer",
    "TaskMissing",
    "TaskState",
]


class TaskState(StrEnum):
    """The provider's word for a task, reduced to what a client can act on."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ErrorKind(StrEnum):
    """What an error means for the request that met it."""

    MODERATION = "moderation"
    INVALID = "invalid"
    NO_CREDIT = "no_credit"
    BAD_KEY = "bad_key"
    FORBIDDEN = "forbidden"
    MISSING_MODEL = "missing_model"
    THROTTLED = "throttled"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """An error of the provider: its code and words as received (bounded), and what they mean."""

    code: str
    message: str
    kind: ErrorKind

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLink:
    """One result of a task."""

    url: str
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswer:
    """The state of one task.

    Attributes:
        task_id: the provider's id.
        state: running, succeeded or failed.
        progress: 0 to 1, where the provider tells.
        images: links in the provider's order; fewer than n when it delivered fewer.
        foreign_items: types of results that are no images (``video``); a typed failure.
        error: set when the task failed.
        cost_usd: total cost of the task where reported, else None.
        cost_told: what was reported as its cost and is no amount, in one bounded line; else empty.
        discount: as received; the sources disagree on its meaning.
        created_at: the provider's clock, where given.
        completed_at: the provider's clock, where given.
        actual_prompt: the rewritten prompt, where the dialect returns it.
        metadata_json: the provider's metadata object as JSON text.
        raw: the answer's body as received.
    """

    task_id: str
    state: TaskState
    raw: str
    progress: float | None = None
    images: tuple[ImageLink, ...] = ()
    foreign_items: tuple[str, ...] = ()
    error: ApiError | None = None
    cost_usd: Decimal | None = None
    cost_told: str = ""
    discount: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    actual_prompt: str | None = None
    metadata_json: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMissing:
    """The provider does not know the task (404): not yet, or no longer."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccepted:
    """The provider has a task for the request and will bill it."""

    task: TaskAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRefused:
    """The provider certainly made no task: 400/402/403/404/413/422, or an error without an id.

    `stop` is set when no other request of the batch can do better. `form_suspect` is set on
    400 and 422, which may mean that the body's form was not understood.
    """

    status: int
    error: ApiError
    stop: StopReason | None = None
    form_suspect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateThrottled:
    """429: no task was made, and everyone should pause."""

    retry_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNotSent:
    """The connection was never established, so no byte of the request left."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDoubtful:
    """A task may or may not exist. Never sent again by a machine.

    `answer` is the beginning of what the provider said, for whoever looks into it.
    """

    reason: str
    answer: str = ""


CreateOutcome = CreateAccepted | CreateRefused | CreateThrottled | CreateNotSent | CreateDoubtful
