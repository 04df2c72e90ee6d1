"""What a provider's task does to a purchase: it was made for it, and it is done."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.decisions import withdraw_fresh_attempt
from wan_pipeline.ledger.moves import move, stands
from wan_pipeline.ledger.rows import holder_of_task, standing, update_purchase
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.told import counted, dollars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import PurchaseKey
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["attach_task", "doubt_create", "finish_task"]

ZERO = Decimal(0)
_GIVEN_UP = frozenset({PurchaseState.RELEASED.value, PurchaseState.WRITTEN_OFF.value})


def attach_task(
    tx: Transaction,
    key: PurchaseKey,
    task_id: str,
    *,
    owner: Owner,
    deadline_at: datetime,
    now: datetime,
) -> bool:
    """The provider has a task for the purchase, which is `submitted` by it.

    Returns:
        False when the task cannot be the purchase's: it already belongs to another request, and
        this one is `unknown`, since one task cannot be the result of two purchases; or a person
        adopted another task before this answer came, and the history tells of the second one.

    Raises:
        TransitionError: another owner has the purchase, or its state does not lead there.
    """
    holder = holder_of_task(tx.connection, key.profile, task_id)
    if holder == key and stands(tx, key, PurchaseState.SUBMITTED, owner):
        return True  # written down already, by a try whose answer got lost
    if holder is None and _note_second_task(tx, key, task_id, owner=owner, now=now):
        return False
    to = partial(move, tx, key, owner_id=owner.owner_id, now=now)
    if holder not in (None, key):
        reason = f"the provider named task {task_id} of request {holder.request_id}"
        to(PurchaseState.UNKNOWN, detail=reason, error_message=reason)
        return False
    before = to(
        PurchaseState.SUBMITTED,
        detail=task_id,
        task_id=task_id,
        submitted_at=now,
        deadline_at=deadline_at,
        error_message=None,
        # A late answer may come after a person's decision, which had freed the price.
        reserved_usd=_full_price,
        cost_usd=None,
        cost_source=None,
    )
    if before is PurchaseState.RELEASED:
        withdraw_fresh_attempt(tx, key, now=now)
    return True


def doubt_create(
    tx: Transaction, key: PurchaseKey, *, owner: Owner, reason: str, answer: str, now: datetime
) -> None:
    """The provider may have a task for the purchase, which is `unknown`.

    One that a person gave up before keeps their word, and row and history tell of the doubt.

    Args:
        tx: the open transaction.
        key: the purchase.
        owner: whose it must be.
        reason: why it is in doubt.
        answer: what was answered, for the history; empty for nothing.
        now: the time.

    Raises:
        TransitionError: another owner has the purchase, or its state does not lead there.
    """
    row = standing(tx, key)
    detail = f"{reason}; answered: {answer}" if answer else reason
    if row is not None and row.state in _GIVEN_UP:
        told = (
            f"its create had no clear answer ({reason}), and it was {row.state} by then: a task may"
            " exist and be paid; look for it in the provider's console"
        )
        _note(tx, key, row, told, owner=owner, now=now)
        return
    move(
        tx,
        key,
        PurchaseState.UNKNOWN,
        owner_id=owner.owner_id,
        now=now,
        detail=detail,
        error_message=reason,
    )


def finish_task(
    tx: Transaction,
    key: PurchaseKey,
    *,
    owner: Owner,
    links: Sequence[tuple[str, str]],
    url_expires_at: datetime,
    now: datetime,
    cost_told: str = "",
    **values: Any,
) -> None:
    """The task is done: its cost, and one expected image per (url, job id).

    Args:
        tx: the open transaction.
        key: the purchase.
        owner: whose it must be.
        links: of the images; without any the purchase is `stored`, since nothing can arrive.
        url_expires_at: when the URLs die.
        now: the time.
        cost_told: what was reported as the cost, where that cannot be read.
        values: other columns of `purchases`, such as the cost.

    Raises:
        TransitionError: another owner has the purchase, or it is not `submitted`.
    """
    to = partial(move, tx, key, owner_id=owner.owner_id, now=now)
    cost = values.get("cost_usd")
    cost_words = "no cost" if cost is None else f"{dollars(cost)} USD"
    told = f"{counted(len(links), 'image')}, {cost_words}"
    if cost_told:
        told += f"{schema.UNREADABLE_COST}{cost_told}"
    to(PurchaseState.SUCCEEDED, detail=told, reserved_usd=ZERO, **values)
    if not links:
        to(PurchaseState.STORED)
        return
    tx.connection.execute(
        sa.insert(schema.images),
        [
            {
                "profile": key.profile,
                "request_id": key.request_id,
                "attempt": key.attempt,
                "image_index": index,
                "state": ImageState.EXPECTED.value,
                "url": url,
                "job_id": job_id,
                "url_expires_at": url_expires_at,
            }
            for index, (url, job_id) in enumerate(links)
        ],
    )


def _note_second_task(
    tx: Transaction, key: PurchaseKey, task_id: str, *, owner: Owner, now: datetime
) -> bool:
    """Write a task down that came after another one was adopted; whether it was so."""
    row = standing(tx, key)
    if row is None or row.task_id is None:
        return False
    told = (
        f"its create was answered with task {task_id} after task {row.task_id} was adopted for it:"
        " both are paid; look both up in the provider's console"
    )
    _note(tx, key, row, told, owner=owner, now=now)
    return True


def _note(
    tx: Transaction, key: PurchaseKey, row: Any, told: str, *, owner: Owner, now: datetime
) -> None:
    """Say something of a purchase, in its row and its history, without moving it."""
    update_purchase(tx, key, error_message=told)
    tx.append_event(
        key,
        now=now,
        from_state=row.state,
        to_state=row.state,
        owner_id=owner.owner_id,
        detail=told,
    )


def _full_price(row: Any) -> Decimal:
    return row.price_usd * row.n
