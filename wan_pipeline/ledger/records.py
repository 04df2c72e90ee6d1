"""Rows of the ledger as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.reasons import problem_of
from wan_pipeline.ledger.retries import RetryRule
from wan_pipeline.ledger.series import is_reproduction
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    import sqlalchemy as sa

__all__ = ["ImageRecord", "Intention", "Purchase", "PurchaseKey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseKey:
    """What a purchase is: a request, at a profile, for the k-th time.

    `attempt` is never 0: the dataset's own count up from 1, reproductions down from -1; see the
    module `series`.
    """

    profile: str
    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """The current row of one purchase; columns are described in `schema.purchases`."""

    profile: str
    request_id: str
    attempt: int
    state: PurchaseState
    owner_id: str | None
    request: str
    n: int
    bought_by_set: str
    run_id: str
    code_version: str
    dialect: str
    form: str | None
    price_usd: Decimal
    reserved_usd: Decimal
    cost_usd: Decimal | None
    cost_source: str | None
    discount: str | None
    task_id: str | None
    created_at: datetime
    submitted_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None
    error_code: str | None
    error_message: str | None
    error_kind: str | None
    actual_prompt: str | None
    provider_metadata: str | None

    @property
    def key(self) -> PurchaseKey:
        """Its identity."""
        return PurchaseKey(profile=self.profile, request_id=self.request_id, attempt=self.attempt)

    @property
    def series(self) -> str | None:
        """The series of reproductions that it belongs to; None when it is the dataset's own."""
        return self.bought_by_set if is_reproduction(self.attempt) else None

    @property
    def problem(self) -> str:
        """Its error in one line; empty when there is none."""
        return problem_of(self.error_code, self.error_message)

    @classmethod
    def from_row(cls, row: sa.Row[tuple[object, ...]]) -> Self:
        """From a row that has at least this class's columns."""
        values: dict[str, Any] = {each.name: getattr(row, each.name) for each in fields(cls)}
        values["state"] = PurchaseState(values["state"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """The current row of one image; columns are described in `schema.images`."""

    profile: str
    request_id: str
    attempt: int
    image_index: int
    state: ImageState
    url: str
    url_expires_at: datetime
    job_id: str | None
    image_id: str | None
    path: str | None
    format: str | None
    bytes: int | None
    width: int | None
    height: int | None
    problem: str | None
    stored_at: datetime | None

    @classmethod
    def from_row(cls, row: sa.Row[tuple[object, ...]]) -> Self:
        """From a row that has at least this class's columns."""
        values: dict[str, Any] = {each.name: getattr(row, each.name) for each in fields(cls)}
        values["state"] = ImageState(values["state"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intention:
    """Everything an intent records about a request that is about to be bought.

    Whether it is a `reproduction` decides which attempt it becomes; `bought_by_set` then names the
    series. Nothing is ever retried in a series.
    """

    profile: str
    request_id: str
    request: str
    n: int
    price_usd: Decimal
    bought_by_set: str
    dialect: str
    form: str
    code_version: str
    caps: Caps = field(default_factory=Caps)
    retry: RetryRule = field(default_factory=RetryRule)
    reproduction: bool = False

    @property
    def series(self) -> str | None:
        """The series that buys; None for the dataset."""
        return self.bought_by_set if self.reproduction else None
