"""The current rows of purchases and images, as changes read and write them.

A write here changes the row, what it counts for in the budget, and the history together, so that
the three never disagree. Whether a change is allowed is its module's to know: `intents`, `moves`,
`image_moves`, `decisions`, `recovery`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.budget import Bucket
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.series import in_series
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.transaction import Transaction

__all__ = [
    "described",
    "holder_of_task",
    "image_states",
    "insert_purchase",
    "latest",
    "lowest_attempt",
    "released_attempts",
    "rows_of",
    "set_image",
    "set_state",
    "standing",
    "update_purchase",
]

ZERO = Decimal(0)
_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c


def _at_key(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    """A purchase's row or rows, by bound names that no column has: they select, columns set."""
    return (
        table.c.profile == sa.bindparam("key_profile"),
        table.c.request_id == sa.bindparam("key_request"),
        table.c.attempt == sa.bindparam("key_attempt"),
    )


def _bound(key: PurchaseKey) -> dict[str, Any]:
    return {
        "key_profile": key.profile,
        "key_request": key.request_id,
        "key_attempt": key.attempt,
    }


# Built once: building a statement costs more than running it.
_OF_REQUEST = (
    _PURCHASES.profile == sa.bindparam("key_profile"),
    _PURCHASES.request_id == sa.bindparam("key_request"),
)
_LATEST = (
    sa.select(schema.purchases)
    .where(*_OF_REQUEST, _PURCHASES.attempt > 0)
    .order_by(_PURCHASES.attempt.desc())
    .limit(1)
)
_RELEASED = sa.select(sa.func.count()).where(
    *_OF_REQUEST, _PURCHASES.attempt > 0, _PURCHASES.state == PurchaseState.RELEASED.value
)
_LOWEST = sa.select(sa.func.min(_PURCHASES.attempt)).where(*_OF_REQUEST)
_HOLDER = sa.select(_PURCHASES.request_id, _PURCHASES.attempt).where(
    _PURCHASES.profile == sa.bindparam("key_profile"),
    _PURCHASES.task_id == sa.bindparam("key_task"),
)
_STANDING = (
    sa.select(
        _PURCHASES.state,
        _PURCHASES.owner_id,
        _PURCHASES.n,
        _PURCHASES.price_usd,
        _PURCHASES.reserved_usd,
        _PURCHASES.cost_usd,
        _PURCHASES.created_at,
        _PURCHASES.bought_by_set,
        _PURCHASES.run_id,
        _PURCHASES.task_id,
    )
    .where(*_at_key(schema.purchases))
    .with_for_update()  # on PostgreSQL; SQLite lets in one writer at a time
)
_INSERT_PURCHASE = sa.insert(schema.purchases)
_UPDATE_PURCHASE = sa.update(schema.purchases).where(*_at_key(schema.purchases))
_IMAGE_STATES = sa.select(_IMAGES.image_index, _IMAGES.state).where(*_at_key(schema.images))
_UPDATE_IMAGE = sa.update(schema.images).where(
    *_at_key(schema.images), _IMAGES.image_index == sa.bindparam("key_image")
)


def rows_of(key: PurchaseKey, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that select a purchase's row, or those of its images."""
    return (
        table.c.profile == key.profile,
        table.c.request_id == key.request_id,
        table.c.attempt == key.attempt,
    )


def latest(
    connection: sa.Connection, profile: str, request_id: str, series: str | None = None
) -> Purchase | None:
    """The newest attempt at a request, or None when it was never intended.

    Args:
        connection: to the ledger.
        profile: whose purchases.
        request_id: the request.
        series: of these reproductions the request's only one, instead of the dataset's own newest.
    """
    bound = {"key_profile": profile, "key_request": request_id}
    query = (
        _LATEST
        if series is None
        else sa.select(schema.purchases).where(*_OF_REQUEST, in_series(series))
    )
    row = connection.execute(query, bound).one_or_none()
    return Purchase.from_row(row) if row else None


def released_attempts(connection: sa.Connection, profile: str, request_id: str) -> int:
    """How many of the dataset's own attempts at a request a person released."""
    bound = {"key_profile": profile, "key_request": request_id}
    return connection.execute(_RELEASED, bound).scalar_one()


def holder_of_task(connection: sa.Connection, profile: str, task_id: str) -> PurchaseKey | None:
    """The purchase that a task belongs to, or None."""
    row = connection.execute(_HOLDER, {"key_profile": profile, "key_task": task_id}).first()
    if row is None:
        return None
    return PurchaseKey(profile=profile, request_id=row.request_id, attempt=row.attempt)


def lowest_attempt(connection: sa.Connection, profile: str, request_id: str) -> int:
    """The newest reproduction's attempt, below 0; else the first one's; 0 when there is none."""
    bound = {"key_profile": profile, "key_request": request_id}
    return connection.execute(_LOWEST, bound).scalar() or 0


def standing(tx: Transaction, key: PurchaseKey) -> Any:
    """What a change needs to know of a purchase's row; None when there is none.

    On PostgreSQL the row is locked until the transaction ends.
    """
    return tx.connection.execute(_STANDING, _bound(key)).one_or_none()


def described(row: Any) -> str:
    """A standing row for an error's text."""
    return "no row" if row is None else f"state {row.state}, owner {row.owner_id}"


def image_states(tx: Transaction, key: PurchaseKey) -> dict[int, ImageState]:
    """The state of each of a purchase's images, by index."""
    rows = tx.connection.execute(_IMAGE_STATES, _bound(key))
    return {row.image_index: ImageState(row.state) for row in rows}


def insert_purchase(tx: Transaction, key: PurchaseKey, **values: Any) -> None:
    """A purchase's first row; its money and its event are the caller's."""
    named = {"profile": key.profile, "request_id": key.request_id, "attempt": key.attempt}
    tx.connection.execute(_INSERT_PURCHASE, {**named, **values})


def update_purchase(tx: Transaction, key: PurchaseKey, **values: Any) -> None:
    """Columns of a purchase's row; their money and their event are the caller's."""
    tx.connection.execute(_UPDATE_PURCHASE, {**_bound(key), **values})


def set_state(
    tx: Transaction,
    key: PurchaseKey,
    row: Any,
    to: PurchaseState,
    *,
    now: datetime,
    detail: str | None = None,
    who: str | None = None,
    **values: Any,
) -> None:
    """Write a state that may follow the standing row's, its money and its event.

    Args:
        tx: the open transaction.
        key: the purchase.
        row: how it stands; see `standing`.
        to: its new state.
        now: the time.
        detail: for the history.
        who: the person who decided, for the history.
        values: new values of other columns.
    """
    update_purchase(tx, key, state=to.value, **values)
    before = row.reserved_usd + (row.cost_usd or ZERO)
    after = values.get("reserved_usd", row.reserved_usd) + (
        values.get("cost_usd", row.cost_usd) or ZERO
    )
    bucket = Bucket.of(
        profile=key.profile,
        intended_at=row.created_at,
        prompt_set=row.bought_by_set,
        run_id=row.run_id,
    )
    tx.spend(bucket, after - before)
    tx.append_event(
        key,
        now=now,
        from_state=row.state,
        to_state=to,
        owner_id=values.get("owner_id", row.owner_id),
        detail=detail,
        who=who,
    )


def set_image(
    tx: Transaction,
    key: PurchaseKey,
    image_index: int,
    from_state: ImageState,
    to: ImageState,
    *,
    owner_id: str,
    now: datetime,
    **values: Any,
) -> None:
    """Write an image's state and its event; of its `values` the history tells problem or id."""
    tx.connection.execute(
        _UPDATE_IMAGE, {**_bound(key), "key_image": image_index, "state": to.value, **values}
    )
    tx.append_event(
        key,
        now=now,
        from_state=from_state,
        to_state=to,
        owner_id=owner_id,
        image_index=image_index,
        detail=values.get("problem") or values.get("image_id"),
    )
