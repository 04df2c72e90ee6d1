"""One invocation of `wan`: a Dagster instance, the definitions, and jobs one after another."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from wan_pipeline.cli.built import Built
from wan_pipeline.cli.console import LiveProgress
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.reproduced import Reproduced
from wan_pipeline.cli.retry_notes import next_steps, with_retry_notes
from wan_pipeline.cli.screen import warn
from wan_pipeline.cli.status import damaged_plan
from wan_pipeline.dataset.quality.reading import flag_counts
from wan_pipeline.dataset.reproduction.verdict import REPORT_FILE, read_report
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.assets.drift import JOB as REPRODUCE
from wan_pipeline.defs.dead_runs import fail_dead_runs
from wan_pipeline.defs.launch import open_instance, run_job, told_by
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
from wan_pipeline.wan.errors import ConfigurationError, StopReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from wan_pipeline.dataset.reproduction.naming import Series
    from wan_pipeline.defs.launch import JobOutcome
    from wan_pipeline.ledger.retries import Retry
    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["Order", "Session"]

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked of one `wan run` beyond the settings.

    Attributes:
        retry: what is bought again.
        budget_usd: the most that all its sets together may pay and reserve; None for no such cap.
    """

    retry: Sequence[Retry] = ()
    budget_usd: Decimal | None = None

    def config(self, spent_usd: Decimal) -> dict[str, Any]:
        """The configuration of the asset `images` for the next set, after so much was spent."""
        config: dict[str, Any] = {}
        if self.retry:
            config["retry"] = [each.value for each in self.retry]
        if self.budget_usd is not None:
            config["budget_run_usd"] = f"{max(self.budget_usd - spent_usd, ZERO):f}"
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is stored about a set after a run."""

    standing: Standing = field(default_factory=Standing)
    unfinished: Sequence[UnfinishedRequest] = ()
    steps: Sequence[str] = ()
    rejections: int = 0
    flagged: Mapping[str, int] = field(default_factory=dict[str, int])


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

    def publish(self, prompt_set: str) -> JobOutcome:
        """Write metadata and gallery anew from what is stored."""
        return run_job(build_defs(self._settings), self._instance, "publish", prompt_set=prompt_set)

    def make_release(self, config: Mapping[str, Any]) -> tuple[JobOutcome, dict[str, Any]]:
        """Make a release; how the run ended, and what it told about the release."""
        defs = build_defs(self._settings)
        outcome = run_job(defs, self._instance, "make_release", ops={"release": config})
        return outcome, told_by(self._instance, outcome, "release")

    def make_exports(self, config: Mapping[str, Any]) -> tuple[JobOutcome, dict[str, Any]]:
        """Export a release; how the run ended, and what it told about the exports."""
        defs = build_defs(self._settings)
        outcome = run_job(defs, self._instance, "make_exports", ops={"exports": config})
        return outcome, told_by(self._instance, outcome, "exports")

    def build_all(self, prompt_sets: Sequence[str], order: Order | None = None) -> list[Built]:
        """Build one set after another; a stop or an interrupt ends it for all of them."""
        order, built, spent = order or Order(), list[Built](), ZERO
        for prompt_set in prompt_sets:
            built.append(self.build(prompt_set, order, spent_usd=spent))
            if order.budget_usd is not None:
                spent += self._committed_by(built[-1].outcome)
            if self._ends_all(built[-1], order, spent):
                break
        if left := prompt_sets[len(built) :]:
            warn(self._console, f"not started: {', '.join(left)}. Run again for these")
        return built

    def build(self, prompt_set: str, order: Order, *, spent_usd: Decimal = ZERO) -> Built:
        """Materialize the whole asset graph of one prompt set.

        Args:
            prompt_set: the set.
            order: what was asked for.
            spent_usd: what earlier sets of the same order have used of its budget.
        """
        began = time.monotonic()
        with LiveProgress(self._console) as progress:
            defs = build_defs(self._settings, resources={"progress": progress})
            outcome = run_job(
                defs,
                self._instance,
                "build_dataset",
                prompt_set=prompt_set,
                images=order.config(spent_usd),
            )
            failed_buying = outcome.failed_step == "images" and not outcome.interrupted
            if failed_buying and self._planned(prompt_set):
                # A stop must not hide what was paid for: show what is stored all the same.
                run_job(defs, self._instance, "publish", prompt_set=prompt_set)
        facts = self._stored_facts(prompt_set, order)
        report, tally = progress.report, progress.tally
        return Built(
            prompt_set=prompt_set,
            layout=self.layout,
            outcome=outcome,
            standing=facts.standing,
            unfinished=facts.unfinished,
            rejections=facts.rejections,
            steps=facts.steps,
            flagged=facts.flagged,
            stop=report.stop if report else None,
            left=report.left if report else 0,
            left_cost_usd=report.left_cost_usd if report else ZERO,
            submitted=tally.created if tally else 0,
            stored=tally.images if tally else 0,
            taken_up=tally.taken_up if tally else 0,
            pauses=tuple(tally.pauses) if tally else (),
            repairs=tuple(tally.repairs) if tally else (),
            cost_usd=tally.cost_usd if tally else ZERO,
            duration_s=time.monotonic() - began,
        )

    def reproduce(
        self,
        series: Series,
        *,
        sample: str,
        budget_usd: Decimal | None = None,
        count_rewritten: bool = False,
    ) -> Reproduced:
        """Buy a sample of a release once more and compare.

        Args:
            series: which reproduction of which release.
            sample: how many of its requests, or `all`.
            budget_usd: the most that this run may pay and reserve.
            count_rewritten: whether rewritten prompts count for the verdict.
        """
        config: dict[str, Any] = {
            "release": series.reference,
            "sample": sample,
            "label": series.label,
            "count_rewritten": count_rewritten,
        }
        if budget_usd is not None:
            config["budget_run_usd"] = f"{budget_usd:f}"
        with LiveProgress(self._console) as progress:
            defs = build_defs(self._settings, resources={"progress": progress})
            outcome = run_job(defs, self._instance, REPRODUCE, ops={"drift": config})
        batch, tally = progress.report, progress.tally
        folder = series.folder(self.layout.reproductions)
        return Reproduced(
            outcome=outcome,
            report=read_report(folder / REPORT_FILE, run_id=outcome.run_id),
            folder=folder,
            stop=batch.stop if batch else None,
            left=batch.left if batch else 0,
            left_cost_usd=batch.left_cost_usd if batch else ZERO,
            submitted=tally.created if tally else 0,
            stored=tally.images if tally else 0,
            repairs=tuple(tally.repairs) if tally else (),
            cost_usd=tally.cost_usd if tally else ZERO,
        )

    def _ends_all(self, built: Built, order: Order, spent_usd: Decimal) -> bool:
        """Whether the other sets would meet what ended this one."""
        if built.stop is not StopReason.BUDGET:
            return built.exit_code() in (ExitCode.STOPPED, ExitCode.INTERRUPTED)
        price, caps = self._settings.account().price_usd or ZERO, self._settings.caps
        today = datetime.now(UTC).date().isoformat()
        with self._settings.open_ledger() as ledger:
            shared = (
                (order.budget_usd, spent_usd),
                (caps.total, ledger.committed()),
                (caps.day, ledger.committed(day=today)),
            )
        # What one set or one run may spend leaves the others theirs.
        return any(cap is not None and used + price > cap for cap, used in shared)

    def _committed_by(self, outcome: JobOutcome) -> Decimal:
        with self._settings.open_ledger() as ledger:
            return ledger.committed(run_id=outcome.run_id)

    def _planned(self, prompt_set: str) -> bool:
        return (self.layout.tables(prompt_set) / PLAN_FILE).exists()

    def _plan(self, prompt_set: str) -> Plan:
        return Plan.load(self.layout.tables(prompt_set) / PLAN_FILE)

    def _stored_facts(self, prompt_set: str, order: Order) -> _Facts:
        """How far the set is, what is not complete and why, and how many rules its rows break."""
        requests = self.layout.tables(prompt_set) / REQUESTS_FILE
        try:
            rejections = self._plan(prompt_set).rejections if self._planned(prompt_set) else 0
            if not requests.exists():
                return _Facts(rejections=rejections)
            with self._settings.open_ledger() as ledger:
                standing = standing_of(requests, ledger)
                unfinished = unfinished_of(requests, ledger)
                purchases = ledger.purchases(each.request_id for each in unfinished)
        except UnreadablePromptFileError as error:
            # A run that gets as far as planning writes both anew; this one did not.
            warn(self._console, damaged_plan(prompt_set, requests.parent, error))
            return _Facts()
        return _Facts(
            standing=standing,
            unfinished=with_retry_notes(
                unfinished,
                purchases,
                retry=order.retry,
                max_attempts=self._settings.max_attempts,
            ),
            steps=next_steps(
                unfinished,
                purchases,
                prompt_set=prompt_set,
                price_usd=self._settings.account().price_usd,
                max_attempts=self._settings.max_attempts,
            ),
            rejections=rejections,
            flagged=self._flagged(prompt_set),
        )

    def _flagged(self, prompt_set: str) -> Mapping[str, int]:
        """Images by flag; none where the run did not come so far as to write them anew."""
        try:
            return flag_counts(self.layout.quality(prompt_set))
        except (OSError, pa.ArrowException):
            return {}
