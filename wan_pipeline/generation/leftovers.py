"""What reconciliation cannot explain: images and dollars that are in doubt, or gone."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.reasons import problem_of
from wan_pipeline.ledger.review import REPORTED, price_differences
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.told import reason_told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from wan_pipeline.ledger.snapshot import Snapshot

__all__ = ["Leftover", "LeftoverKind", "leftovers"]

ZERO = Decimal(0)
NANO = Decimal("1e-9")
_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c


class LeftoverKind(StrEnum):
    """Why something is left.

    Attributes:
        UNKNOWN: a task may exist; its price is set aside.
        EXPIRED: a task existed and its result died before anybody fetched it.
        WAITING: an image was paid for, could not be fetched so far, and may still arrive.
        LOST: an image was paid for and can no longer arrive.
        CHARGED: the task failed, and the provider reported a cost for it all the same.
        PRICE: the provider reported another cost than price times images, or no amount.
    """

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    WAITING = "waiting"
    LOST = "lost"
    CHARGED = "charged"
    PRICE = "price"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One purchase of which something is left.

    Attributes:
        kind: why.
        request_id: the request.
        attempt: which purchase of it.
        prompt_set: the set that bought it.
        task_id: the provider's task, where it is known.
        since: when its intent was written.
        images: how many images it is about.
        usd: what they cost; for a price, what was charged beyond it, negative when less.
        reason: what is known about it.
    """

    kind: LeftoverKind
    request_id: str
    attempt: int
    prompt_set: str
    task_id: str | None
    since: datetime
    images: int
    usd: Decimal
    reason: str


def leftovers(view: Snapshot) -> list[Leftover]:
    """Everything unexplained, by kind, then by age.

    Of a request that was bought again only the newest attempt counts: a person knew of the rest.
    So does the newest of its reproductions, which nothing but a further series follows. An unknown
    always counts, since its price stays reserved until somebody decides; and so does what was
    charged, since it may be asked back.
    """
    return [*_without_result(view), *_waiting(view), *_lost(view), *_charged(view), *_prices(view)]


def _newest(view: Snapshot) -> sa.Subquery:
    """The newest attempt of the dataset's own at each request, and its newest reproduction."""
    sides = (
        (_PURCHASES.attempt > 0, sa.func.max(_PURCHASES.attempt)),
        (_PURCHASES.attempt < 0, sa.func.min(_PURCHASES.attempt)),
    )
    return sa.union_all(
        *(
            sa.select(_PURCHASES.request_id.label("request_id"), attempt.label("attempt"))
            .where(_PURCHASES.profile == view.profile, side)
            .group_by(_PURCHASES.request_id)
            for side, attempt in sides
        )
    ).subquery()


def _without_result(view: Snapshot) -> Iterator[Leftover]:
    """Unknown and expired purchases."""
    newest = _newest(view)
    for state in (PurchaseState.UNKNOWN, PurchaseState.EXPIRED):
        query = _purchases(view, state)
        if state is not PurchaseState.UNKNOWN:
            query = query.join(newest, _is_of(newest))
        for row in view.connection.execute(query):
            reason = row.error_message or ""
            yield _of(row, LeftoverKind(state.value), row.n, row.reserved_usd, reason)


def _lost(view: Snapshot) -> Iterator[Leftover]:
    """Purchases with images that can no longer arrive."""
    newest = _newest(view)
    query = _with_images(view, _IMAGES.state == ImageState.LOST.value)
    return _of_images(view, query.join(newest, _is_of(newest)), LeftoverKind.LOST)


def _waiting(view: Snapshot) -> Iterator[Leftover]:
    """Purchases with images that were tried in vain and may still arrive, of any attempt."""
    states = [state.value for state in ImageState if state.may_arrive]
    tried = _IMAGES.state.in_(states) & _IMAGES.problem.is_not(None)
    return _of_images(view, _with_images(view, tried), LeftoverKind.WAITING)


def _with_images(view: Snapshot, wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Purchases with such images, by age: how many, of how many, and the problem of one."""
    such = sa.func.sum(sa.case((wanted, 1), else_=0))
    counts = (
        sa.select(
            _IMAGES.request_id.label("request_id"),
            _IMAGES.attempt.label("attempt"),
            sa.func.count().label("images"),
            such.label("such"),
            sa.func.max(sa.case((wanted, _IMAGES.problem))).label("problem"),
        )
        .where(_IMAGES.profile == view.profile)
        .group_by(_IMAGES.request_id, _IMAGES.attempt)
        .having(such > 0)
        .subquery()
    )
    return (
        sa.select(schema.purchases, counts.c.images, counts.c.such, counts.c.problem)
        .join(counts, _is_of(counts))
        .where(_PURCHASES.profile == view.profile)
        .order_by(_PURCHASES.created_at, _PURCHASES.request_id)
    )


def _of_images(view: Snapshot, query: sa.Select[Any], kind: LeftoverKind) -> Iterator[Leftover]:
    """Such purchases, with these images' share of the cost."""
    for row in view.connection.execute(query):
        share = (row.cost_usd or ZERO) * row.such / row.images
        yield _of(row, kind, row.such, share.quantize(NANO), reason_told(row.problem))


def _charged(view: Snapshot) -> Iterator[Leftover]:
    """Every attempt whose task failed and was charged: money for which nothing came."""
    query = _purchases(view, PurchaseState.FAILED)
    charged = (_PURCHASES.cost_source == REPORTED) & (_PURCHASES.cost_usd > ZERO)
    for row in view.connection.execute(query.where(charged)):
        reason = problem_of(row.error_code, row.error_message)
        yield _of(row, LeftoverKind.CHARGED, row.n, row.cost_usd, reason)


def _of(row: Any, kind: LeftoverKind, images: int, usd: Decimal, reason: str) -> Leftover:
    """What is left of a purchase's row."""
    return Leftover(
        kind=kind,
        request_id=row.request_id,
        attempt=row.attempt,
        prompt_set=row.bought_by_set,
        task_id=row.task_id,
        since=row.created_at,
        images=images,
        usd=usd,
        reason=reason,
    )


def _purchases(view: Snapshot, state: PurchaseState) -> sa.Select[Any]:
    """Rows in a state, by age."""
    return (
        sa.select(schema.purchases)
        .where(_PURCHASES.profile == view.profile, _PURCHASES.state == state.value)
        .order_by(_PURCHASES.created_at, _PURCHASES.request_id)
    )


def _is_of(attempts: sa.Subquery) -> sa.ColumnElement[bool]:
    """That a purchase is one of these attempts."""
    return (attempts.c.request_id == _PURCHASES.request_id) & (
        attempts.c.attempt == _PURCHASES.attempt
    )


def _prices(view: Snapshot) -> Iterator[Leftover]:
    for each in price_differences(view):
        if each.failed:  # whatever it cost, the price of an image had no part in it
            continue
        yield Leftover(
            kind=LeftoverKind.PRICE,
            request_id=each.request_id,
            attempt=each.attempt,
            prompt_set=each.prompt_set,
            task_id=each.task_id,
            since=each.since,
            images=each.images,
            usd=each.surplus_usd,
            reason=f"its cost was reported as {each.told}, which is no amount: the price counts"
            if each.told
            else f"charged {each.cost_usd:f} USD, its images are priced {each.expected_usd:f}",
        )
