"""What a person should look at: unknowns, deadlines, surprising costs.

Each function reads one snapshot, so that together they tell one story.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from wan_pipeline.ledger.snapshot import Snapshot

__all__ = [
    "REPORTED",
    "OpenPurchase",
    "PriceDifference",
    "price_differences",
    "stored_files",
    "unfinished",
    "unknowns",
]

ZERO = Decimal(0)
CHUNK = 10_000
UNREADABLE = "unreadable"
REPORTED = "reported"
_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPurchase:
    """A purchase that has not come to its end.

    Attributes:
        request_id: the request.
        attempt: which purchase of it.
        prompt_set: the set that bought it.
        prompt: the prompt sent.
        state: where it stands.
        since: when its intent was written.
        deadline_at: when its task and results die, where there is a task.
        task_id: the provider's task, where there is one.
        reserved_usd: what it holds back.
        reason: what is known about it, in words.
    """

    request_id: str
    attempt: int
    prompt_set: str
    prompt: str
    state: PurchaseState
    since: datetime
    deadline_at: datetime | None
    task_id: str | None
    reserved_usd: Decimal
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceDifference:
    """A reported cost that is not the price of the images received, or that cannot be read.

    Attributes:
        request_id: the request.
        attempt: which purchase of it.
        prompt_set: the set that bought it.
        task_id: the provider's task.
        since: when its intent was written.
        images: images received.
        cost_usd: what counts: as reported, or the price where that cannot be read.
        expected_usd: price at the time of the intent, times `images`.
        told: what was reported, where it cannot be read; else empty.
        failed: whether its task failed, and was charged all the same.
    """

    request_id: str
    attempt: int
    prompt_set: str
    task_id: str | None
    since: datetime
    images: int
    cost_usd: Decimal
    expected_usd: Decimal
    told: str = ""
    failed: bool = False

    @property
    def surplus_usd(self) -> Decimal:
        """What is counted beyond the price; negative when less is."""
        return ZERO if self.told else self.cost_usd - self.expected_usd


def unknowns(view: Snapshot) -> list[OpenPurchase]:
    """Purchases whose create got no clear answer, oldest first."""
    return _open(view, [PurchaseState.UNKNOWN], _PURCHASES.created_at)


def unfinished(view: Snapshot) -> list[OpenPurchase]:
    """Purchases in flight or still to be fetched, the one that dies first at the top."""
    states = [state for state in PurchaseState if state.unfinished]
    return _open(view, states, sa.nulls_last(_PURCHASES.deadline_at))


def price_differences(view: Snapshot) -> list[PriceDifference]:
    """Purchases whose reported cost is not price times images received, in the order of intent.

    Those whose reported cost cannot be read are among them, with what was reported.
    """
    received = _images_received(view)
    images = sa.func.coalesce(received.c.images, 0)
    rows = view.connection.execute(
        sa.select(
            _PURCHASES.request_id,
            _PURCHASES.attempt,
            _PURCHASES.bought_by_set.label("prompt_set"),
            _PURCHASES.state,
            _PURCHASES.task_id,
            _PURCHASES.created_at,
            _PURCHASES.cost_usd,
            _PURCHASES.price_usd,
            images.label("images"),
            sa.case((_PURCHASES.cost_source == UNREADABLE, _last_detail())).label("detail"),
        )
        .outerjoin_from(
            schema.purchases,
            received,
            (_PURCHASES.request_id == received.c.request_id)
            & (_PURCHASES.attempt == received.c.attempt),
        )
        .where(
            _PURCHASES.profile == view.profile,
            (_PURCHASES.cost_source == UNREADABLE)
            | (
                (_PURCHASES.cost_source == REPORTED)
                & (_PURCHASES.cost_usd != _PURCHASES.price_usd * images)
            ),
        )
        .order_by(_PURCHASES.created_at, _PURCHASES.request_id, _PURCHASES.attempt)
    )
    return [
        PriceDifference(
            request_id=row.request_id,
            attempt=row.attempt,
            prompt_set=row.prompt_set,
            task_id=row.task_id,
            since=row.created_at,
            images=row.images,
            cost_usd=row.cost_usd,
            expected_usd=row.price_usd * row.images,
            told=(row.detail or "").partition(schema.UNREADABLE_COST)[2],
            failed=row.state == PurchaseState.FAILED.value,
        )
        for row in rows
    ]


def stored_files(view: Snapshot) -> Iterator[tuple[str | None, int | None]]:
    """Path and length of every image that the ledger calls stored."""
    query = (
        sa.select(_IMAGES.path, _IMAGES.bytes)
        .where(_IMAGES.profile == view.profile, _IMAGES.state == ImageState.STORED.value)
        .execution_options(yield_per=CHUNK)
    )
    with view.connection.execute(query) as result:
        for row in result:
            yield row.path, row.bytes


def _last_detail() -> sa.ScalarSelect[str | None]:
    """What the history says of a purchase's task being done."""
    events = schema.events.c
    return (
        sa.select(events.detail)
        .where(
            events.profile == _PURCHASES.profile,
            events.request_id == _PURCHASES.request_id,
            events.attempt == _PURCHASES.attempt,
            events.to_state == PurchaseState.SUCCEEDED.value,
            events.detail.contains(schema.UNREADABLE_COST, autoescape=True),
        )
        .order_by(events.seq.desc())
        .limit(1)
        .scalar_subquery()
    )


def _images_received(view: Snapshot) -> sa.Subquery:
    """How many images each purchase brought, where it brought any."""
    return (
        sa.select(
            _IMAGES.request_id.label("request_id"),
            _IMAGES.attempt.label("attempt"),
            sa.func.count().label("images"),
        )
        .where(_IMAGES.profile == view.profile)
        .group_by(_IMAGES.request_id, _IMAGES.attempt)
        .subquery()
    )


def _open(
    view: Snapshot, states: list[PurchaseState], order: sa.ColumnElement[Any]
) -> list[OpenPurchase]:
    rows = view.connection.execute(
        sa.select(
            _PURCHASES.request_id,
            _PURCHASES.attempt,
            _PURCHASES.bought_by_set,
            _PURCHASES.request,
            _PURCHASES.state,
            _PURCHASES.created_at,
            _PURCHASES.deadline_at,
            _PURCHASES.task_id,
            _PURCHASES.reserved_usd,
            _PURCHASES.error_code,
            _PURCHASES.error_message,
        )
        .where(
            _PURCHASES.profile == view.profile,
            _PURCHASES.state.in_([state.value for state in states]),
        )
        .order_by(order, _PURCHASES.created_at, _PURCHASES.request_id)
    )
    return [
        OpenPurchase(
            request_id=row.request_id,
            attempt=row.attempt,
            prompt_set=row.bought_by_set,
            prompt=str(json.loads(row.request).get("prompt", "")),
            state=PurchaseState(row.state),
            since=row.created_at,
            deadline_at=row.deadline_at,
            task_id=row.task_id,
            reserved_usd=row.reserved_usd,
            reason=": ".join(part for part in (row.error_code, row.error_message) if part),
        )
        for row in rows
    ]
