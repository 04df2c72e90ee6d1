"""From the purchases of a prompt set to the figures of its run report: per run and over time."""

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

from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.report.slots import slots_of
from wan_pipeline.report.spending import Sums, errors_of, latencies_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import numpy.typing as npt

    from wan_pipeline.report.slots import Slots
    from wan_pipeline.report.spending import ErrorCount

__all__ = ["RunFigures", "RunHistory", "SlotFigures", "read_history"]

ZERO = Decimal(0)


@dataclass(slots=True, kw_only=True)
class _Figures(Sums):
    """What some purchases came to, image by image and task by task.

    Attributes:
        images: images on disk.
        latencies_s: seconds of the tasks that succeeded.
    """

    images: int = 0
    latencies_s: list[float] = field(default_factory=list[float])

    def add(self, row: dict[str, Any]) -> None:
        """Count one purchase."""
        self.spent_usd += row["cost_usd"] or ZERO
        self.reserved_usd += row["reserved_usd"]
        self.images += row["images_stored"]
        self.states[PurchaseState(row["state"])] += 1
        if row["images_stored"] and row["completed_at"] and row["submitted_at"]:
            took = (row["completed_at"] - row["submitted_at"]).total_seconds()
            self.latencies_s.append(max(took, 0.0))

    def latency_s(self, share: float) -> float | None:
        """Seconds within which this share of the tasks was done; nothing when none was."""
        return float(np.quantile(self.latencies_s, share)) if self.latencies_s else None


@dataclass(slots=True, kw_only=True)
class RunFigures(_Figures):
    """What one run bought.

    Attributes:
        run_id: the run.
        code_version: version that bought.
        started: when its first intent was written.
        ended: when its last task was done; nothing while none is.
    """

    run_id: str
    code_version: str
    started: datetime
    ended: datetime | None = None


@dataclass(slots=True, kw_only=True)
class SlotFigures(_Figures):
    """What was bought in one stretch of time, by the time of the intent.

    Attributes:
        label: its name.
    """

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """What the runs of a set bought.

    Attributes:
        runs: the newest first.
        slots: how time is divided; nothing when nothing was bought.
        over_time: figures of each slot.
        latencies_s: seconds from submission to completion of the tasks that succeeded.
        errors: what ended the purchases that brought no image, the most frequent first.
    """

    runs: Sequence[RunFigures]
    slots: Slots | None
    over_time: Sequence[SlotFigures]
    latencies_s: npt.NDArray[np.float64]
    errors: Sequence[ErrorCount]

    @property
    def spent_usd(self) -> Decimal:
        """Paid."""
        return sum((run.spent_usd for run in self.runs), ZERO)

    @property
    def reserved_usd(self) -> Decimal:
        """Set aside."""
        return sum((run.reserved_usd for run in self.runs), ZERO)

    @property
    def images(self) -> int:
        """Images on disk."""
        return sum(run.images for run in self.runs)

    @property
    def states(self) -> Counter[PurchaseState]:
        """Purchases by state."""
        return sum((run.states for run in self.runs), Counter[PurchaseState]())

    @property
    def failed(self) -> int:
        """Purchases that bring no image."""
        return sum(run.failed for run in self.runs)


def read_history(bought: Any) -> RunHistory:
    """The figures of a `wan_pipeline.ledger.bought.BOUGHT` table."""
    rows: list[dict[str, Any]] = bought.to_pylist()
    slots = slots_of(pc.cast(bought["created_at"], pa.int64()).to_numpy()) if rows else None
    over_time = [SlotFigures(label=label) for label in slots.labels] if slots else []
    runs: dict[str, RunFigures] = {}
    for place, row in enumerate(rows):
        run = runs.setdefault(
            row["run_id"],
            RunFigures(
                run_id=row["run_id"], code_version=row["code_version"], started=row["created_at"]
            ),
        )
        ends = (each for each in (run.ended, row["completed_at"]) if each is not None)
        run.ended = max(ends, default=None)
        run.add(row)
        if slots is not None:
            over_time[int(slots.numbers[place])].add(row)
    return RunHistory(
        runs=sorted(runs.values(), key=lambda run: (run.started, run.run_id), reverse=True),
        slots=slots,
        over_time=over_time,
        latencies_s=latencies_of(bought),
        errors=errors_of(bought),
    )
