"""The steps of `wan reconcile`, in the order in which they help each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.cli.built import CHECKED_LAST
from wan_pipeline.cli.console import LiveProgress
from wan_pipeline.cli.reconciled import Reconciled
from wan_pipeline.cli.session import Session
from wan_pipeline.cli.status import damaged_plan
from wan_pipeline.dataset.keeper import ImageKeeper
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.collect import TASK_NOT_KNOWN
from wan_pipeline.generation.leftovers import LeftoverKind, leftovers
from wan_pipeline.generation.reconcile import (
    Matches,
    adopt_matches,
    find_broken_files,
    listing_window,
    match_orphans,
    reopen_files,
)
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.inventory import (
    changed_requests,
    known_task_ids,
    newest_event,
    stored_images,
)
from wan_pipeline.ledger.lookup import find_purchases
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, request_ids
from wan_pipeline.told import counted
from wan_pipeline.wan.errors import AccountStopError, RunHistoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wan_pipeline.generation.leftovers import Leftover
    from wan_pipeline.generation.progress import BatchReport
    from wan_pipeline.generation.reconcile import BrokenFile, Match
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.settings import Settings

__all__ = ["Reconciler"]

RUN_ID = "wan reconcile"
UNDECIDED = (PurchaseState.UNKNOWN, PurchaseState.WRITTEN_OFF)


class Reconciler:
    """One reconciliation of a profile.

    Args:
        settings: whose ledger.
        console: where progress is shown.
    """

    def __init__(self, settings: Settings, *, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._wan = WanResource.from_settings(settings)
        self._notes: list[str] = []
        self._unrecorded = ""  # why Dagster could not keep that sets were shown anew

    def run(self, *, deep: bool) -> Reconciled:
        """Recover, adopt, compare with the disk, recover what that brought, and sum up.

        Args:
            deep: read every byte of every stored image.
        """
        with self._settings.open_ledger() as ledger:
            began = newest_event(ledger)
            reports = [self._recover()]
            matches = self._matches(ledger)
            adopted, broken, reopened = self._mend(ledger, matches, deep=deep)
            if adopted or reopened:
                reports.append(self._recover())
            self._publish(changed_requests(ledger, began))
            with snapshot(ledger) as view:
                left = leftovers(view)
            in_flight = len(ledger.unfinished())
        if not_known := reports[-1].tally.problems[TASK_NOT_KNOWN]:
            self._notes.append(_of_unknown_tasks(not_known))
        adopted_tasks = {each.task for each in adopted}
        orphans = [*(each.task for each in matches.adoptable), *matches.ambiguous]
        orphans = [*orphans, *matches.unexplained]
        return Reconciled(
            polled=reports[0].tally.taken_up + len(adopted),
            fetched=sum(each.tally.images for each in reports),
            in_flight=in_flight,
            not_known=not_known,
            adopted=adopted,
            orphans=[task for task in orphans if task not in adopted_tasks],
            broken=broken,
            leftovers=left,
            notes=[*self._notes, *_remedies(left)],
            stopped=_stopped(reports) or self._unrecorded,
        )

    def _recover(self) -> BatchReport:
        """Poll and fetch what dead runs left, of all sets."""
        with LiveProgress(self._console) as progress:
            return self._wan.recover(prompt_set="", run_id=RUN_ID, progress=progress)

    def _matches(self, ledger: Ledger) -> Matches:
        """Whose the provider's tasks are, where it lists them."""
        window = listing_window(_in_states(ledger, UNDECIDED))
        if window is None:
            return Matches()
        tasks = self._wan.list_tasks(*window)
        if tasks is None:
            self._notes.append(
                "this provider cannot list its tasks: what became of unknown requests is to be"
                " seen in its console only"
            )
            return Matches()
        # Read after the list: a task that a live run has just written down is no orphan.
        return match_orphans(
            _in_states(ledger, UNDECIDED),
            tasks,
            known_task_ids(ledger),
            awaited=_in_states(ledger, (PurchaseState.INTENT,)),
        )

    def _mend(
        self, ledger: Ledger, matches: Matches, *, deep: bool
    ) -> tuple[Sequence[Match], Sequence[BrokenFile], Sequence[BrokenFile]]:
        """Adopt the certain ones, and expect broken files anew: adopted, broken, expected."""
        keeper = ImageKeeper(ImageStore(self._settings.layout.root))
        broken = find_broken_files(
            stored_images(ledger), lambda record: keeper.problem_of(record, deep=deep)
        )
        with ledger.owner(RUN_ID) as owner:
            lifetime_s = self._settings.account().result_lifetime_s
            adopted = adopt_matches(ledger, matches, owner=owner, lifetime_s=lifetime_s)
            reopened = reopen_files(ledger, broken, owner=owner)
        return adopted, broken, reopened

    def _publish(self, changed: set[str]) -> None:
        """Show the sets anew in which something was fetched."""
        planned = sorted((self._settings.layout.root / "sets").glob(f"*/{REQUESTS_FILE}"))
        names: list[str] = []
        for path in planned if changed else ():
            try:
                if not changed.isdisjoint(request_ids(path)):
                    names.append(path.parent.name)
            except UnreadablePromptFileError as error:
                self._notes.append(damaged_plan(path.parent.name, path.parent, error))
        if not names:
            return
        try:
            self._show(names)
        except RunHistoryError as error:
            self._unrecorded = f"{', '.join(names)}: metadata or gallery not written: {error}"

    def _show(self, names: Sequence[str]) -> None:
        """Write metadata and galleries of sets anew.

        Raises:
            RunHistoryError: the Dagster instance cannot be used.
        """
        with Session(self._settings, console=self._console) as session:
            for name in names:
                outcome = session.publish(name)
                if outcome.history_error is not None:
                    raise outcome.history_error
                # The last check is red while a request is not complete: everything is written then.
                written = outcome.success or CHECKED_LAST in (outcome.failed_step or "")
                if not written and outcome.error:
                    self._notes.append(f"{name}: metadata or gallery not written: {outcome.error}")


def _in_states(ledger: Ledger, states: Sequence[PurchaseState]) -> list[Purchase]:
    """Newest attempts, and reproductions, that stand in one of the states."""
    only = RowFilter(states=[state.value for state in states])
    found, _ = find_purchases(ledger, only)
    newest = ledger.purchases(each.request_id for each in found)
    return [
        each for each in found if each.series is not None or newest[each.request_id].key == each.key
    ]


def _remedies(left: Sequence[Leftover]) -> list[str]:
    """What a person can do about it."""
    kinds = {each.kind for each in left}
    notes: list[str] = []
    if LeftoverKind.UNKNOWN in kinds:
        notes.append(
            "unknown: look for them in the provider's console, then `wan ledger adopt REQUEST"
            " TASK_ID`, `wan ledger release REQUEST` or `wan ledger write-off REQUEST`"
        )
    if LeftoverKind.WAITING in kinds:
        notes.append(
            "waiting: each run and `wan reconcile` try again until the URL dies; remove what is in"
            " the way before that"
        )
    if kinds & {LeftoverKind.EXPIRED, LeftoverKind.LOST}:
        notes.append(
            "expired and lost: gone; `wan run --retry lost` buys them again, for their price. Of a"
            " reproduction another label buys them"
        )
    if LeftoverKind.CHARGED in kinds:
        notes.append(
            "charged: the provider reported a cost for a task that failed; ask its support for the"
            " money, by the task's id. Where the reason may pass, `wan run --retry failed` buys"
            " the request again, for its price"
        )
    if LeftoverKind.PRICE in kinds:
        notes.append(
            "price: what was charged counts, and the price where that is no amount; set"
            " WAN_PRICE_USD to what the account pays, so that plans and budgets are right"
        )
    return notes


def _of_unknown_tasks(count: int) -> str:
    """They are asked for again by each run, until their deadline."""
    return (
        f"{counted(count, 'task')} in flight {'is' if count == 1 else 'are'} not known to the"
        " provider. Where a person adopted one, its id may be mistyped or of another account:"
        " `wan ledger show --state submitted` has it, and `wan ledger adopt REQUEST TASK_ID` with"
        " the right one puts it right"
    )


def _stopped(reports: Sequence[BatchReport]) -> str:
    """Why polling ended early, with what to do; empty when it did not."""
    for report in reports:
        if report.stop is not None:
            return str(AccountStopError(report.stop, report.stop_detail))
    return ""
