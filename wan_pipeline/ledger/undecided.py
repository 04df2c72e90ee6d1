"""Which purchases a person may decide about: found for them, and looked at again when they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.lookup import find_purchases, find_request
from wan_pipeline.ledger.rows import latest
from wan_pipeline.ledger.series import standing_among
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import Purchase, PurchaseKey
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["ADOPTABLE", "DOUBTFUL", "find_decidable", "standing_decidable"]

DOUBTFUL = (PurchaseState.UNKNOWN,)
"""A person may release or write off what is in one of these states."""

ADOPTABLE = (PurchaseState.UNKNOWN, PurchaseState.WRITTEN_OFF, PurchaseState.EXPIRED)
"""A person may name the task of what is in one of these states, and of what a task has brought
about that a person has named before."""

_BY_ITS_TASK = (
    PurchaseState.SUBMITTED,
    PurchaseState.SUCCEEDED,
    PurchaseState.STORED,
    PurchaseState.FAILED,
)
_EVENTS = schema.events.c
WHERE = "`wan ledger show --state unknown` lists what needs a decision"


def find_decidable(
    reader: LedgerReader,
    beginnings: Iterable[str],
    allowed: Sequence[PurchaseState],
    *,
    bought_by: str | None = None,
    or_adopted: bool = False,
) -> list[Purchase]:
    """The purchases of the named requests that can be decided, one of each.

    Args:
        reader: the ledger.
        beginnings: of the requests' ids; one named twice counts once.
        allowed: the states that can be decided.
        bought_by: the prompt set or series that is meant; any when None.
        or_adopted: whether what has its task from a person can be decided, too.

    Raises:
        UnclearRequestError: a beginning names none or several.
        DecisionError: one of them is in another state, or several purchases of it can be decided.
    """
    named = dict.fromkeys(find_request(reader, each) for each in beginnings)
    found: list[Purchase] = []
    for request_id in named:
        purchases, _ = find_purchases(reader, RowFilter(requests=[request_id]))
        by_person = _adopted(reader, purchases) if or_adopted else ()
        found.append(_one_of(request_id, purchases, by_person, allowed, bought_by))
    return found


def standing_decidable(
    tx: Transaction,
    profile: str,
    request_id: str,
    series: str | None,
    allowed: Sequence[PurchaseState],
    *,
    or_adopted: bool = False,
) -> Purchase:
    """The purchase that a decision is about, as it stands now: it may have moved on meanwhile.

    Raises:
        DecisionError: there is none, or it is in another state.
    """
    purchase = latest(tx.connection, profile, request_id, series)
    if purchase is None:
        raise DecisionError(
            f"the ledger of profile {profile} knows no request {request_id}. Nothing was changed;"
            f" {WHERE}"
        )
    adopted = or_adopted and _is_adopted(tx.connection, purchase)
    if purchase.state not in allowed and not adopted:
        raise _undecidable(request_id, purchase.state.value, allowed)
    return purchase


def _one_of(
    request_id: str,
    purchases: Sequence[Purchase],
    adopted: Collection[PurchaseKey],
    allowed: Sequence[PurchaseState],
    bought_by: str | None,
) -> Purchase:
    """The purchase of a request that is meant: its newest attempt, or one of its reproductions."""
    newest = standing_among(purchases)
    standing = [each for each in newest if bought_by in (None, each.bought_by_set)]
    meant = [each for each in standing if each.state in allowed or each.key in adopted]
    if len(meant) == 1:
        return meant[0]
    if meant:
        sets = ", ".join(each.bought_by_set for each in meant)
        raise DecisionError(
            f"{request_id[:12]} needs a decision for several purchases, bought by {sets}: say which"
            " with --set. Nothing was changed"
        )
    told = ", ".join(each.state.value for each in standing) or f"not bought by {bought_by}"
    raise _undecidable(request_id, told, allowed)


def _undecidable(request_id: str, told: str, allowed: Sequence[PurchaseState]) -> DecisionError:
    return DecisionError(
        f"{request_id[:12]} is {told}: only a request that is"
        f" {' or '.join(state.value for state in allowed)} can be decided this way. Nothing was"
        f" changed; {WHERE}"
    )


def _adopted(reader: LedgerReader, purchases: Iterable[Purchase]) -> frozenset[PurchaseKey]:
    with snapshot(reader) as view:
        return frozenset(each.key for each in purchases if _is_adopted(view.connection, each))


def _is_adopted(connection: sa.Connection, purchase: Purchase) -> bool:
    """Whether it has its task from a person, not from an answer of the provider."""
    if purchase.state not in _BY_ITS_TASK:
        return False
    key, submitted = purchase.key, PurchaseState.SUBMITTED.value
    query = (
        sa.select(_EVENTS.who)
        .where(
            _EVENTS.profile == key.profile,
            _EVENTS.request_id == key.request_id,
            _EVENTS.attempt == key.attempt,
            _EVENTS.image_index.is_(None),
            _EVENTS.to_state == submitted,
            # Taken over and other news of a task are no new task, unless a person says so.
            sa.or_(_EVENTS.from_state != submitted, _EVENTS.who.is_not(None)),
        )
        .order_by(_EVENTS.seq.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() is not None
