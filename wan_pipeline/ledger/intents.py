"""The intent: what is written before a create may be sent, and which attempt it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger import rows
from wan_pipeline.ledger.budget import Bucket, check_caps
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import Intention, Purchase
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["intend"]


def intend(
    tx: Transaction, intention: Intention, *, owner: Owner, now: datetime
) -> Purchase | PurchaseKey:
    """Write the intent and reserve the price, or return the purchase that already stands.

    Returns:
        The key of the purchase whose create may now be sent; else the row that forbids it.

    Raises:
        BudgetExceededError: the price does not fit under a cap.
    """
    tx.hold_account(intention.profile)
    found = rows.latest(tx.connection, intention.profile, intention.request_id, intention.series)
    attempt = _next_attempt(tx, found, intention)
    if attempt is None:
        assert found is not None, "only a standing row forbids"  # noqa: S101
        return found
    bucket = Bucket.of(
        profile=intention.profile,
        intended_at=now,
        prompt_set=intention.bought_by_set,
        run_id=owner.run_id,
    )
    reserved = intention.price_usd * intention.n
    if intention.caps.named():
        check_caps(intention.caps, reserved, tx.committed(bucket))
    key = PurchaseKey(profile=intention.profile, request_id=intention.request_id, attempt=attempt)
    again = found is not None and found.attempt == attempt  # a planned row is there already
    write = rows.update_purchase if again else rows.insert_purchase
    write(tx, key, **_columns(intention, owner=owner, reserved_usd=reserved, now=now))
    tx.spend(bucket, reserved)
    tx.append_event(
        key,
        now=now,
        from_state=PurchaseState.PLANNED if again else None,
        to_state=PurchaseState.INTENT,
        owner_id=owner.owner_id,
        detail=f"form {intention.form}, reserved {reserved:f} USD",
    )
    return key


def _next_attempt(tx: Transaction, found: Purchase | None, intention: Intention) -> int | None:
    """The attempt that may be made, which may be the standing one; None when none may."""
    if found is None and intention.reproduction:
        lowest = rows.lowest_attempt(tx.connection, intention.profile, intention.request_id)
        return min(lowest, 0) - 1
    if found is None:
        return 1
    if found.state is PurchaseState.PLANNED:
        return found.attempt
    lost = ImageState.LOST in rows.image_states(tx, found.key).values()
    released = rows.released_attempts(tx.connection, intention.profile, intention.request_id)
    again = intention.retry.allows(found, lost=lost, released=released)
    return found.attempt + 1 if again else None


def _columns(
    intention: Intention, *, owner: Owner, reserved_usd: Decimal, now: datetime
) -> dict[str, Any]:
    """The row of an intent, without its key; an error of an earlier try is gone with it."""
    return {
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
        "reserved_usd": reserved_usd,
        "created_at": now,
        "error_code": None,
        "error_message": None,
        "error_kind": None,
    }
