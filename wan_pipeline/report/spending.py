"""From the exported ledger to the figures of the spend page: sums in Decimal, grouped by Arrow.

Reads only the few columns it needs, and makes one row per day and set, never one per purchase.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import numpy.typing as npt

    from wan_pipeline.ledger.export import ExportSummary

__all__ = [
    "FAILED",
    "DaySpending",
    "ErrorCount",
    "SetSpending",
    "Spending",
    "Sums",
    "errors_of",
    "latencies_of",
    "read_spending",
]

ZERO = Decimal(0)
COLUMNS = [
    "state",
    "bought_by_set",
    "created_at",
    "submitted_at",
    "completed_at",
    "cost_usd",
    "reserved_usd",
    "error_kind",
    "error_code",
]
DONE = [PurchaseState.SUCCEEDED.value, PurchaseState.STORED.value]
FAILED = frozenset({PurchaseState.REFUSED, PurchaseState.FAILED, PurchaseState.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpending:
    """What the intents of one UTC day came to, for one set.

    Attributes:
        day: the day.
        prompt_set: the set that bought.
        spent_usd: paid.
        reserved_usd: set aside.
    """

    day: date
    prompt_set: str
    spent_usd: Decimal
    reserved_usd: Decimal


@dataclass(slots=True, kw_only=True)
class Sums:
    """What some purchases come to.

    Attributes:
        spent_usd: paid.
        reserved_usd: set aside.
        states: purchases by state.
    """

    spent_usd: Decimal = ZERO
    reserved_usd: Decimal = ZERO
    states: Counter[PurchaseState] = field(default_factory=Counter[PurchaseState])

    @property
    def purchases(self) -> int:
        """All of them."""
        return self.states.total()

    @property
    def failed(self) -> int:
        """Those that bring no image."""
        return sum(self.states[state] for state in FAILED)


@dataclass(slots=True, kw_only=True)
class SetSpending(Sums):
    """What one set bought.

    Attributes:
        prompt_set: its name.
    """

    prompt_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """How often one error ended a purchase.

    Attributes:
        state: what the purchase became.
        kind: what kind of error it is; empty when none was recorded.
        code: the provider's code; empty when it gave none.
        purchases: how many.
    """

    state: str
    kind: str
    code: str
    purchases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The ledger in figures.

    Attributes:
        spent_usd: paid.
        reserved_usd: set aside.
        states: purchases by state; every state is there.
        images: images by state; every state is there.
        days: by day and set, in that order.
        sets: by set, the most expensive first.
        latencies_s: seconds from submission to completion of the tasks that succeeded, unordered.
        errors: what ended the purchases that brought no image, the most frequent first.
    """

    spent_usd: Decimal
    reserved_usd: Decimal
    states: Mapping[PurchaseState, int]
    images: Mapping[ImageState, int]
    days: Sequence[DaySpending]
    sets: Sequence[SetSpending]
    latencies_s: npt.NDArray[np.float64]
    errors: Sequence[ErrorCount]

    @property
    def purchases(self) -> int:
        """All of them."""
        return sum(self.states.values())


def read_spending(exported: ExportSummary) -> Spending:
    """Read the figures from the exported files.

    Raises:
        OSError: a file cannot be read.
    """
    table = pq.read_table(exported.files["purchases"], columns=COLUMNS)
    images = pq.read_table(exported.files["images"], columns=["state"])
    days, sets = _days(table), _sets(table)
    return Spending(
        spent_usd=sum((day.spent_usd for day in days), ZERO),
        reserved_usd=sum((day.reserved_usd for day in days), ZERO),
        states={
            state: sum(each.states[state] for each in sets.values()) for state in PurchaseState
        },
        images={state: _count(images["state"], state.value) for state in ImageState},
        days=days,
        sets=sorted(
            sets.values(),
            key=lambda each: (-each.spent_usd - each.reserved_usd, each.prompt_set),
        ),
        latencies_s=latencies_of(table),
        errors=errors_of(table),
    )


def _days(table: Any) -> list[DaySpending]:
    day = pc.cast(pc.floor_temporal(table["created_at"], unit="day"), pa.date32())
    grouped = (
        table.append_column("day", day)
        .group_by(["day", "bought_by_set"])
        .aggregate([("cost_usd", "sum"), ("reserved_usd", "sum")])
        .sort_by([("day", "ascending"), ("bought_by_set", "ascending")])
    )
    return [
        DaySpending(
            day=row["day"],
            prompt_set=row["bought_by_set"],
            spent_usd=row["cost_usd_sum"] or ZERO,
            reserved_usd=row["reserved_usd_sum"] or ZERO,
        )
        for row in grouped.to_pylist()
    ]


def _sets(table: Any) -> dict[str, SetSpending]:
    grouped = table.group_by(["bought_by_set", "state"]).aggregate(
        [("cost_usd", "sum"), ("reserved_usd", "sum"), ([], "count_all")]
    )
    found: dict[str, SetSpending] = {}
    for row in grouped.to_pylist():
        name = row["bought_by_set"]
        each = found.setdefault(name, SetSpending(prompt_set=name))
        each.spent_usd += row["cost_usd_sum"] or ZERO
        each.reserved_usd += row["reserved_usd_sum"] or ZERO
        each.states[PurchaseState(row["state"])] += row["count_all"]
    return found


def latencies_of(table: Any) -> npt.NDArray[np.float64]:
    """Seconds from submission to completion of the purchases that succeeded, unordered."""
    done = table.filter(pc.is_in(table["state"], pa.array(DONE)))
    took = pc.drop_null(pc.subtract(done["completed_at"], done["submitted_at"]))
    microseconds = pc.cast(took, pa.int64()).to_numpy()
    # The provider's clock tells the end and ours the beginning: a little less than no time is none.
    return np.maximum(microseconds / 1e6, 0.0)


def errors_of(table: Any) -> list[ErrorCount]:
    """What ended the purchases that brought no image, the most frequent first."""
    ended = table.filter(pc.is_in(table["state"], pa.array([state.value for state in FAILED])))
    grouped = ended.group_by(["state", "error_kind", "error_code"]).aggregate([([], "count_all")])
    found = [
        ErrorCount(
            state=row["state"],
            kind=row["error_kind"] or "",
            code=row["error_code"] or "",
            purchases=row["count_all"],
        )
        for row in grouped.to_pylist()
    ]
    return sorted(found, key=lambda each: (-each.purchases, each.state, each.kind, each.code))


def _count(column: Any, value: str) -> int:
    return pc.sum(pc.equal(column, value)).as_py() or 0
