"""The report about a prompt set's runs: cost, outcomes and latency over time, and a row per run.

Static, like the spend page: opens from disk, fetches nothing, runs no script. It tells what the
runs of this set bought; the spend page tells the money of all sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.report.pages import asset, environment, seconds, write_page
from wan_pipeline.report.spending import FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.report.run_history import RunHistory

__all__ = ["MAX_ROWS", "REPORT_FILE", "RunReport", "write_run_report"]

REPORT_FILE = "report.html"
MAX_ROWS = 200
"""Most rows that a table of the page shows; it says how many it left out."""

IN_FLIGHT = frozenset(state for state in PurchaseState if state.unfinished)
OUTCOMES = (
    ("good", "stored", frozenset({PurchaseState.STORED})),
    ("series-0", "in flight", IN_FLIGHT),
    ("doubt", "unknown", frozenset({PurchaseState.UNKNOWN})),
    ("series-2", "failed", FAILED | {PurchaseState.WRITTEN_OFF}),
    ("muted", "proven not bought", frozenset({PurchaseState.PLANNED, PurchaseState.RELEASED})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What `write_run_report` wrote.

    Attributes:
        path: the page.
        bytes: its length.
    """

    path: Path
    bytes: int


def write_run_report(
    history: RunHistory, *, prompt_set: str, profile: str, created: datetime, out_dir: Path
) -> RunReport:
    """Write ``report.html`` in `out_dir`, replacing an older one at once.

    Args:
        history: what the runs bought.
        prompt_set: name of the prompt set.
        profile: account that bought.
        created: when the page was made, timezone-aware.
        out_dir: the gallery's folder; made if missing.

    Raises:
        OSError: the disk refused.
    """
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            history=history,
            prompt_set=prompt_set,
            profile=profile,
            created=created,
            plots=_plots(history),
            latency=_latency(history),
            outcomes=OUTCOMES,
            most=MAX_ROWS,
            style=Markup(asset("gallery.css") + asset("spend.css")),  # noqa: S704  ours
            states=PurchaseState,
            seconds=seconds,
        )
    )
    path = out_dir / REPORT_FILE
    return RunReport(path=path, bytes=write_page(path, page))


def _plots(history: RunHistory) -> dict[str, Markup | None]:
    """Every plot by name; nothing for one that has nothing to show."""
    if history.slots is None:
        return {}
    from wan_pipeline.report.plots import histogram, ranges, stacked_bars  # noqa: PLC0415

    labels, unit, slots = history.slots.labels, history.slots.unit, history.over_time
    spans = [_span(each.latencies_s) for each in slots]
    marks = [("good", each) for each in _quantiles(history.latencies_s, (0.5,))]
    marks += [("bad", each) for each in _quantiles(history.latencies_s, (0.95,))]
    return {
        "cost": stacked_bars(
            f"Cost per {unit}",
            labels,
            [
                ("series-0", [float(each.spent_usd) for each in slots]),
                ("doubt", [float(each.reserved_usd) for each in slots]),
            ],
            name="cost",
        ),
        "outcomes": stacked_bars(
            f"Requests per {unit} by outcome",
            labels,
            [
                (colour, [float(sum(each.states[state] for state in states)) for each in slots])
                for colour, _, states in OUTCOMES
            ],
            name="outcomes",
            money=False,
        ),
        "ranges": ranges(f"Latency per {unit}", labels, spans) if any(spans) else None,
        "latency": histogram("Latency of tasks that succeeded", history.latencies_s, marks)
        if history.latencies_s.size
        else None,
    }


def _latency(history: RunHistory) -> dict[str, Any] | None:
    """What the page says about latency."""
    found = _quantiles(history.latencies_s, (0.5, 0.95))
    if not found:
        return None
    return {
        "tasks": int(history.latencies_s.size),
        "median": seconds(found[0]),
        "p95": seconds(found[1]),
    }


def _span(latencies_s: Sequence[float]) -> tuple[float, float, float] | None:
    """The twentieth that was fastest, the middle, and the twentieth that was slowest."""
    found = _quantiles(latencies_s, (0.05, 0.5, 0.95))
    return (found[0], found[1], found[2]) if found else None


def _quantiles(latencies_s: Any, shares: Sequence[float]) -> list[float]:
    values = np.asarray(latencies_s, dtype=float)
    return [float(each) for each in np.quantile(values, shares)] if values.size else []
