"""Taking up what dead owners left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.leases import OWNER_COLUMNS, owner_alive
from wan_pipeline.ledger.moves import move
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.rows import rows_of
from wan_pipeline.ledger.series import in_series
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["take_over"]

NAMED_AT_ONCE = 500
_PURCHASES = schema.purchases.c


def take_over(
    tx: Transaction,
    profile: str,
    request_ids: Collection[str] | None,
    *,
    owner: Owner,
    now: datetime,
    series: str | None = None,
) -> Sequence[Purchase]:
    """Make unfinished purchases of dead owners this owner's, oldest deadline first.

    An intent whose create was never answered becomes `unknown`: a task may exist. It stays its
    owner's: should that one only have been slow, a late answer may still turn it into `submitted`.

    Args:
        tx: the open transaction.
        profile: whose purchases.
        request_ids: only these, of the dataset's own attempts or of a series; when None all there
            are, of the dataset and of every series.
        owner: who takes them.
        now: the time.
        series: the reproductions meant by `request_ids`; None for the dataset's own.
    """
    unfinished = [state.value for state in PurchaseState if state.unfinished]
    # Many at once are cheaper to read than to name, and no database takes any number of names.
    few = request_ids is not None and len(request_ids) <= NAMED_AT_ONCE
    named = (_PURCHASES.request_id.in_(request_ids or ()),) if few else ()
    meant = () if request_ids is None else (in_series(series),)
    rows = tx.connection.execute(
        sa.select(schema.purchases, *OWNER_COLUMNS)
        .join(schema.owners, schema.owners.c.owner_id == _PURCHASES.owner_id, isouter=True)
        .where(_PURCHASES.profile == profile, _PURCHASES.state.in_(unfinished), *named, *meant)
        .order_by(sa.nulls_last(_PURCHASES.deadline_at), _PURCHASES.request_id)
        # On PostgreSQL two that recover at once do not wait for each other: what one has locked
        # it is taking over.
        .with_for_update(skip_locked=True, of=schema.purchases)
    ).all()
    alive: dict[str, bool] = {owner.owner_id: True}
    taken: list[Purchase] = []
    for row in rows:
        if request_ids is not None and row.request_id not in request_ids:
            continue
        if row.owner_id not in alive:
            alive[row.owner_id] = owner_alive(row, now)
        if alive[row.owner_id]:
            continue
        taken.append(_taken(tx, Purchase.from_row(row), owner=owner, now=now))
    return taken


def _taken(tx: Transaction, purchase: Purchase, *, owner: Owner, now: datetime) -> Purchase:
    """How a dead owner's purchase stands after it was taken up."""
    key = purchase.key
    if purchase.state is PurchaseState.INTENT:
        move(
            tx,
            key,
            PurchaseState.UNKNOWN,
            owner_id=purchase.owner_id,
            now=now,
            detail="its owner died before the create was answered",
            error_message="the process died before the create was answered; a task may exist",
        )
    else:
        tx.connection.execute(
            sa.update(schema.purchases)
            .where(*rows_of(key, schema.purchases))
            .values(owner_id=owner.owner_id)
        )
        tx.append_event(
            key,
            now=now,
            from_state=purchase.state,
            to_state=purchase.state,
            owner_id=owner.owner_id,
            detail="taken over from a dead owner",
        )
    row = tx.connection.execute(
        sa.select(schema.purchases).where(*rows_of(key, schema.purchases))
    ).one()
    return Purchase.from_row(row)
