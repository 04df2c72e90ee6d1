"""The page about money: what was spent and reserved, by whom and when, and what needs a person.

Static, like the gallery: opens from disk, fetches nothing, runs no script, and whatever a user or a
provider wrote is escaped. The figures are exact; only the plots round.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.report.pages import (
    asset,
    environment,
    markdown_text,
    seconds,
    usd,
    write_page,
)
from wan_pipeline.report.periods import timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.ledger.cap_use import CapUse
    from wan_pipeline.ledger.review import OpenPurchase, PriceDifference
    from wan_pipeline.report.spending import Spending

__all__ = ["SpendReport", "SpendSummary", "spend_preview", "write_spend_page"]

ZERO = Decimal(0)
MAX_ROWS = 200
"""Most rows that a table of the page shows; it says how many it left out."""

SERIES = 7  # sets with a colour of their own; the others share the eighth
PREVIEW_SETS = 5
PREVIEW_NAME = 24
OUTCOMES = {
    PurchaseState.STORED: "good",
    PurchaseState.SUCCEEDED: "series-0",
    PurchaseState.SUBMITTED: "series-0",
    PurchaseState.INTENT: "series-0",
    PurchaseState.PLANNED: "muted",
    PurchaseState.UNKNOWN: "doubt",
    PurchaseState.REFUSED: "bad",
    PurchaseState.FAILED: "bad",
    PurchaseState.EXPIRED: "bad",
    PurchaseState.WRITTEN_OFF: "bad",
    PurchaseState.RELEASED: "muted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendSummary:
    """What the page tells, all of one moment.

    Attributes:
        profile: the account.
        created: when the page was made, timezone-aware.
        spending: the ledger in figures.
        unknowns: purchases that need a person, oldest first.
        unfinished: purchases in flight or to be fetched, the one that dies first at the top.
        price_differences: purchases whose reported cost is not their price.
        caps: how much of each cap is used; empty when there is none.
        files: the exported tables by name, as links from the page.
    """

    profile: str
    created: datetime
    spending: Spending
    unknowns: Sequence[OpenPurchase]
    unfinished: Sequence[OpenPurchase]
    price_differences: Sequence[PriceDifference]
    caps: Sequence[CapUse]
    files: Mapping[str, str]

    @property
    def oldest_deadline(self) -> datetime | None:
        """When the first result dies that is not fetched yet."""
        return min(
            (each.deadline_at for each in self.unfinished if each.deadline_at is not None),
            default=None,
        )

    @property
    def passed(self) -> int:
        """Caps that were passed."""
        return sum(cap.left_usd < 0 for cap in self.caps)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendReport:
    """What `write_spend_page` wrote.

    Attributes:
        path: the page.
        bytes: its length.
    """

    path: Path
    bytes: int


def write_spend_page(summary: SpendSummary, *, out_dir: Path) -> SpendReport:
    """Write ``index.html`` in `out_dir`, replacing an older one at once.

    Raises:
        OSError: the disk refused.
    """
    page = (
        environment()
        .get_template("spend.html.j2")
        .render(
            summary=summary,
            spending=summary.spending,
            plots=_plots(summary.spending) if summary.spending.purchases else {},
            most=MAX_ROWS,
            style=Markup(asset("gallery.css") + asset("spend.css")),  # noqa: S704  ours
            states=PurchaseState,
            image_states=ImageState,
        )
    )
    path = out_dir / "index.html"
    return SpendReport(path=path, bytes=write_page(path, page))


def spend_preview(summary: SpendSummary) -> str:
    """The most important figures as a small Markdown table, short enough to be shown unasked."""
    spending = summary.spending
    lines = ["| | spent | reserved | purchases | unknown |", "|---|--:|--:|--:|--:|"]
    rows: list[tuple[str, Decimal, Decimal, int, int]] = [
        (
            "**all**",
            spending.spent_usd,
            spending.reserved_usd,
            spending.purchases,
            spending.states[PurchaseState.UNKNOWN],
        )
    ]
    rows += [
        (
            markdown_text(each.prompt_set, longest=PREVIEW_NAME),
            each.spent_usd,
            each.reserved_usd,
            each.purchases,
            each.states[PurchaseState.UNKNOWN],
        )
        for each in spending.sets[:PREVIEW_SETS]
    ]
    lines += [
        f"| {name} | {usd(spent)} | {usd(reserved)} | {purchases:,} | {unknown:,} |"
        for name, spent, reserved, purchases, unknown in rows
    ]
    if len(spending.sets) > PREVIEW_SETS:
        lines.append(f"| {len(spending.sets) - PREVIEW_SETS} more sets | | | | |")
    return "\n".join(lines) + "\n"


def _plots(spending: Spending) -> dict[str, dict[str, Any] | None]:
    """Every plot by name: its SVG, and what the page says about it."""
    return {
        "time": _over_time(spending),
        "sets": _by_set(spending),
        "latency": _latency(spending) if spending.latencies_s.size else None,
        "outcomes": _outcomes(spending),
    }


def _over_time(spending: Spending) -> dict[str, Any]:
    from wan_pipeline.report.plots import stacked_bars  # noqa: PLC0415  imports Matplotlib

    named = [each.prompt_set for each in spending.sets[:SERIES]]
    line = timeline(spending.days, named=named)
    names = [*named, *([""] if len(spending.sets) > SERIES else [])]
    layers = [
        (f"series-{number}", [float(period.spent_usd.get(name, 0)) for period in line.periods])
        for number, name in enumerate(names)
    ]
    layers.append(("doubt", [float(period.reserved_usd) for period in line.periods]))
    others = f"{len(spending.sets) - SERIES} other sets"
    legend = [(f"series-{number}", name or others) for number, name in enumerate(names)]
    return {
        "svg": stacked_bars(
            f"Cost per {line.unit}", [period.label for period in line.periods], layers
        ),
        "unit": line.unit.value,
        "legend": [*legend, *([("doubt", "reserved")] if spending.reserved_usd else [])],
        "periods": [
            period for period in line.periods if any((period.spent_usd, period.reserved_usd))
        ],
    }


def _by_set(spending: Spending) -> dict[str, Any]:
    from wan_pipeline.report.plots import bars_by_name  # noqa: PLC0415

    rows = [
        (
            each.prompt_set,
            usd(each.spent_usd + each.reserved_usd),
            [(f"series-{number}", float(each.spent_usd)), ("doubt", float(each.reserved_usd))],
        )
        for number, each in enumerate(spending.sets[:SERIES])
    ]
    if others := spending.sets[SERIES:]:
        spent = sum((each.spent_usd for each in others), ZERO)
        reserved = sum((each.reserved_usd for each in others), ZERO)
        parts = [(f"series-{SERIES}", float(spent)), ("doubt", float(reserved))]
        rows.append((f"{len(others)} other sets", usd(spent + reserved), parts))
    return {"svg": bars_by_name("sets", "Cost per prompt set", rows)}


def _latency(spending: Spending) -> dict[str, Any]:
    from wan_pipeline.report.plots import histogram  # noqa: PLC0415

    latencies = spending.latencies_s
    median, slow = (float(each) for each in np.quantile(latencies, (0.5, 0.95)))
    marks = [("good", median), ("bad", slow)]
    return {
        "svg": histogram("Latency of tasks that succeeded", latencies, marks),
        "tasks": int(latencies.size),
        "median": seconds(median),
        "p95": seconds(slow),
    }


def _outcomes(spending: Spending) -> dict[str, Any]:
    from wan_pipeline.report.plots import bars_by_name  # noqa: PLC0415

    counts = {state: spending.states[state] for state in OUTCOMES}
    rows = [
        (state.value.replace("_", " "), f"{count:,}", [(OUTCOMES[state], float(count))])
        for state, count in counts.items()
        if count
    ]
    return {"svg": bars_by_name("outcomes", "Purchases by state", rows)}
