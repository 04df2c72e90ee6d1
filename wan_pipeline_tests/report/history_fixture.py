"""Purchases of a set's runs, made up, as the ledger tells them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline.ledger.bought import BOUGHT
from wan_pipeline_tests.ledger.entries import MORNING, purchase_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["bought", "bought_row", "three_runs"]


def bought_row(request_id: str = "r1", **values: Any) -> dict[str, Any]:
    """A purchase; it brought an image if it is stored, unless told otherwise."""
    row = purchase_row(request_id, **values)
    stored = 1 if row["state"] == "stored" else 0
    return {"images_stored": stored} | {name: row[name] for name in BOUGHT.names if name in row}


def bought(rows: Sequence[dict[str, Any]]) -> Any:
    """The table."""
    return pa.Table.from_pylist(list(rows), BOUGHT)


def three_runs(number: int = 300, *, began: datetime = MORNING) -> Any:
    """Three runs of some purchases each, over an hour, with everything that can become of one."""
    states = ["stored"] * 12 + ["failed", "refused", "unknown", "submitted", "expired"]
    rows: list[dict[str, Any]] = []
    for place in range(number):
        at = began + timedelta(seconds=place * 12)
        row = bought_row(
            f"{place:064x}",
            state=states[place % len(states)],
            run_id=f"run-{place * 3 // number}",
            created_at=at,
            error_code="DataInspectionFailed",
        )
        if row["completed_at"] is not None:
            row["completed_at"] = at + timedelta(seconds=20 + place % 37)
        rows.append(row)
    return bought(rows)
