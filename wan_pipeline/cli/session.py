"""One invocation of `wan`: a Dagster instance, the definitions, and jobs one after another."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from wan_pipeline.cli.built import READING_STEPS, Built, Summary
from wan_pipeline.cli.console import LiveProgress
from wan_pipeline.cli.facts import SetFacts, StoredFacts
from wan_pipeline.cli.order import Hold, Order, Way
from wan_pipeline.cli.reproduced import Reproduced
from wan_pipeline.cli.screen import warn
from wan_pipeline.cli.together import read_together
from wan_pipeline.dataset.reproduction.verdict import REPORT_FILE, read_report
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.assets.drift import JOB as REPRODUCE
from wan_pipeline.defs.dead_runs import fail_dead_runs
from wan_pipeline.defs.launch import open_instance, run_job, told_by
from wan_pipeline.defs.progress import stop_of
from wan_pipeline.generation.planning import PLAN_FILE, Plan, Standing
from wan_pipeline.ledger.errors import LedgerError
from wan_pipeline.wan.errors import ConfigurationError, StopReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagster import Definitions
    from rich.console import Console

    from wan_pipeline.dataset.reproduction.naming import Series
    from wan_pipeline.defs.launch import JobOutcome
    from wan_pipeline.generation.progress import BatchReport, Tally
    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["Session"]

ZERO = Decimal(0)


class Session:
    """Runs jobs of the definitions in this process."""

    def __init__(self, settings: Settings, *, console: Console) -> None:
        self.layout: DataLayout = settings.layout
        self._settings = settings
        self._console = console
        if settings.has_ledger and not self.layout.root.exists():
            with settings.open_ledger():  # refuses before anything stands in the folder's place
                pass
        self._instance = open_instance(settings)
        self._facts = StoredFacts(settings, console=console)

    def __enter__(self) -> Self:
        fail_dead_runs(self._instance)
        return self

    def __exit__(self, *_: object) -> None:
        self._instance.dispose()

    def plan(self, prompt_set: str) -> Plan:
        """Validate and price one prompt set.

        Raises:
            ConfigurationError: its file cannot be used.
            RunHistoryError: the Dagster instance cannot be used.
        """
        outcome = run_job(
            build_defs(self._settings), self._instance, "plan_only", prompt_set=prompt_set
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.history_error is not None:
            raise outcome.history_error
        if not outcome.success:
            raise ConfigurationError(f"{prompt_set}: {outcome.error}")
        return Plan.load(self.layout.tables(prompt_set) / PLAN_FILE)

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

    def build_all(self, prompt_sets: Sequence[str], order: Order | None = None) -> Summary:
        """Build one set after another; an interrupt, or no history of runs, ends it for all.

        What stops one set may stop the others from buying, see `Hold`. They are gone through all
        the same, so that paid images are fetched while their URLs live, and the rest is counted.
        """
        order = (order or Order()).within(self._settings.budget_run_usd)
        built, spent = list[Built](), ZERO
        hold: Hold | None = None
        for prompt_set in prompt_sets:
            built.append(self.build(prompt_set, order, spent_usd=spent, hold=hold))
            if built[-1].outcome.interrupted or built[-1].outcome.unrecorded:
                break
            if order.budget_usd is not None:
                spent += self._committed_by(built[-1].outcome)
            hold = Hold.after(prompt_set, built[-1].own_stop, hold)
        left = prompt_sets[len(built) :]
        if left:
            warn(self._console, f"not started: {', '.join(left)}. Run again for these")
        last = built[-1].outcome if built else None
        rest = {each: self._facts_of(each, order, last).standing for each in left}
        return Summary(
            built=built,
            not_started=rest,
            price_usd=self._price_usd,
            together=read_together(self._settings, prompt_sets),
            retries=bool(order.retry),
        )

    def build(
        self,
        prompt_set: str,
        order: Order,
        *,
        spent_usd: Decimal = ZERO,
        hold: Hold | None = None,
    ) -> Built:
        """Materialize the whole asset graph of one prompt set, or what of it a hold leaves.

        Args:
            prompt_set: the set.
            order: what was asked for.
            spent_usd: what earlier sets of the same order have used of its budget.
            hold: what keeps this one from buying, if anything does.
        """
        began = time.monotonic()
        with LiveProgress(self._console) as progress:
            defs = build_defs(self._settings, resources={"progress": progress})
            if hold is None:
                outcome = self._bought(defs, prompt_set, order.config(spent_usd))
            else:
                outcome = self._not_bought(defs, prompt_set, hold.way)
        report, tally = progress.report, progress.tally
        outcome = _with_own_stop(outcome, report)
        if report is not None and report.stop is StopReason.BUDGET:
            outcome = replace(outcome, error=f"{outcome.error} {order.told(spent_usd)}".rstrip())
        facts = self._facts_of(prompt_set, order, outcome, tally)
        stop, left, left_cost = None, 0, ZERO
        if report is not None:
            stop, left, left_cost = report.stop, report.left, report.left_cost_usd
        if hold is not None:
            left = facts.standing.to_buy
            left_cost = (self._price_usd or ZERO) * facts.standing.images_to_buy
        return Built(
            prompt_set=prompt_set,
            layout=self.layout,
            outcome=outcome,
            standing=facts.standing,
            unfinished=facts.unfinished,
            rejections=facts.rejections,
            steps=facts.steps,
            flagged=facts.flagged,
            own_stop=stop,
            hold=hold,
            left=left,
            left_cost_usd=left_cost,
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
        outcome = _with_own_stop(outcome, batch)
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

    def _bought(self, defs: Definitions, prompt_set: str, config: Mapping[str, Any]) -> JobOutcome:
        """Build the set: plan it, buy what is missing, show it."""
        outcome = run_job(
            defs, self._instance, "build_dataset", prompt_set=prompt_set, images=config
        )
        failed_buying = outcome.failed_step == "images" and not outcome.interrupted
        if failed_buying and self._planned(prompt_set):
            # A stop must not hide what was paid for: show what is stored all the same.
            run_job(defs, self._instance, "publish", prompt_set=prompt_set)
        if outcome.failed_step in READING_STEPS and self._awaits_images(prompt_set):
            # Its file cannot be used any more; what it paid for is at the provider all the same.
            fetched = run_job(defs, self._instance, "recover", prompt_set=prompt_set)
            return fetched if fetched.interrupted else outcome
        return outcome

    def _not_bought(self, defs: Definitions, prompt_set: str, way: Way) -> JobOutcome:
        """Plan the set, and fetch what is paid for where that can work."""
        planned = run_job(defs, self._instance, "plan_only", prompt_set=prompt_set)
        if way is Way.COUNT or planned.interrupted:
            return planned
        # Also of a set whose file cannot be used any more, as above.
        fetched = run_job(defs, self._instance, "recover", prompt_set=prompt_set)
        return fetched if planned.success or fetched.interrupted else planned

    def _facts_of(
        self, prompt_set: str, order: Order, ended: JobOutcome | None, tally: Tally | None = None
    ) -> SetFacts:
        """What is stored about a set; what was counted, where a run that failed left that unread.

        Args:
            prompt_set: the set.
            order: what was asked for.
            ended: the last run of the command.
            tally: of the set's own batch, if it had one.
        """
        failed = ended is not None and not ended.success
        try:
            facts = self._facts.of(prompt_set, order)
        except (LedgerError, OSError, ConfigurationError) as error:
            if not failed:
                raise
            warn(self._console, f"{prompt_set}: what is stored cannot be read now: {error}")
            facts = SetFacts()
        # A folder that was moved away tells nothing, either.
        if failed and tally is not None and not facts.standing.requests:
            return SetFacts(standing=_counted(tally))
        return facts

    @property
    def _price_usd(self) -> Decimal | None:
        return self._settings.account().price_usd

    def _committed_by(self, outcome: JobOutcome) -> Decimal:
        with self._settings.open_ledger() as ledger:
            return ledger.committed(run_id=outcome.run_id)

    def _awaits_images(self, prompt_set: str) -> bool:
        """Whether something that it bought has not arrived."""
        if not self._settings.has_ledger:
            return False
        with self._settings.open_ledger() as ledger:
            return any(each.bought_by_set == prompt_set for each in ledger.unfinished())

    def _planned(self, prompt_set: str) -> bool:
        return (self.layout.tables(prompt_set) / PLAN_FILE).exists()


def _with_own_stop(outcome: JobOutcome, report: BatchReport | None) -> JobOutcome:
    """The batch's stop is told first where Dagster could not keep that it was raised."""
    stop = stop_of(report) if report is not None and outcome.unrecorded else None
    return outcome if stop is None else replace(outcome, error=f"{stop} Besides, {outcome.error}")


def _counted(tally: Tally) -> Standing:
    """How far a set is, by the counts of its batch."""
    stored = tally.already_stored + tally.done
    known = stored + tally.in_flight + tally.failed
    return Standing(
        stored=stored,
        in_flight=tally.in_flight,
        failed=tally.failed,
        to_buy=max(tally.requests - known, 0),
        images_stored=tally.images,
    )
