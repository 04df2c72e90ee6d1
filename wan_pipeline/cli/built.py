"""What one `wan run` did: for people a table, for scripts JSON, a last line and an exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import unfinished_table, usd
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import exit_code_of
from wan_pipeline.cli.screen import printable, say, warn
from wan_pipeline.prompts.table import REJECTS_FILE
from wan_pipeline.told import counted, dollars, rest_told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from wan_pipeline.cli.order import Hold
    from wan_pipeline.cli.together import Together
    from wan_pipeline.defs.launch import JobOutcome
    from wan_pipeline.generation.planning import Standing, UnfinishedRequest
    from wan_pipeline.layout import DataLayout
    from wan_pipeline.wan.errors import StopReason

__all__ = ["CHECKED_LAST", "READING_STEPS", "Built", "Summary"]

ZERO = Decimal(0)
CHECKED_LAST = "every_request_stored"
INTERRUPTED = (
    "Interrupted. Tasks at the provider go on; run again to fetch them, nothing is bought twice"
)
# Steps that read what the user wrote; what fails there is the user's to mend.
READING_STEPS = frozenset({"prompts", "plan"})


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
        steps: commands that bring the incomplete ones further.
        own_stop: why submitting or fetching ended early, if it did.
        hold: the stop of an earlier set that kept this one from buying, if one did.
        left: requests that were not bought because of either.
        left_cost_usd: what they would cost.
        submitted: creates sent.
        stored: images stored.
        taken_up: purchases of earlier runs that this one went on with.
        pauses: a sentence for each time that the breaker, or the rate limit for more than some
            seconds, held creates back.
        repairs: a sentence for each damaged file that was replaced, since its bytes came again.
        cost_usd: cost of what this run bought.
        duration_s: seconds, start of the run to its end.
        flagged: images of the set by what is noticed about them.
    """

    prompt_set: str
    layout: DataLayout
    outcome: JobOutcome
    standing: Standing
    unfinished: Sequence[UnfinishedRequest]
    rejections: int
    steps: Sequence[str]
    own_stop: StopReason | None
    hold: Hold | None
    left: int
    left_cost_usd: Decimal
    submitted: int
    stored: int
    taken_up: int
    pauses: Sequence[str]
    repairs: Sequence[str]
    cost_usd: Decimal
    duration_s: float
    flagged: Mapping[str, int]

    @property
    def stop(self) -> StopReason | None:
        """Why the set is not complete though more could be had: its own stop, or an earlier one."""
        if self.own_stop is None and self.hold is not None and self.standing.has_work:
            return self.hold.stop
        return self.own_stop

    @property
    def held_back(self) -> str:
        """That nothing was bought, and why; empty where nothing held the set back."""
        if self.hold is None or not self.standing.has_work:
            return ""
        told = f"{self.hold}"
        if self.left:
            told += f"; {rest_told(self.left, self.left_cost_usd)}"
        if self.standing.in_flight:
            told += f"; {counted(self.standing.in_flight, 'request')} in flight, paid before"
        return f"{told}. What to do: {self.hold.stop.remedy}"

    def exit_code(self) -> ExitCode:
        """The command's exit code if this were its only set."""
        failed_step = self.outcome.failed_step or ""
        if self.outcome.interrupted:
            return ExitCode.INTERRUPTED
        if self.stop is not None or self.outcome.unrecorded:
            return ExitCode.STOPPED
        if exit_code_of(self.outcome.error_class) is ExitCode.STOPPED:
            return ExitCode.STOPPED
        if failed_step in READING_STEPS or self.outcome.error_class == "ConfigurationError":
            return ExitCode.USAGE
        if self.outcome.success:
            # The jobs of a set that was held back end without the check of what is complete.
            incomplete = self.hold is not None and self.standing.incomplete
            return ExitCode.INCOMPLETE if incomplete else ExitCode.COMPLETE
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
        self._add_course(table)
        table.add_row("duration", f"{self.duration_s:.1f} s")
        self._add_places(table)
        table.add_row("dagster run", self.outcome.run_id)
        console.print(table)
        if self.unfinished:
            console.print(unfinished_table(self.unfinished))
        for step in self.steps:
            warn(console, step)
        if self.held_back:
            warn(console, self.held_back)
        if self.outcome.interrupted:
            warn(console, INTERRUPTED)
        elif not self.outcome.success and CHECKED_LAST not in (self.outcome.failed_step or ""):
            say(console, self.outcome.error)
        elif self.rejections:
            rejects = self.layout.tables(self.prompt_set) / REJECTS_FILE
            warn(
                console,
                f"{counted(self.rejections, 'rule')} broken by rows left out; see {rejects}",
            )

    def _add_course(self, table: Table) -> None:
        """What the run met on its way."""
        if self.taken_up:
            table.add_row(
                "taken up from earlier runs", f"{counted(self.taken_up, 'request')}, paid before"
            )
        if self.pauses:
            table.add_row("pauses", printable(f"{len(self.pauses)}; the last: {self.pauses[-1]}"))
        nothing_done = not self.submitted and not self.stored and self.outcome.success
        if nothing_done and not self.standing.incomplete:
            table.add_row("nothing to do", "everything is stored: nothing submitted, nothing paid")

    def _add_places(self, table: Table) -> None:
        """Where everything lies, and what is noticed about the images."""
        table.add_row("images in", str(self.layout.root / "images"))
        table.add_row("metadata", str(self.layout.metadata(self.prompt_set)))
        table.add_row("gallery", str(self.layout.gallery(self.prompt_set) / "index.html"))
        if self.flagged:
            told = (f"{count} {flag}" for flag, count in sorted(self.flagged.items()))
            page = self.layout.quarantine(self.prompt_set)
            table.add_row("flagged images", f"{', '.join(told)}; see {page}")

    def as_json(self) -> dict[str, Any]:
        """The same for scripts; money as strings."""
        return {
            "prompt_set": self.prompt_set,
            "run_id": self.outcome.run_id,
            "exit_code": int(self.exit_code()),
            "submitted": self.submitted,
            "stored": self.stored,
            "taken_up": self.taken_up,
            "pauses": len(self.pauses),
            "repairs": list(self.repairs),
            "cost_usd": dollars(self.cost_usd),
            "duration_s": round(self.duration_s, 3),
            "standing": asdict(self.standing),
            "not_complete": [
                {**asdict(request), "reserved_usd": dollars(request.reserved_usd)}
                for request in self.unfinished
            ],
            "rejections": self.rejections,
            "flagged": dict(self.flagged),
            "stop": None if self.stop is None else self.stop.value,
            "left": self.left,
            "left_cost_usd": dollars(self.left_cost_usd),
            "next_steps": list(self.steps),
            "error": self.outcome.error or self.held_back,
            "metadata": str(self.layout.metadata(self.prompt_set)),
            "quarantine": str(self.layout.quarantine(self.prompt_set)),
            "gallery": str(self.layout.gallery(self.prompt_set) / "index.html"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All sets of one `wan run` together.

    Attributes:
        built: those that were gone through.
        not_started: how far the others are, by their names, as far as they are planned.
        price_usd: per image; None where the profile has none.
        together: each request once; None where that cannot be read now.
        retries: whether something was to be bought again.
    """

    built: Sequence[Built]
    not_started: Mapping[str, Standing] = field(default_factory=dict[str, "Standing"])
    price_usd: Decimal | None = None
    together: Together | None = None
    retries: bool = False

    def exit_code(self) -> ExitCode:
        """The worst of the sets'; not complete where something waits that none of them has."""
        least = ExitCode.INCOMPLETE if self.unasked else ExitCode.COMPLETE
        worst = max((each.exit_code() for each in self.built), default=ExitCode.COMPLETE)
        return least if worst is ExitCode.COMPLETE else worst

    @property
    def unasked(self) -> str:
        """What waits though no prompt file asks for it any more; empty where nothing does."""
        return self.together.unasked_told if self.together is not None else ""

    def rest(self) -> str:
        """What is left of all sets and what it would cost; empty for one set, which says so."""
        waiting = self.not_started.values()
        left = sum(each.left for each in self.built) + sum(each.to_buy for each in waiting)
        if not left or len(self.built) + len(waiting) == 1:
            return ""
        price = self.price_usd or ZERO
        if self.together is not None and not self.retries:
            to_buy = self.together.to_buy  # sets share requests
            return f"all sets: {rest_told(len(to_buy), price * sum(each.n for each in to_buy))}"
        images = sum(each.images_to_buy for each in waiting)
        cost = sum((each.left_cost_usd for each in self.built), ZERO)
        return f"all sets: {rest_told(left, cost + price * images)}"

    def last_line(self) -> str:
        """For scripts; its form is part of the interface."""
        cost = sum((each.cost_usd for each in self.built), ZERO)
        standings = [*(each.standing for each in self.built), *self.not_started.values()]
        failed = sum(each.incomplete for each in standings)
        if self.together is not None and len(standings) > 1:
            failed = len(self.together.incomplete)  # sets share requests
        if self.together is not None:
            failed += len(self.together.unasked)
        return (
            f"submitted={sum(each.submitted for each in self.built)}"
            f" stored={sum(each.stored for each in self.built)}"
            f" failed={failed}"
            f" cost_usd={cost:.2f}"
        )
