"""What a data folder must hold after a killed run and a whole one: two readers, one fact.

The ledger claims, the emulator bills, the files are there or not, and the command says what it did.
Every disagreement is a sentence in `Audit.violations`; nothing is asserted here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pyarrow.parquet as pq
from dagster import DagsterInstance

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.emulator.endpoint import Endpoint
from wan_pipeline.emulator.launcher import ensure_emulator
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wan_pipeline.emulator.plan import EmulatorPlan
    from wan_pipeline.ledger.records import ImageRecord, Purchase
    from wan_pipeline.settings import DataLayout

__all__ = ["Audit", "Ended", "audit", "provider"]

PATIENCE_S = 60.0
LAST_LINE = re.compile(
    r"submitted=(?P<submitted>\d+) stored=(?P<stored>\d+) failed=(?P<failed>\d+)"
    r" cost_usd=(?P<cost_usd>\d+\.\d\d)"
)
# Folders of other programs, which tidy up after themselves.
NOT_OURS = frozenset({"dagster", "emulator"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command ended.

    Attributes:
        exit_code: its exit code.
        output: what it printed on stdout.
        errors: what it printed on stderr.
        when_incomplete: the exit code by which this command says that something is missing.
    """

    exit_code: int
    output: str
    errors: str = ""
    when_incomplete: int = ExitCode.INCOMPLETE

    def counts(self) -> dict[str, str]:
        """The fields of its last line; empty when it has none."""
        lines = self.output.strip().splitlines()
        found = LAST_LINE.search(lines[-1]) if lines else None
        return found.groupdict() if found else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found.

    Attributes:
        requests: distinct requests of the set.
        submitted: creates that the provider accepted.
        stored: requests with every image on disk.
        unknown: requests whose create was never answered.
        double: requests that the provider accepted more than once.
        lost: requests that are neither stored nor unknown.
        bill_usd: what the provider asks for.
        ledger_usd: what the ledger says was paid.
        violations: every broken promise, in words.
    """

    requests: int
    submitted: int
    stored: int
    unknown: int
    double: int
    lost: int
    bill_usd: Decimal
    ledger_usd: Decimal
    violations: tuple[str, ...]


@contextmanager
def provider(state_dir: Path, plan: EmulatorPlan) -> Iterator[httpx.Client]:
    """The folder's emulator, started again if need be, and stopped by its own pid at the end."""
    base_url = ensure_emulator(state_dir, plan)
    try:
        with httpx.Client(base_url=base_url, timeout=30, trust_env=False) as http:
            yield http
    finally:
        endpoint = Endpoint.load(state_dir)
        if endpoint is not None and psutil.pid_exists(endpoint.pid):
            process = psutil.Process(endpoint.pid)
            process.terminate()
            psutil.wait_procs([process], timeout=PATIENCE_S)


def audit(layout: DataLayout, prompt_set: str, *, plan: EmulatorPlan, ended: Ended) -> Audit:
    """Hold the ledger, the bill, the files and the command's words against each other.

    Args:
        layout: the data folder after the last run.
        prompt_set: what was built.
        plan: how its emulator behaves.
        ended: the last run.
    """
    with provider(layout.emulator_dir, plan) as http:
        bill = _final_bill(http)
        everything: list[dict[str, Any]] = http.get("/_emulator/tasks").raise_for_status().json()
    table = layout.tables(prompt_set) / REQUESTS_FILE
    planned = list(iter_requests(table)) if table.exists() else []
    prompts = {row.request.prompt for row in planned}
    wanted = {row.request_id for row in planned}
    book = [task for task in everything if task["content"]["prompt"] in prompts]
    with Ledger(layout.ledger, layout.profile) as ledger:
        purchases, images = ledger.purchases(wanted), ledger.images(wanted)
    states = Counter(purchase.state for purchase in purchases.values())
    stored, unknown = states[PurchaseState.STORED], states[PurchaseState.UNKNOWN]
    contents = Counter(json.dumps(task["content"], sort_keys=True) for task in book)
    found = Audit(
        requests=len(wanted),
        submitted=len(book),
        stored=stored,
        unknown=unknown,
        double=sum(times - 1 for times in contents.values()),
        lost=len(wanted) - stored - unknown,
        bill_usd=_sum(Decimal(task["cost"]) for task in book),
        ledger_usd=_sum(purchase.cost_usd or Decimal(0) for purchase in purchases.values()),
        violations=(),
    )
    broken = [
        *([] if planned else [f"nothing was planned: {_tail(ended)}"]),
        *_bill(bill, everything),
        *_money(found, purchases),
        *_task_ids(book, purchases),
        *_words(found, ended),
        *_files(layout, images),
        *_metadata(layout.metadata(prompt_set), images),
        *_leftovers(layout.root),
        *_runs(layout.dagster_home),
    ]
    return dataclasses.replace(found, violations=tuple(broken))


def _final_bill(http: httpx.Client) -> dict[str, Any]:
    """The bill once no task is under way any more."""

    def final() -> dict[str, Any] | None:
        bill: dict[str, Any] = http.get("/_emulator/bill").raise_for_status().json()
        return None if bill["tasks"]["queued"] + bill["tasks"]["running"] else bill

    return wait_for(final, what="the end of the tasks at the provider", within_s=PATIENCE_S)


def _bill(bill: Mapping[str, Any], book: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    cost = _sum(Decimal(task["cost"]) for task in book)
    if Decimal(bill["usd"]) != cost:
        yield f"the provider bills {bill['usd']} USD for tasks that cost {cost}"


def _money(found: Audit, purchases: Mapping[str, Purchase]) -> Iterator[str]:
    if found.double:
        yield f"{found.double} requests were bought twice"
    if found.lost:
        states = Counter(purchase.state.value for purchase in purchases.values())
        yield f"{found.lost} requests are neither stored nor unknown: {dict(states)}"
    in_doubt = [each for each in purchases.values() if each.state is PurchaseState.UNKNOWN]
    doubtful = _sum(purchase.price_usd * purchase.n for purchase in in_doubt)
    reserved = _sum(purchase.reserved_usd for purchase in purchases.values())
    if reserved != doubtful:
        yield f"{reserved} USD are reserved, the price of what is unknown is {doubtful}"
    if not found.ledger_usd <= found.bill_usd <= found.ledger_usd + doubtful:
        yield (
            f"the bill of {found.bill_usd} USD is not between the {found.ledger_usd} paid and"
            f" {doubtful} more for what is unknown"
        )


def _task_ids(book: Sequence[dict[str, Any]], purchases: Mapping[str, Purchase]) -> Iterator[str]:
    """A task that the ledger does not know must be one of an unknown create."""
    known = {purchase.task_id for purchase in purchases.values()} - {None}
    unknown = sum(purchase.state is PurchaseState.UNKNOWN for purchase in purchases.values())
    strange = {task["id"] for task in book} - known
    if len(strange) > unknown:
        yield f"{len(strange)} tasks are not in the ledger, only {unknown} creates are unknown"
    if missing := known - {task["id"] for task in book}:
        yield f"the ledger knows tasks that the provider does not: {sorted(missing)}"


def _words(found: Audit, ended: Ended) -> Iterator[str]:
    """The exit code and the last line say what is true."""
    incomplete = found.requests - found.stored
    expected = ended.when_incomplete if incomplete else ExitCode.COMPLETE
    if ended.exit_code != expected:
        yield f"exit code {ended.exit_code} with {incomplete} requests not complete"
    counts = ended.counts()
    if counts.get("failed") != str(incomplete):
        yield f"the last line does not say failed={incomplete}: {_tail(ended)}"
    if incomplete and f"not complete: {incomplete}" not in ended.output:
        yield "the table of what is not complete is missing"


def _tail(ended: Ended) -> str:
    return f"the command printed\n{ended.output[-2000:]}\n{ended.errors[-2000:]}"


def _files(layout: DataLayout, images: Mapping[str, Sequence[ImageRecord]]) -> Iterator[str]:
    on_disk = {path for path in (layout.root / "images").rglob("*") if path.is_file()}
    for path in on_disk:
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            yield f"{path.name} is not what its name says"
    recorded = {
        layout.root / record.path
        for records in images.values()
        for record in records
        if record.path is not None
    }
    if missing := recorded - on_disk:
        yield f"{len(missing)} stored images are not on disk"


def _metadata(path: Path, images: Mapping[str, Sequence[ImageRecord]]) -> Iterator[str]:
    if not path.exists():
        yield "there is no metadata table"
        return
    table = pq.read_table(path, columns=["request_id", "image_index"]).to_pylist()
    rows = Counter((row["request_id"], row["image_index"]) for row in table)
    stored = Counter(
        (record.request_id, record.image_index)
        for records in images.values()
        for record in records
        if record.state is ImageState.STORED
    )
    if rows != stored:
        yield f"the metadata has {rows.total()} rows for {stored.total()} stored images"


def _leftovers(root: Path) -> Iterator[str]:
    """Unfinished files have names that begin with a dot, whoever wrote them; locks stay."""
    for folder in (each for each in root.iterdir() if each.is_dir() and each.name not in NOT_OURS):
        for path in (each for each in folder.rglob(".*") if each.suffix != ".lock"):
            yield f"left behind: {path.relative_to(root)}"


def _runs(dagster_home: Path) -> Iterator[str]:
    """No run is shown as being at work, since nobody is."""
    with DagsterInstance.from_config(str(dagster_home)) as instance:
        for run in instance.get_runs():
            if not run.is_finished:
                yield f"Dagster run {run.run_id} is still {run.status.value}"


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
