"""One invocation of `wan`: a Dagster instance, the definitions, and jobs one after another."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from wan_pipeline.cli.console import LiveProgress, unfinished_table, usd
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.screen import say, warn
from wan_pipeline.cli.status import damaged_plan
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.launch import JobOutcome, fail_dead_runs, open_instance, run_job
from wan_pipeline.generation.planning import (
    PLAN_FILE,
    Plan,
    Standing,
    UnfinishedRequest,
    standing_of,
    unfinished_of,
)
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.table import REJECTS_FILE
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["Built", "Session", "Summary"]

ZERO = Decimal(0)
CHECKED_LAST = "every_request_stored"
INTERRUPTED = (
    "Interrupted. Tasks at the provider go on; run again to fetch them, nothing is bought twice"
)
# Steps that read what the user wrote; what fails there is the user's to mend.
READING_STEPS = frozenset({"prompts", "plan"})


class Session:
    """Runs jobs of the definitions in this process."""

    def __init__(self, settings: Settings, *, console: Console) -> None:
        self.layout: DataLayout = settings.layout
        self._settings = settings
        self._console = console
        self._instance = open_instance(settings)

    def __enter__(self) -> Self:
        fail_dead_runs(self._instance)
        return self

    def __exit__(self, *_: object) -> None:
        self._instance.dispose()

    def plan(self, prompt_set: str) -> Plan:
        """Validate and price one prompt set.

        Raises:
            ConfigurationError: its file cannot be used.
        """
        outcome = run_job(
            build_defs(self._settings), self._instance, "plan_only", prompt_set=prompt_set
        )
        if not outcome.success:
            raise ConfigurationError(f"{prompt_set}: {outcome.error}")
        return self._plan(prompt_set)

    def build_all(self, prompt_sets: Sequence[str]) -> list[Built]:
        """Build one set after another; a stop or an interrupt ends it for all of them."""
        built: list[Built] = []
        for prompt_set in prompt_sets:
            built.append(self.build(prompt_set))
            if built[-1].exit_code() in (ExitCode.STOPPED, ExitCode.INTERRUPTED):
                break
        if left := prompt_sets[len(built) :]:
            warn(self._console, f"not started: {', '.join(left)}. Run again for these")
        return built

    def build(self, prompt_set: str) -> Built:
        """Materialize the whole asset graph of one prompt set."""
        began = time.monotonic()
        with LiveProgress(self._console) as progress:
            defs = build_defs(self._settings, resources={"progress": progress})
            outcome = run_job(defs, self._instance, "build_dataset", prompt_set=prompt_set)
            failed_buying = outcome.failed_step == "images" and not outcome.interrupted
            if failed_buying and self._planned(prompt_set):
                # A stop must not hide what was paid for: show what is stored all the same.
                run_job(defs, self._instance, "publish", prompt_set=prompt_set)
        standing, unfinished, rejections = self._stored_facts(prompt_set)
        report, tally = progress.report, progress.tally
        return Built(
            prompt_set=prompt_set,
            layout=self.layout,
            outcome=outcome,
            standing=standing,
            unfinished=unfinished,
            rejections=rejections,
            stopped=report is not None and report.stop is not None,
            submitted=tally.created if tally else 0,
            stored=tally.images if tally else 0,
            taken_up=tally.taken_up if tally else 0,
            cost_usd=tally.cost_usd if tally else ZERO,
            duration_s=time.monotonic() - began,
        )

    def _planned(self, prompt_set: str) -> bool:
        return (self.layout.tables(prompt_set) / PLAN_FILE).exists()

    def _plan(self, prompt_set: str) -> Plan:
        return Plan.load(self.layout.tables(prompt_set) / PLAN_FILE)

    def _stored_facts(self, prompt_set: str) -> tuple[Standing, Sequence[UnfinishedRequest], int]:
        """How far the set is, what is not complete, and how many rules its rows break."""
        requests = self.layout.tables(prompt_set) / REQUESTS_FILE
        try:
            rejections = self._plan(prompt_set).rejections if self._planned(prompt_set) else 0
            if not requests.exists():
                return Standing(), (), rejections
            with self._settings.open_ledger() as ledger:
                standing, unfinished = (
                    standing_of(requests, ledger),
                    unfinished_of(requests, ledger),
                )
        except UnreadablePromptFileError as error:
            # A run that gets as far as planning writes both anew; this one did not.
            warn(self._console, damaged_plan(prompt_set, requests.parent, error))
            return Standing(), (), 0
        return standing, unfinished, rejections


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What one `wan run` did for one prompt set.

    Attributes:
        prompt_set: the set.
        layout: where its files lie.
        outcome: how the Dagster run ended.
        standing: how far the set is now.
        unfinished: its requests that are not complete.
        rejections: rules broken by rows of its file, which were left out.
        stopped: whether submitting ended early.
        submitted: creates sent.
        stored: images stored.
        taken_up: purchases of earlier runs that this one went on with.
        cost_usd: cost of what this run bought.
        duration_s: seconds, start of the run to its end.
    """

    prompt_set: str
    layout: DataLayout
    outcome: JobOutcome
    standing: Standing
    unfinished: Sequence[UnfinishedRequest]
    rejections: int
    stopped: bool
    submitted: int
    stored: int
    taken_up: int
    cost_usd: Decimal
    duration_s: float

    def exit_code(self) -> ExitCode:
        """The command's exit code if this were its only set."""
        failed_step = self.outcome.failed_step or ""
        if self.outcome.interrupted:
            return ExitCode.INTERRUPTED
        if self.stopped:
            return ExitCode.STOPPED
        if failed_step in READING_STEPS or self.outcome.error_class == "ConfigurationError":
            return ExitCode.USAGE
        if self.outcome.success:
            return ExitCode.COMPLETE
        if CHECKED_LAST in failed_step:
            return ExitCode.INCOMPLETE
        return ExitCode.ERROR

    def show(self, console: Console) -> None:
        """Print the set's table, and what is not complete."""
        table = Table(title=self.prompt_set, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        new = f"{self.stored} new, {self.standing.images_stored} in all"
        table.add_row("images", new)
        if short := self.standing.images_short:
            table.add_row("images missing", f"{short}: their requests brought fewer than asked for")
        table.add_row("cost of this run", usd(self.cost_usd))
        if set_aside := sum((each.reserved_usd for each in self.unfinished), ZERO):
            table.add_row("set aside", f"{usd(set_aside)} for requests in flight or unknown")
        if self.taken_up:
            table.add_row("taken up from earlier runs", f"{self.taken_up} requests, paid before")
        if not self.submitted and not self.stored and self.outcome.success:
            table.add_row("", "everything was stored already: nothing submitted, nothing paid")
        table.add_row("duration", f"{self.duration_s:.1f} s")
        table.add_row("images in", str(self.layout.root / "images"))
        table.add_row("metadata", str(self.layout.metadata(self.prompt_set)))
        table.add_row("gallery", str(self.layout.gallery(self.prompt_set) / "index.html"))
        table.add_row("dagster run", self.outcome.run_id)
        console.print(table)
        if self.unfinished:
            console.print(unfinished_table(self.unfinished))
        if self.outcome.interrupted:
            warn(console, INTERRUPTED)
        elif not self.outcome.success and CHECKED_LAST not in (self.outcome.failed_step or ""):
            say(console, self.outcome.error)
        elif self.rejections:
            rejects = self.layout.tables(self.prompt_set) / REJECTS_FILE
            warn(console, f"{self.rejections} rules broken by rows left out; see {rejects}")

    def as_json(self) -> dict[str, Any]:
        """The same for scripts; money as strings."""
        return {
            "prompt_set": self.prompt_set,
            "run_id": self.outcome.run_id,
            "exit_code": int(self.exit_code()),
            "submitted": self.submitted,
            "stored": self.stored,
            "taken_up": self.taken_up,
            "cost_usd": str(self.cost_usd),
            "duration_s": round(self.duration_s, 3),
            "standing": asdict(self.standing),
            "not_complete": [
                {**asdict(request), "reserved_usd": str(request.reserved_usd)}
                for request in self.unfinished
            ],
            "rejections": self.rejections,
            "error": self.outcome.error,
            "metadata": str(self.layout.metadata(self.prompt_set)),
            "gallery": str(self.layout.gallery(self.prompt_set) / "index.html"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All sets of one `wan run` together."""

    built: Sequence[Built]

    def exit_code(self) -> ExitCode:
        """The worst of the sets'."""
        return max((each.exit_code() for each in self.built), default=ExitCode.COMPLETE)

    def last_line(self) -> str:
        """For scripts; its form is part of the interface."""
        cost = sum((each.cost_usd for each in self.built), ZERO)
        return (
            f"submitted={sum(each.submitted for each in self.built)}"
            f" stored={sum(each.stored for each in self.built)}"
            f" failed={sum(each.standing.incomplete for each in self.built)}"
            f" cost_usd={cost:.2f}"
        )
