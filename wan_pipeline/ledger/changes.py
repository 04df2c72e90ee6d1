"""The changes that a batch makes, as functions of one open transaction.

Each changes the current row by compare-and-set on state and owner and appends the event, so the
two never disagree. Each raises a `LedgerError` before it writes anything.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.budget import Bucket, check_caps
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.series import in_series
from wan_pipeline.ledger.states import TRANSITIONS, ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import Intention
    from wan_pipeline.ledger.transaction import Transaction

__all__ = [
    "holder_of_task",
    "intend",
    "latest",
    "move",
    "move_image",
    "reopen_image",
    "restore_image",
    "row_of",
    "stands",
]

ZERO = Decimal(0)
_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c
_ORIGINS = {
    to: frozenset(state.value for state, targets in TRANSITIONS.items() if to in targets)
    for to in PurchaseState
}


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


def row_of(key: PurchaseKey) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that select a purchase's row."""
    return (
        _PURCHASES.profile == key.profile,
        _PURCHASES.request_id == key.request_id,
        _PURCHASES.attempt == key.attempt,
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


def holder_of_task(connection: sa.Connection, profile: str, task_id: str) -> PurchaseKey | None:
    """The purchase that a task belongs to, or None."""
    row = connection.execute(_HOLDER, {"key_profile": profile, "key_task": task_id}).first()
    if row is None:
        return None
    return PurchaseKey(profile=profile, request_id=row.request_id, attempt=row.attempt)


def intend(
    tx: Transaction,
    intention: Intention,
    *,
    owner: Owner,
    now: datetime,
) -> Purchase | PurchaseKey:
    """Write the intent and reserve the price, or return the purchase that already stands.

    Returns:
        The key of the purchase whose create may now be sent; else the row that forbids it.

    Raises:
        BudgetExceededError: the price does not fit under a cap.
    """
    tx.hold_account(intention.profile)
    standing = latest(tx.connection, intention.profile, intention.request_id, intention.series)
    attempt = _next_attempt(tx, standing, intention)
    if attempt is None:
        assert standing is not None, "only a standing row forbids"  # noqa: S101
        return standing
    bucket = Bucket.of(
        profile=intention.profile,
        intended_at=now,
        prompt_set=intention.bought_by_set,
        run_id=owner.run_id,
    )
    reserved = intention.price_usd * intention.n
    if intention.caps.named():
        check_caps(intention.caps, reserved, tx.committed(bucket))
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
        "reserved_usd": reserved,
        "created_at": now,
        "error_code": None,
        "error_message": None,
        "error_kind": None,
    }
    key = PurchaseKey(profile=intention.profile, request_id=intention.request_id, attempt=attempt)
    again = standing is not None and standing.attempt == attempt
    if again:
        tx.connection.execute(_UPDATE_PURCHASE, {**_bound(key), **values})
    else:
        named = {"profile": key.profile, "request_id": key.request_id, "attempt": attempt}
        tx.connection.execute(_INSERT_PURCHASE, {**named, **values})
    tx.spend(bucket, reserved)
    tx.append_event(
        key,
        now=now,
        from_state=standing.state if standing is not None and again else None,
        to_state=PurchaseState.INTENT,
        owner_id=owner.owner_id,
        detail=f"form {intention.form}, reserved {reserved} USD",
    )
    return key


def _next_attempt(tx: Transaction, standing: Purchase | None, intention: Intention) -> int | None:
    """The attempt that may be made, which may be the standing one; None when none may."""
    if standing is None and intention.reproduction:
        bound = {"key_profile": intention.profile, "key_request": intention.request_id}
        return min(tx.connection.execute(_LOWEST, bound).scalar() or 0, 0) - 1
    if standing is None:
        return 1
    if standing.state is PurchaseState.PLANNED:
        return standing.attempt
    lost = ImageState.LOST in _image_states(tx, standing.key).values()
    return standing.attempt + 1 if intention.retry.allows(standing, lost=lost) else None


def move(
    tx: Transaction,
    key: PurchaseKey,
    to: PurchaseState,
    *,
    owner_id: str | None,
    now: datetime,
    give_to: str | None = None,
    detail: str | None = None,
    who: str | None = None,
    **values: Any,
) -> PurchaseState:
    """Change a purchase's state, and with it what it counts for in the budget.

    Args:
        tx: the open transaction.
        key: the purchase.
        to: its new state.
        owner_id: whose it must be.
        now: the time.
        give_to: whose it becomes; its owner's still when None.
        detail: for the history.
        who: the person who decided, for the history.
        values: new values of other columns; one may be a function of the standing row.

    Returns:
        The state that it had.

    Raises:
        TransitionError: another owner has it, or its state does not lead there.
    """
    row = _standing(tx, key)
    if row is None or row.owner_id != owner_id or row.state not in _ORIGINS[to]:
        raise TransitionError(
            f"request {key.request_id} attempt {key.attempt} cannot become {to.value}: found"
            f" {_spoken(row)}, wanted owner {owner_id} and one of {', '.join(sorted(_ORIGINS[to]))}"
        )
    for name, value in values.items():
        if callable(value):
            compute: Callable[[Any], Any] = value
            values[name] = compute(row)
    if give_to is not None:
        values["owner_id"] = give_to
    _set_state(tx, key, row, to, now=now, detail=detail, who=who, **values)
    return PurchaseState(row.state)


def stands(tx: Transaction, key: PurchaseKey, state: PurchaseState, owner: Owner) -> bool:
    """Whether a purchase is in a state and the owner's."""
    row = _standing(tx, key)
    return row is not None and row.state == state and row.owner_id == owner.owner_id


def move_image(
    tx: Transaction,
    key: PurchaseKey,
    image_index: int,
    to: ImageState,
    *,
    owner_id: str,
    now: datetime,
    **values: Any,
) -> bool:
    """Change the state of an image that may still arrive; whether its purchase is stored by it.

    Raises:
        TransitionError: another owner has its purchase, or it has arrived or is lost already.
    """
    states = _image_states(tx, key)
    state = states.get(image_index)
    row = _standing(tx, key)
    if (
        state is None
        or not state.may_arrive
        or row is None
        or row.state != PurchaseState.SUCCEEDED
        or row.owner_id != owner_id
    ):
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} cannot become"
            f" {to.value}: found {state} under {_spoken(row)}, wanted owner {owner_id}"
        )
    _set_image(tx, key, image_index, state, to, owner_id=owner_id, now=now, **values)
    states[image_index] = to
    if any(each.may_arrive for each in states.values()):
        return False
    _set_state(tx, key, row, PurchaseState.STORED, now=now, reserved_usd=ZERO)
    return True


def reopen_image(
    tx: Transaction,
    key: PurchaseKey,
    image_index: int,
    *,
    owner: Owner,
    now: datetime,
    problem: str,
) -> None:
    """Expect a stored image once more, since its file is gone or damaged; its purchase is taken.

    The one way back in the map of states: what is paid stays paid, only the bytes are fetched.

    Raises:
        TransitionError: the image is not stored, or another owner has its purchase by now.
    """
    states = _image_states(tx, key)
    row = _standing(tx, key)
    ours = row is not None and (
        row.state == PurchaseState.STORED
        or (row.state == PurchaseState.SUCCEEDED and row.owner_id == owner.owner_id)
    )
    if not ours or states.get(image_index) is not ImageState.STORED:
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} is not stored,"
            " or somebody else fetches it again"
        )
    if row is not None and row.state == PurchaseState.STORED:
        _set_state(
            tx,
            key,
            row,
            PurchaseState.SUCCEEDED,
            now=now,
            detail=f"taken up again: {problem}",
            owner_id=owner.owner_id,
        )
    _set_image(
        tx,
        key,
        image_index,
        ImageState.STORED,
        ImageState.EXPECTED,
        owner_id=owner.owner_id,
        now=now,
        problem=problem,
    )


def restore_image(
    tx: Transaction, key: PurchaseKey, image_index: int, *, owner: Owner, now: datetime
) -> None:
    """A lost image's file is back, such as on a disk that was not mounted: it is stored again.

    Raises:
        TransitionError: the image is not lost, or its purchase is not at its end.
    """
    row = _standing(tx, key)
    ended = row is not None and row.state == PurchaseState.STORED
    if not ended or _image_states(tx, key).get(image_index) is not ImageState.LOST:
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} is not lost"
        )
    _set_image(
        tx,
        key,
        image_index,
        ImageState.LOST,
        ImageState.STORED,
        owner_id=owner.owner_id,
        now=now,
        problem=None,
    )


def _image_states(tx: Transaction, key: PurchaseKey) -> dict[int, ImageState]:
    rows = tx.connection.execute(_IMAGE_STATES, _bound(key))
    return {row.image_index: ImageState(row.state) for row in rows}


def _set_image(
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


def _standing(tx: Transaction, key: PurchaseKey) -> Any:
    """What a change needs to know of a purchase's row; None when there is none."""
    return tx.connection.execute(_STANDING, _bound(key)).one_or_none()


def _spoken(row: Any) -> str:
    return "no row" if row is None else f"state {row.state}, owner {row.owner_id}"


def _set_state(
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
    """Write a state that may follow the standing row's, its money and its event."""
    tx.connection.execute(_UPDATE_PURCHASE, {**_bound(key), "state": to.value, **values})
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
