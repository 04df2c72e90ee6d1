"""The changes a ledger knows, as functions of one open transaction.

Each changes the current row by compare-and-set on state and owner and appends the event, so the
two never disagree. Each raises `TransitionError` before it writes anything.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.states import TRANSITIONS, ImageState, PurchaseState

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import Intention

__all__ = [
    "append_event",
    "finish_if_settled",
    "holder_of_task",
    "intend",
    "latest",
    "move",
    "move_image",
    "row_of",
]

ZERO = Decimal(0)
_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c


def latest(connection: sa.Connection, profile: str, request_id: str) -> Purchase | None:
    """The newest attempt at a request, or None when it was never intended."""
    row = connection.execute(
        sa.select(schema.purchases)
        .where(_PURCHASES.profile == profile, _PURCHASES.request_id == request_id)
        .order_by(_PURCHASES.attempt.desc())
        .limit(1)
    ).first()
    return Purchase.from_row(row) if row else None


def holder_of_task(connection: sa.Connection, profile: str, task_id: str) -> PurchaseKey | None:
    """The purchase that a task belongs to, or None."""
    row = connection.execute(
        sa.select(_PURCHASES.request_id, _PURCHASES.attempt).where(
            _PURCHASES.profile == profile, _PURCHASES.task_id == task_id
        )
    ).first()
    if row is None:
        return None
    return PurchaseKey(profile=profile, request_id=row.request_id, attempt=row.attempt)


def intend(
    connection: sa.Connection,
    intention: Intention,
    *,
    owner: Owner,
    now: datetime,
    again_after_refusal: bool = False,
) -> Purchase | None:
    """Write the intent and reserve the price, or return the purchase that already stands.

    Returns:
        None when the intent is written and the caller may send the create; else the row that
        forbids it.
    """
    standing = latest(connection, intention.profile, intention.request_id)
    free = {PurchaseState.PLANNED} | ({PurchaseState.REFUSED} if again_after_refusal else set())
    if standing is not None and standing.state not in free:
        return standing
    attempt = standing.attempt if standing else 1
    values = {
        "state": PurchaseState.INTENT.value,
        "owner_id": owner.owner_id,
        "request": intention.request,
        "n": intention.n,
        "bought_by_set": intention.bought_by_set,
        "run_id": owner.run_id,
        "code_version": intention.code_version,
        "dialect": intention.dialect,
        "form": intention.form,
        "price_usd": intention.price_usd,
        "reserved_usd": intention.price_usd * intention.n,
        "created_at": now,
        "error_code": None,
        "error_message": None,
        "error_kind": None,
    }
    key = PurchaseKey(profile=intention.profile, request_id=intention.request_id, attempt=attempt)
    if standing is None:
        connection.execute(
            sa.insert(schema.purchases).values(
                profile=key.profile, request_id=key.request_id, attempt=attempt, **values
            )
        )
    else:
        connection.execute(sa.update(schema.purchases).where(*row_of(key)).values(**values))
    append_event(
        connection,
        key,
        now=now,
        from_state=standing.state if standing else None,
        to_state=PurchaseState.INTENT,
        owner_id=owner.owner_id,
        detail=f"form {intention.form}, reserved {intention.price_usd * intention.n} USD",
    )
    return None


def move(
    connection: sa.Connection,
    key: PurchaseKey,
    to: PurchaseState,
    *,
    owner_id: str | None,
    now: datetime,
    detail: str | None = None,
    **values: Any,
) -> None:
    """Change a purchase's state.

    Raises:
        TransitionError: another owner has it, or its state does not lead there.
    """
    origins = [state.value for state, targets in TRANSITIONS.items() if to in targets]
    row = connection.execute(
        sa.select(_PURCHASES.state, _PURCHASES.owner_id).where(*row_of(key))
    ).first()
    if row is None or row.owner_id != owner_id or row.state not in origins:
        found = "no row" if row is None else f"state {row.state}, owner {row.owner_id}"
        raise TransitionError(
            f"request {key.request_id} attempt {key.attempt} cannot become {to.value}: found"
            f" {found}, wanted owner {owner_id} and one of {', '.join(origins)}"
        )
    connection.execute(
        sa.update(schema.purchases).where(*row_of(key)).values(state=to.value, **values)
    )
    append_event(
        connection,
        key,
        now=now,
        from_state=row.state,
        to_state=to,
        owner_id=owner_id,
        detail=detail,
    )


def move_image(
    connection: sa.Connection,
    key: PurchaseKey,
    image_index: int,
    to: ImageState,
    *,
    owner_id: str,
    now: datetime,
    **values: Any,
) -> None:
    """Change the state of an image that may still arrive.

    Raises:
        TransitionError: another owner has its purchase, or it has arrived or is lost already.
    """
    where = (
        _IMAGES.profile == key.profile,
        _IMAGES.request_id == key.request_id,
        _IMAGES.attempt == key.attempt,
        _IMAGES.image_index == image_index,
    )
    state = connection.execute(sa.select(_IMAGES.state).where(*where)).scalar()
    purchase = connection.execute(
        sa.select(_PURCHASES.state, _PURCHASES.owner_id).where(*row_of(key))
    ).first()
    if (
        state is None
        or not ImageState(state).may_arrive
        or purchase is None
        or purchase.state != PurchaseState.SUCCEEDED
        or purchase.owner_id != owner_id
    ):
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} cannot become"
            f" {to.value}: found state {state} under purchase {purchase}, wanted owner {owner_id}"
        )
    connection.execute(sa.update(schema.images).where(*where).values(state=to.value, **values))
    append_event(
        connection,
        key,
        now=now,
        from_state=state,
        to_state=to,
        owner_id=owner_id,
        image_index=image_index,
        detail=values.get("problem") or values.get("image_id"),
    )


def finish_if_settled(
    connection: sa.Connection, key: PurchaseKey, *, owner_id: str, now: datetime
) -> bool:
    """Mark a purchase stored when no image of it can still arrive; whether it was."""
    states = connection.execute(
        sa.select(_IMAGES.state).where(
            _IMAGES.profile == key.profile,
            _IMAGES.request_id == key.request_id,
            _IMAGES.attempt == key.attempt,
        )
    ).scalars()
    if any(ImageState(state).may_arrive for state in states):
        return False
    move(connection, key, PurchaseState.STORED, owner_id=owner_id, now=now, reserved_usd=ZERO)
    return True


def append_event(
    connection: sa.Connection,
    key: PurchaseKey,
    *,
    now: datetime,
    from_state: str | None,
    to_state: str,
    owner_id: str | None = None,
    image_index: int | None = None,
    detail: str | None = None,
) -> None:
    """Append one row to the history."""
    connection.execute(
        sa.insert(schema.events).values(
            at=now,
            profile=key.profile,
            request_id=key.request_id,
            attempt=key.attempt,
            image_index=image_index,
            from_state=from_state,
            to_state=str(to_state),
            owner_id=owner_id,
            detail=detail,
        )
    )


def row_of(key: PurchaseKey) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that select a purchase's row."""
    return (
        _PURCHASES.profile == key.profile,
        _PURCHASES.request_id == key.request_id,
        _PURCHASES.attempt == key.attempt,
    )
