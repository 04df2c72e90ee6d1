"""What a person may decide about a purchase whose outcome no machine can find out.

An unknown create is never sent again by a machine. A person who looked into the provider's console
says what became of it; who and why is in the history for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.leases import owner_works, stopped_process
from wan_pipeline.ledger.moves import move
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.rows import (
    holder_of_task,
    insert_purchase,
    rows_of,
    set_state,
    standing,
)
from wan_pipeline.ledger.series import is_reproduction
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.ledger.undecided import ADOPTABLE, DOUBTFUL, standing_decidable
from wan_pipeline.told import counted

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.ledger.transaction import Transaction

__all__ = [
    "Decision",
    "adopt",
    "look_up_doubtful",
    "release",
    "withdraw_fresh_attempt",
    "write_off",
]

ZERO = Decimal(0)
WRITTEN_OFF = "written_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided, and why; both are kept.

    Attributes:
        request_id: the request, whole.
        series: of which reproductions the purchase is meant; None for the dataset's own newest.
        who: the person, or the program on whose word.
        why: the reason, in their words.
    """

    request_id: str
    who: str
    why: str
    series: str | None = None


def adopt(
    tx: Transaction,
    profile: str,
    decision: Decision,
    *,
    task_id: str,
    lifetime_s: float,
    owner: Owner,
    now: datetime,
) -> Purchase:
    """The task was found: the purchase is `submitted` and the next run fetches its images.

    Its deadline counts from the intent, since the task cannot be older. Another task may take the
    place of one that a person adopted before, since people mistype; what the wrong one brought is
    no longer this request's, and its files stay where they are.

    Raises:
        DecisionError: it is in no state of `ADOPTABLE` and no person adopted a task for it, its
            run still works, or the task is another request's.
    """
    purchase = standing_decidable(
        tx, profile, decision.request_id, decision.series, ADOPTABLE, or_adopted=True
    )
    if purchase.state.unfinished:
        _refuse_while_working(tx, purchase, now)
    holder = holder_of_task(tx.connection, profile, task_id)
    if holder is not None:
        raise DecisionError(
            f"task {task_id} already belongs to request {holder.request_id}; one task is the"
            " result of one request. Look up the task's id again; nothing was changed"
        )
    row = standing(tx, purchase.key)
    if (row.state, row.owner_id) != (purchase.state, purchase.owner_id):
        raise DecisionError(
            f"request {purchase.request_id} has moved on meanwhile: it is {row.state} by now."
            " Nothing was changed; look at it again (`wan ledger show`)"
        )
    wrong = tx.connection.execute(
        sa.delete(schema.images).where(*rows_of(purchase.key, schema.images))
    )
    images = counted(wrong.rowcount, "image")
    instead = f", and not {row.task_id} with {images}" if wrong.rowcount else ""
    set_state(
        tx,
        purchase.key,
        row,
        PurchaseState.SUBMITTED,
        now=now,
        detail=f"adopted task {task_id}{instead}: {decision.why}",
        who=decision.who,
        owner_id=owner.owner_id,
        task_id=task_id,
        form=None,  # it may be somebody else's task, and says nothing of how our body is read
        submitted_at=purchase.created_at,
        deadline_at=purchase.created_at + timedelta(seconds=lifetime_s),
        completed_at=None,
        error_code=None,
        error_message=None,
        error_kind=None,
        actual_prompt=None,
        provider_metadata=None,
        discount=None,
        reserved_usd=purchase.price_usd * purchase.n,
        cost_usd=None,
        cost_source=None,
    )
    return purchase


def look_up_doubtful(
    tx: Transaction, profile: str, decision: Decision, *, now: datetime
) -> Purchase:
    """The purchase that a decision is about; for several decisions, asked before the first is made.

    Raises:
        DecisionError: it is not unknown, or the run that bought it still works.
    """
    purchase = standing_decidable(tx, profile, decision.request_id, decision.series, DOUBTFUL)
    _refuse_while_working(tx, purchase, now)
    return purchase


def release(tx: Transaction, profile: str, decision: Decision, *, now: datetime) -> Purchase:
    """No task was made: the price is free again and the next run makes a new attempt.

    A reproduction ends here: its series buys nothing twice, and another one buys anew.

    Raises:
        DecisionError: it is not unknown, or the run that bought it still works.
    """
    purchase = look_up_doubtful(tx, profile, decision, now=now)
    move(
        tx,
        purchase.key,
        PurchaseState.RELEASED,
        owner_id=purchase.owner_id,
        now=now,
        detail=decision.why,
        who=decision.who,
        reserved_usd=ZERO,
    )
    if purchase.series is None:
        _plan_fresh_attempt(tx, purchase, decision, now=now)
    return purchase


def _plan_fresh_attempt(
    tx: Transaction, purchase: Purchase, decision: Decision, *, now: datetime
) -> None:
    """A row for the attempt that the next run makes in a released one's stead."""
    fresh = _following(purchase.key)
    insert_purchase(
        tx,
        fresh,
        state=PurchaseState.PLANNED.value,
        request=purchase.request,
        n=purchase.n,
        bought_by_set=purchase.bought_by_set,
        run_id=purchase.run_id,
        code_version=purchase.code_version,
        dialect=purchase.dialect,
        price_usd=purchase.price_usd,
        reserved_usd=ZERO,
        created_at=now,
    )
    tx.append_event(
        fresh,
        now=now,
        from_state=None,
        to_state=PurchaseState.PLANNED,
        detail=f"attempt {purchase.attempt} was released",
        who=decision.who,
    )


def write_off(tx: Transaction, profile: str, decision: Decision, *, now: datetime) -> Purchase:
    """Nobody can find out: its price counts as spent, and it is not bought again by itself.

    Raises:
        DecisionError: it is not unknown, or the run that bought it still works.
    """
    purchase = look_up_doubtful(tx, profile, decision, now=now)
    move(
        tx,
        purchase.key,
        PurchaseState.WRITTEN_OFF,
        owner_id=purchase.owner_id,
        now=now,
        detail=decision.why,
        who=decision.who,
        reserved_usd=ZERO,
        cost_usd=purchase.reserved_usd,
        cost_source=WRITTEN_OFF,
    )
    return purchase


def withdraw_fresh_attempt(tx: Transaction, key: PurchaseKey, *, now: datetime) -> None:
    """A released create was answered after all: the attempt in its stead is not to be made.

    Nothing of it is at the provider, so its row can go; both decisions stay in the history. An
    attempt that is on its way already stays, and is paid for: the person's word was acted upon. In
    a reproduction's stead nothing was planned.
    """
    if is_reproduction(key.attempt):
        return
    tx.hold_account(key.profile)  # on PostgreSQL another process may be about to intend it
    fresh = _following(key)
    gone = tx.connection.execute(
        sa.delete(schema.purchases).where(
            *rows_of(fresh, schema.purchases),
            schema.purchases.c.state == PurchaseState.PLANNED.value,
        )
    )
    if gone.rowcount:
        tx.append_event(
            fresh,
            now=now,
            from_state=PurchaseState.PLANNED,
            to_state=PurchaseState.RELEASED,
            detail=f"withdrawn: the create of attempt {key.attempt} was answered after all",
        )


def _following(key: PurchaseKey) -> PurchaseKey:
    return PurchaseKey(profile=key.profile, request_id=key.request_id, attempt=key.attempt + 1)


def _refuse_while_working(tx: Transaction, purchase: Purchase, now: datetime) -> None:
    """A create of a live run may still be answered, and would find its purchase given away.

    One of a run that stands still may not even be sent yet, and goes when that is continued.
    """
    if owner_works(tx.connection, purchase.owner_id, now):
        raise DecisionError(
            f"run {purchase.run_id}, which sent request {purchase.request_id}, is still at work."
            " Wait until it ends, then decide; nothing was changed"
        )
    pid = stopped_process(tx.connection, purchase.owner_id)
    if pid is not None:
        raise DecisionError(
            f"process {pid} of run {purchase.run_id}, which intended request"
            f" {purchase.request_id}, stands still and may send it when it goes on. Continue it"
            f" (`kill -CONT {pid}`) or end it (`kill -KILL {pid}`), then decide. Nothing was"
            " changed"
        )
