"""The emulator's plan: how fast, how strict, how odd and how broken the local provider is.

Every figure has its source in its description. Nothing here acts; ``tasks``, ``app`` and
``replies`` read it.
"""

from __future__ import annotations

import os
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wan_pipeline.emulator.faults import Fault, FaultKind

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MAX_SPEED_UP",
    "EmulatorPlan",
    "ErrorShape",
    "Fault",
    "FaultKind",
    "ImageFormat",
    "LatencyLaw",
    "OutputLayout",
    "ReplyStyle",
    "RequestForm",
]

MAX_SPEED_UP = 1000.0
"""The highest speed-up a plan may ask for."""


class RequestForm(StrEnum):
    """Shapes of a create body that clients are known to send."""

    FLAT = "flat"
    WRAPPED_NESTED = "wrapped_nested"
    WRAPPED_FLAT = "wrapped_flat"


class ErrorShape(StrEnum):
    """Shapes in which providers of this protocol report an error."""

    CODE_TEXT = "code_text"
    CODE_NUMBER = "code_number"
    ERROR_MESSAGE = "error_message"
    STRING = "string"
    TOP_LEVEL = "top_level"
    DETAIL = "detail"
    STATUS_ENVELOPE = "status_envelope"
    HTML = "html"


class OutputLayout(StrEnum):
    """How the images of a task are grouped in ``output``."""

    ONE_GROUP = "one_group"
    GROUP_PER_IMAGE = "group_per_image"
    FLAT = "flat"
    OBJECT = "object"


class ImageFormat(StrEnum):
    """Encodings of a result image."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


class LatencyLaw(BaseModel):
    """How long a task takes, in seconds at speed-up 1.

    No provider publishes a distribution: the API page speaks of 3 to 4 s for the rewriting of the
    prompt, soak tests and samples of the model suggest a median near 30 s. Each task draws from
    a hash of its content, so a repeated test sees the same times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue_min_s: float = Field(default=0.05, ge=0, description="Shortest wait before a task runs.")
    queue_max_s: float = Field(default=2.0, ge=0, description="Longest one, drawn uniformly.")
    service_median_s: float = Field(
        default=28.0, ge=0, description="Median time of one image, drawn lognormally."
    )
    service_sigma: float = Field(
        default=0.45, ge=0, le=3, description="Sigma of that lognormal law (p95 is about 59 s)."
    )
    prompt_extend_s: float = Field(
        default=3.5, ge=0, description="Added when the prompt is rewritten (API page: 3 to 4 s)."
    )
    further_image_s: float = Field(
        default=1.5, ge=0, description="Added for each image of a task beyond its first."
    )

    @model_validator(mode="after")
    def _queue_bounds_are_ordered(self) -> Self:
        if self.queue_min_s > self.queue_max_s:
            raise ValueError("queue_min_s is above queue_max_s; swap them")
        return self


class ReplyStyle(BaseModel):
    """Which of the protocol's known variants the emulator speaks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_forms: frozenset[RequestForm] = Field(
        default=frozenset(RequestForm),
        min_length=1,
        description="Create bodies understood; any other form is refused with HTTP 400.",
    )
    error_shape: ErrorShape = Field(
        default=ErrorShape.CODE_TEXT, description="Shape of error bodies and of failed tasks."
    )
    output_layout: OutputLayout = Field(
        default=OutputLayout.ONE_GROUP, description="Grouping of the images in `output`."
    )
    envelope: bool = Field(
        default=False, description="Wrap replies as the older gateway did: {data, status: {code}}."
    )
    created_at: Literal["ms", "s"] = Field(
        default="ms", description="Unit of `created_at`: milliseconds or seconds."
    )
    cost: Literal["string", "number", "empty", "null", "absent"] = Field(
        default="string", description="How `usage.cost` of a completed task is written."
    )
    discount: float | None = Field(default=1, description="`usage.discount`; null leaves it out.")
    progress: bool = Field(default=True, description="Report progress from 0 to 1 while running.")
    queued_word: str = Field(
        default="in_progress", min_length=1, description="Status of a task that waits."
    )
    running_word: str = Field(
        default="in_progress", min_length=1, description="Status of a task that runs."
    )
    completed_word: str = Field(
        default="completed", min_length=1, description="Status of a task with a result."
    )
    failed_word: str = Field(
        default="failed", min_length=1, description="Status of a task that failed."
    )
    completed_at_once: bool = Field(
        default=False, description="Tasks take no time: the create reply carries the output."
    )
    image_format: ImageFormat = Field(
        default=ImageFormat.PNG, description="Encoding of the images (gateways re-encode to WebP)."
    )
    content_type: str | None = Field(
        default=None, description="Content-Type of images; null tells the truth."
    )


class EmulatorPlan(BaseModel):
    """Speed, limits, price, dialect variants and faults of one emulator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed_up: float = Field(
        default=1.0,
        ge=1,
        le=MAX_SPEED_UP,
        description="Factor on time: divides latencies and URL lifetime, multiplies the rate "
        "limits. The number of tasks running at once stays.",
    )
    seed: int = Field(default=0, description="Seed of the latency draws and of random faults.")
    latency: LatencyLaw = Field(default=LatencyLaw(), description="How long tasks take.")
    submissions_per_second: float = Field(
        default=5, gt=0, description="Creates accepted per second at speed-up 1 (published: 5)."
    )
    running_at_once: int = Field(
        default=5, ge=1, description="Tasks that run at once; further ones queue (published: 5)."
    )
    queries_per_second: float = Field(
        default=20, gt=0, description="Task queries per second at speed-up 1 (published: 20)."
    )
    url_lifetime_s: float = Field(
        default=86400, gt=0, description="Life of a result URL at speed-up 1 (published: 24 h)."
    )
    price_usd: Decimal = Field(
        default=Decimal("0.03"),
        ge=0,
        decimal_places=9,
        max_digits=18,
        description="Price of one image that was really made.",
    )
    credit_usd: Decimal | None = Field(
        default=None,
        ge=0,
        description="Credit of the account over the life of its data folder; creates beyond it "
        "are refused. Null: endless.",
    )
    models: frozenset[str] = Field(
        default=frozenset({"wan25_t2i_preview_intl"}),
        min_length=1,
        description="Model ids that exist here.",
    )
    model_revision: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Silent update of the model: tasks accepted under another revision bring other "
        "pictures for the same request, and nothing in an answer tells.",
    )
    api_key: str | None = Field(
        default=None, min_length=1, description="The only key accepted; null accepts any."
    )
    replies: ReplyStyle = Field(default=ReplyStyle(), description="Variants of the protocol.")
    faults: tuple[Fault, ...] = Field(
        default=(), description="What goes wrong; the first fault that fits an event strikes."
    )

    def save(self, path: Path) -> None:
        """Write the plan as JSON, atomically."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan that :meth:`save` or a person wrote.

        Raises:
            OSError: the file cannot be read.
            pydantic.ValidationError: it is not a plan; the message names each wrong field.
        """
        return cls.model_validate_json(path.read_bytes())
