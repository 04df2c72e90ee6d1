"""Caps in USD, and whether one more purchase fits under them.

What counts against a cap is what was paid plus what is reserved. The sums are kept in the table
`spending`, in the transaction that changes a purchase, so that checking a cap costs the same in
a ledger of a million images.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import BudgetExceededError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Bucket", "Caps", "add_pending", "check_caps", "committed_under"]

ZERO = Decimal(0)
_SPENDING = schema.spending.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The most that may be paid or reserved, in USD; None is no cap.

    Attributes:
        run: by one run.
        day: by the intents of one UTC day.
        prompt_set: by one prompt set; a shared purchase counts for the set that bought it.
        total: under the profile, for ever.
    """

    run: Decimal | None = None
    day: Decimal | None = None
    prompt_set: Decimal | None = None
    total: Decimal | None = None

    def tightened(self, other: Caps) -> Caps:
        """Of each pair the lower one: a run may be given less than the settings allow, not more."""
        return Caps(
            **{
                field.name: min(
                    (
                        cap
                        for cap in (getattr(self, field.name), getattr(other, field.name))
                        if cap is not None
                    ),
                    default=None,
                )
                for field in fields(self)
            }
        )

    def named(self) -> dict[str, Decimal]:
        """Those that are set."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: cap for name, cap in found.items() if cap is not None}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bucket:
    """What a purchase counts for: its account, and the day, set and run of its intent."""

    profile: str
    day: str
    prompt_set: str
    run_id: str

    @classmethod
    def of(cls, *, profile: str, intended_at: datetime, prompt_set: str, run_id: str) -> Bucket:
        """From a purchase's columns."""
        day = intended_at.date().isoformat()
        return cls(profile=profile, day=day, prompt_set=prompt_set, run_id=run_id)


_USD = _SPENDING.committed_usd
_COMMITTED = sa.select(
    sa.func.sum(sa.case((_SPENDING.run_id == sa.bindparam("the_run"), _USD))).label("run"),
    sa.func.sum(sa.case((_SPENDING.day == sa.bindparam("the_day"), _USD))).label("day"),
    sa.func.sum(sa.case((_SPENDING.prompt_set == sa.bindparam("the_set"), _USD))).label(
        "prompt_set"
    ),
    sa.func.sum(_USD).label("total"),
).where(_SPENDING.profile == sa.bindparam("account"))


def committed_under(connection: sa.Connection, bucket: Bucket) -> dict[str, Decimal]:
    """USD paid or reserved so far under each kind of cap that a purchase of the bucket meets.

    Args:
        connection: an open transaction that holds the account, else another process may spend
            between this answer and its use.
        bucket: of the purchase.
    """
    row = connection.execute(
        _COMMITTED,
        {
            "the_run": bucket.run_id,
            "the_day": bucket.day,
            "the_set": bucket.prompt_set,
            "account": bucket.profile,
        },
    ).one()
    return {
        "run": row.run or ZERO,
        "day": row.day or ZERO,
        "prompt_set": row.prompt_set or ZERO,
        "total": row.total or ZERO,
    }


def add_pending(
    committed: Mapping[str, Decimal], bucket: Bucket, pending: Mapping[Bucket, Decimal]
) -> dict[str, Decimal]:
    """The same with changes of the open transaction that are not in the table yet."""
    found = dict(committed)
    for other, change in pending.items():
        if other.profile == bucket.profile:
            found["run"] += change if other.run_id == bucket.run_id else ZERO
            found["day"] += change if other.day == bucket.day else ZERO
            found["prompt_set"] += change if other.prompt_set == bucket.prompt_set else ZERO
            found["total"] += change
    return found


def check_caps(caps: Caps, price_usd: Decimal, committed: Mapping[str, Decimal]) -> None:
    """Refuse a price that would pass a cap.

    Raises:
        BudgetExceededError: which cap, and by how much.
    """
    for name, cap in caps.named().items():
        if committed[name] + price_usd > cap:
            raise BudgetExceededError(name, cap=cap, committed=committed[name], price=price_usd)
