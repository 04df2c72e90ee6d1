"""Moving a purchase from state to state: by compare-and-set on its state and its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger import rows
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.states import TRANSITIONS, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import PurchaseKey
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["move", "stands"]

_ORIGINS = {
    to: frozenset(state.value for state, targets in TRANSITIONS.items() if to in targets)
    for to in PurchaseState
}


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
    row = rows.standing(tx, key)
    if row is None or row.owner_id != owner_id or row.state not in _ORIGINS[to]:
        wanted = ", ".join(sorted(_ORIGINS[to]))
        raise TransitionError(
            f"request {key.request_id} attempt {key.attempt} cannot become {to.value}: found"
            f" {rows.described(row)}, wanted owner {owner_id} and one of {wanted}. Nothing was"
            " changed; `wan ledger show` tells who came first"
        )
    for name, value in values.items():
        if callable(value):
            compute: Callable[[Any], Any] = value
            values[name] = compute(row)
    if give_to is not None:
        values["owner_id"] = give_to
    rows.set_state(tx, key, row, to, now=now, detail=detail, who=who, **values)
    return PurchaseState(row.state)


def stands(tx: Transaction, key: PurchaseKey, state: PurchaseState, owner: Owner) -> bool:
    """Whether a purchase is in a state and the owner's."""
    row = rows.standing(tx, key)
    return row is not None and row.state == state and row.owner_id == owner.owner_id
