"""What the `wan` command prints: the progress bar and the tables. No decisions are made here."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from wan_pipeline.cli.screen import printable, warn
from wan_pipeline.defs.progress import ProgressSink
from wan_pipeline.generation.progress import ended_badly

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from wan_pipeline.generation.planning import Plan, UnfinishedRequest
    from wan_pipeline.generation.progress import BatchReport, Tally
    from wan_pipeline.prompts.matrix.count import MatrixCount

__all__ = ["LiveProgress", "matrix_told", "plans_table", "unfinished_table", "usd"]

PLAIN_EVERY_S = 5.0  # without a terminal, a line now and then instead of a bar
SHOWN_UNFINISHED = 20


class LiveProgress(ProgressSink):
    """A bar on a terminal, lines elsewhere; keeps the batch's report for the final table."""

    def __init__(self, console: Console) -> None:
        self.report: BatchReport | None = None
        self.tally: Tally | None = None
        self._console = console
        self._next_line = 0.0
        self._untold = ""  # the newest counts, where no line told them
        self._pauses_told = self._repairs_told = 0
        # Asked once: while a step runs, Dagster puts a file in the place of standard output.
        self._is_live = console.is_terminal
        self._screen = _own_screen(console) if self._is_live else None
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=self._screen or console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._is_live,
        )
        self._task = self._bar.add_task("reading prompts", total=None, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._screen is not None:
            self._screen.file.close()

    def update(self, tally: Tally) -> None:
        """Redraw, or print a line when one is due; a pause or a repaired file is told at once."""
        self.tally = tally
        for pause in tally.pauses[self._pauses_told :]:
            warn(self._screen or self._console, pause)
        for repair in tally.repairs[self._repairs_told :]:
            warn(self._screen or self._console, repair)
        self._pauses_told, self._repairs_told = len(tally.pauses), len(tally.repairs)
        counts = (
            f"{tally.requests} requested, {tally.in_flight} in flight,"
            f" {tally.already_stored + tally.done} done, {ended_badly(tally)},"
            f" {usd(tally.cost_usd)}"
        )
        if self._is_live:
            self._bar.update(
                self._task,
                description="images",
                total=tally.requests,
                completed=tally.already_stored + tally.done + tally.failed,
                counts=counts,
            )
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_EVERY_S
            self._console.print(counts)
            self._untold = ""
        else:
            self._untold = counts

    def finished(self, report: BatchReport) -> None:
        """Tables and pages follow; where there is no bar, a last line tells how it ended."""
        self.report = report
        if self._untold:
            self._console.print(self._untold)
            self._untold = ""
        self._bar.update(self._task, description="writing tables and pages")


def _own_screen(console: Console) -> Console:
    """The same terminal by a descriptor of its own, which nobody redirects."""
    terminal = os.fdopen(os.dup(console.file.fileno()), "w", encoding=console.encoding)
    return Console(file=terminal, force_terminal=True, width=console.width, highlight=False)


def usd(amount: Decimal | None) -> str:
    """Dollars for people: cents, and more places only where there are any."""
    if amount is None:
        return "unknown"
    cents = amount.quantize(Decimal("0.01"))
    return f"${cents if cents == amount else amount.normalize():f}"


def plans_table(plans: Sequence[Plan]) -> Table:
    """One row per prompt set: how far it is, and what the rest costs."""
    table = Table(title="plan", title_justify="left", header_style="bold")
    table.add_column("prompt set", overflow="fold")
    for heading in ("requests", "stored", "in flight", "failed", "to buy", "images", "price"):
        table.add_column(heading, justify="right", no_wrap=True)
    for plan in plans:
        standing = plan.standing
        table.add_row(
            plan.prompt_set,
            str(plan.requests),
            str(standing.stored),
            str(standing.in_flight),
            str(standing.failed + standing.lost + standing.unknown),
            str(standing.to_buy),
            str(standing.images_to_buy),
            usd(plan.cost_to_buy_usd),
        )
    return table


def matrix_told(prompt_set: str, matrix: MatrixCount) -> str:
    """Where the prompts of a matrix come from: what its largest templates are multiplied by."""
    return printable(
        "\n  ".join([f"{prompt_set} makes {matrix.prompts:,}:", *matrix.lines(), *matrix.notes()])
    )


def unfinished_table(requests: Sequence[UnfinishedRequest]) -> Table:
    """The requests that are not complete, the first ones, with the reason."""
    table = Table(title=f"not complete: {len(requests)}", title_justify="left", header_style="bold")
    for heading in ("prompt", "state", "why, and what to do", "request"):
        table.add_column(heading, overflow="fold")
    for request in requests[:SHOWN_UNFINISHED]:
        told = (request.prompt_id, request.state, request.told, request.request_id[:12])
        table.add_row(*map(printable, told))
    if len(requests) > SHOWN_UNFINISHED:
        table.add_row("...", "", f"{len(requests) - SHOWN_UNFINISHED} more in the gallery", "")
    return table
