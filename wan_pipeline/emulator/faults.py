"""What can be made to go wrong, and when.

Only the words (:class:`FaultKind`), one scripted fault (:class:`Fault`) and the desk that decides
whether it strikes live here. How a fault looks on the wire is the business of ``app`` (answers),
``delivery`` (image bytes) and ``tasks`` (outcomes).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = [
    "AFTER_ACCEPTANCE",
    "IN_PLACE_OF_THE_ANSWER",
    "OUTCOMES",
    "Fault",
    "FaultDesk",
    "FaultKind",
    "Step",
]

Step = Literal["create", "poll", "download"]
"""The three exchanges of the protocol that can go wrong."""


class FaultKind(StrEnum):
    """Everything the emulator can do wrong on request.

    ``before`` and ``after`` speak of acceptance: a create that fails *after* acceptance has made a
    task that runs and is billed, although the client never learns its id.
    """

    RATE_LIMITED = "rate_limited"
    RATE_LIMITED_NO_RETRY_AFTER = "rate_limited_no_retry_after"
    ERROR_408_BEFORE = "error_408_before"
    ERROR_409_BEFORE = "error_409_before"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_502_BEFORE = "error_502_before"
    ERROR_503_BEFORE = "error_503_before"
    ERROR_504_BEFORE = "error_504_before"
    ERROR_500_AFTER = "error_500_after"
    ERROR_502_AFTER = "error_502_after"
    ERROR_503_AFTER = "error_503_after"
    ERROR_504_AFTER = "error_504_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HUNG_BEFORE = "hung_before"
    HUNG_AFTER = "hung_after"
    MALFORMED_JSON = "malformed_json"
    OK_UNREADABLE = "ok_unreadable"
    OK_WITHOUT_ID_WITH_ERROR = "ok_without_id_with_error"
    REFUSED_400 = "refused_400"
    REFUSED_413 = "refused_413"
    REFUSED_422 = "refused_422"
    NO_CREDIT = "no_credit"
    BAD_KEY = "bad_key"
    FORBIDDEN_MODEL = "forbidden_model"
    MISSING_MODEL = "missing_model"
    UNKNOWN_TASK = "unknown_task"
    REDIRECT = "redirect"
    REDIRECT_LOOP = "redirect_loop"
    TASK_FAILED = "task_failed"
    TASK_FAILED_BILLED = "task_failed_billed"
    MODERATION_FAILED = "moderation_failed"
    STUCK_TASK = "stuck_task"
    MISSING_IMAGES = "missing_images"
    TOO_MANY_IMAGES = "too_many_images"
    DUPLICATE_URL = "duplicate_url"
    ENTRY_WITHOUT_URL = "entry_without_url"
    ENTRY_WITH_EMPTY_URL = "entry_with_empty_url"
    VIDEO_ENTRY = "video_entry"
    LATE_IMAGES = "late_images"
    TRUNCATED_IMAGE = "truncated_image"
    CORRUPTED_IMAGE = "corrupted_image"
    HTML_IMAGE = "html_image"
    WRONG_SIZE_IMAGE = "wrong_size_image"
    EMPTY_IMAGE = "empty_image"
    EXPIRED_URL = "expired_url"
    SLOW_DOWNLOAD = "slow_download"


_K = FaultKind

OUTCOMES = frozenset(
    {
        _K.TASK_FAILED,
        _K.TASK_FAILED_BILLED,
        _K.MODERATION_FAILED,
        _K.STUCK_TASK,
        _K.MISSING_IMAGES,
        _K.TOO_MANY_IMAGES,
        _K.DUPLICATE_URL,
        _K.ENTRY_WITHOUT_URL,
        _K.ENTRY_WITH_EMPTY_URL,
        _K.VIDEO_ENTRY,
    }
)
"""Decided when a create is accepted and kept with its task, across restarts."""

AFTER_ACCEPTANCE = frozenset(
    {
        _K.ERROR_500_AFTER,
        _K.ERROR_502_AFTER,
        _K.ERROR_503_AFTER,
        _K.ERROR_504_AFTER,
        _K.RESET_AFTER,
        _K.HUNG_AFTER,
        _K.MALFORMED_JSON,
    }
)
"""On a create: the task exists, its answer is lost."""

_ANY_STEP = frozenset(
    {
        _K.RATE_LIMITED,
        _K.RATE_LIMITED_NO_RETRY_AFTER,
        _K.ERROR_500_BEFORE,
        _K.ERROR_502_BEFORE,
        _K.ERROR_503_BEFORE,
        _K.ERROR_504_BEFORE,
        _K.RESET_BEFORE,
        _K.HUNG_BEFORE,
    }
)
_CREATE_AND_POLL = frozenset(
    {
        _K.ERROR_408_BEFORE,
        _K.ERROR_409_BEFORE,
        _K.OK_UNREADABLE,
        _K.BAD_KEY,
        _K.NO_CREDIT,
        _K.FORBIDDEN_MODEL,
    }
)
_CREATE_ONLY = frozenset(
    {
        _K.OK_WITHOUT_ID_WITH_ERROR,
        _K.REFUSED_400,
        _K.REFUSED_413,
        _K.REFUSED_422,
        _K.MISSING_MODEL,
    }
)
_POLL_ONLY = frozenset({_K.UNKNOWN_TASK, _K.LATE_IMAGES})
_DOWNLOAD_ONLY = frozenset(
    {
        _K.TRUNCATED_IMAGE,
        _K.CORRUPTED_IMAGE,
        _K.HTML_IMAGE,
        _K.WRONG_SIZE_IMAGE,
        _K.EMPTY_IMAGE,
        _K.EXPIRED_URL,
        _K.SLOW_DOWNLOAD,
        _K.REDIRECT_LOOP,
    }
)

IN_PLACE_OF_THE_ANSWER = _ANY_STEP | _CREATE_AND_POLL | _CREATE_ONLY | {_K.REDIRECT}
"""On a create: nothing is accepted, nothing will be billed."""

_STEPS: dict[FaultKind, tuple[Step, ...]] = {
    **dict.fromkeys(_ANY_STEP, ("create", "poll", "download")),
    **dict.fromkeys(_CREATE_AND_POLL, ("create", "poll")),
    **dict.fromkeys(_CREATE_ONLY | OUTCOMES | AFTER_ACCEPTANCE, ("create",)),
    **dict.fromkeys(_POLL_ONLY, ("poll",)),
    **dict.fromkeys(_DOWNLOAD_ONLY, ("download",)),
    _K.MALFORMED_JSON: ("poll", "create"),
    _K.REDIRECT: ("create", "download"),
    _K.RESET_AFTER: ("create", "download"),
}


class Fault(BaseModel):
    """One scripted fault: what goes wrong, at which step, and how often.

    The counts look at the events of this fault's own step whose prompt matches: ``after`` lets the
    first ones pass, ``first`` limits the fault to the next ones, ``every`` picks each k-th of
    them, ``times`` bounds how often it strikes in all, ``probability`` draws (deterministically,
    from the plan's seed and the content of the request). Every selector that is given must agree;
    with none given the fault strikes always.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind = Field(description="What goes wrong.")
    on: Step | None = Field(
        default=None,
        description="Step at which it goes wrong; by default the first one the kind knows.",
    )
    probability: float = Field(
        default=1.0, ge=0, le=1, description="Share of matching events struck, from a seeded draw."
    )
    after: int = Field(default=0, ge=0, description="Matching events that pass unharmed first.")
    first: int | None = Field(
        default=None, ge=1, description="Only the first so many matching events can be struck."
    )
    every: int | None = Field(
        default=None, ge=1, description="Strike each k-th matching event: 3 means 3rd, 6th, 9th."
    )
    times: int | None = Field(default=None, ge=1, description="Strike at most so often in all.")
    prompt_contains: str | None = Field(
        default=None, description="Only events of tasks whose prompt contains this text."
    )
    retry_after_s: int = Field(
        default=1, ge=0, description="Retry-After header of `rate_limited`, in seconds."
    )
    amount: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Images missing, too many, late, doubled or without a URL.",
    )
    target: str | None = Field(
        default=None,
        description="Where `redirect` points; by default the same place, which then answers.",
    )
    duration_s: float = Field(
        default=600.0,
        gt=0,
        le=3600,
        description="Longest time a hung response is kept open, or a slow download takes, in "
        "seconds of the wall clock.",
    )

    @property
    def step(self) -> Step:
        """The step at which this fault strikes."""
        return self.on or _STEPS[self.kind][0]

    @model_validator(mode="after")
    def _step_knows_the_kind(self) -> Self:
        if self.step not in _STEPS[self.kind]:
            known = ", ".join(_STEPS[self.kind])
            raise ValueError(f"{self.kind} cannot happen on {self.step}; choose one of: {known}")
        return self


class FaultDesk:
    """Decides, event by event, which fault strikes. Its counters start at zero with each plan."""

    def __init__(self, faults: Sequence[Fault], *, seed: int) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._seen = [0] * len(self._faults)
        self._struck = [0] * len(self._faults)
        self._draws: Counter[str] = Counter()

    def strike(
        self, step: Step, kinds: Collection[FaultKind], *, key: str, prompt: str
    ) -> Fault | None:
        """The first fault of the plan that strikes this event, or None.

        Args:
            step: where the event happens.
            kinds: kinds that make sense at this point of the step.
            key: what the event is about, whenever it happens: the input of the seeded draw.
            prompt: prompt of the task concerned.
        """
        for position, fault in enumerate(self._faults):
            if fault.step != step or fault.kind not in kinds:
                continue
            if fault.prompt_contains is not None and fault.prompt_contains not in prompt:
                continue
            self._seen[position] += 1
            if self._strikes(position, fault, key):
                self._struck[position] += 1
                return fault
        return None

    def _strikes(self, position: int, fault: Fault, key: str) -> bool:
        number = self._seen[position] - fault.after
        if number < 1 or (fault.first is not None and number > fault.first):
            return False
        if fault.every is not None and number % fault.every:
            return False
        if fault.times is not None and self._struck[position] >= fault.times:
            return False
        if fault.probability >= 1:
            return True
        event = f"{self._seed}/{position}/{key}"
        self._draws[event] += 1
        digest = hashlib.sha256(f"{event}/{self._draws[event]}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < fault.probability
