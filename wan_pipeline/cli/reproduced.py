"""What one `wan reproduce` is going to buy and what it found: tables, JSON, an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import exit_code_of
from wan_pipeline.cli.screen import printable, say, warn
from wan_pipeline.dataset.reproduction.verdict import Verdict
from wan_pipeline.told import dollars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path

    from rich.console import Console

    from wan_pipeline.cli.reproduce import ReproductionPlan
    from wan_pipeline.defs.launch import JobOutcome
    from wan_pipeline.wan.errors import StopReason

__all__ = ["Reproduced", "show_plan"]

INTERRUPTED = (
    "Interrupted. Tasks at the provider go on; run again with the same label to fetch them, nothing"
    " is bought twice"
)


def show_plan(console: Console, plan: ReproductionPlan) -> None:
    """Print what is going to be bought, and its price."""
    sample, standing = plan.sample, plan.standing
    table = Table(title="reproduction", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("release", plan.series.reference)
    table.add_row("label", plan.series.label)
    table.add_row("requests", f"{len(sample.requests)} of {sample.of}")
    if sample.rewritten:
        table.add_row("of those rewritten", f"{sample.rewritten}: told apart, no drift by default")
    if standing.stored or standing.in_flight:
        table.add_row("bought before", f"{standing.stored + standing.in_flight} under this label")
    if gone := standing.failed + standing.lost + standing.unknown:
        table.add_row("not to be had", f"{gone} under this label: failed, unknown or lost")
    table.add_row("to buy", f"{standing.to_buy} requests, {standing.images_to_buy} images")
    table.add_row("price", usd(plan.cost_usd))
    console.print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What one `wan reproduce` did.

    Attributes:
        outcome: how the Dagster run ended.
        report: what was found, as in report.json; None when the run did not get that far.
        folder: of table, report and page.
        stop: why submitting ended early, if it did.
        left: requests that were not bought because of that.
        left_cost_usd: what they would cost.
        submitted: creates sent.
        stored: images stored.
        repairs: a sentence for each damaged file that was replaced, since its bytes came again.
        cost_usd: cost of what this run bought.
    """

    outcome: JobOutcome
    report: Mapping[str, Any] | None
    folder: Path
    stop: StopReason | None
    left: int
    left_cost_usd: Decimal
    submitted: int
    stored: int
    repairs: Sequence[str]
    cost_usd: Decimal

    def exit_code(self) -> ExitCode:
        """What a script can tell from the command's end."""
        if self.outcome.interrupted:
            return ExitCode.INTERRUPTED
        if self.stop is not None or self.outcome.unrecorded:
            return ExitCode.STOPPED
        if self.report is None or not self.outcome.success:
            return exit_code_of(self.outcome.error_class)
        is_good = self.report["verdict"] == Verdict.NO_DRIFT
        return ExitCode.COMPLETE if is_good else ExitCode.INCOMPLETE

    def last_line(self) -> str:
        """For scripts; its form is part of the interface."""
        found = self.report or {"counted": 0, "drifted": 0, "verdict": "none"}
        return (
            f"submitted={self.submitted} stored={self.stored} compared={found['counted']}"
            f" drifted={found['drifted']} cost_usd={self.cost_usd:.2f} verdict={found['verdict']}"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for scripts; money as strings."""
        return {
            "run_id": self.outcome.run_id,
            "exit_code": int(self.exit_code()),
            "submitted": self.submitted,
            "stored": self.stored,
            "repairs": list(self.repairs),
            "cost_usd": dollars(self.cost_usd),
            "stop": None if self.stop is None else self.stop.value,
            "left": self.left,
            "left_cost_usd": dollars(self.left_cost_usd),
            "error": self.outcome.error,
            "folder": str(self.folder),
            "report": self.report,
        }

    def show(self, console: Console) -> None:
        """Print the figures, and what to do."""
        if self.report is not None:
            console.print(self._table(self.report))
            if self.report["verdict"] == Verdict.NO_DRIFT:
                console.print(printable(self.report["sentence"]), soft_wrap=True)
            else:
                warn(console, self.report["sentence"])
        if self.outcome.interrupted:
            warn(console, INTERRUPTED)
        elif not self.outcome.success:
            say(console, self.outcome.error)

    def _table(self, report: Mapping[str, Any]) -> Table:
        table = Table(title="drift", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        told = {name.replace("_", " "): count for name, count in report["outcomes"].items()}
        table.add_row("images", ", ".join(f"{n} {name}" for name, n in told.items() if n))
        table.add_row("counted", f"{report['counted']}, {report['drifted']} drifted")
        if report["farthest"] is not None:
            table.add_row("farthest", f"{report['farthest']} of 64 bits")
        if report["rewritten"]:
            table.add_row(
                "rewritten prompts",
                f"{report['rewritten_differing']} of {report['rewritten']} images differ",
            )
        if report["cost_differences"]:
            table.add_row("other costs", f"{len(report['cost_differences'])} requests")
        table.add_row("cost of this run", usd(self.cost_usd))
        table.add_row("page", str(self.folder / "index.html"))
        table.add_row("dagster run", self.outcome.run_id)
        return table
