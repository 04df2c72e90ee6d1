"""Holds a ledger, its files and the provider's book against each other, after everything ended."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.crash.person import attempts
from wan_pipeline_tests.generation.batch_fixture import PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.records import ImageRecord, Purchase, PurchaseKey

__all__ = ["Proof", "examine"]

Task = dict[str, Any]
RESCUE_LOCK = ".rescue.lock"  # stays: were it removed, two processes could each hold one
OPEN = (PurchaseState.UNKNOWN, PurchaseState.INTENT, PurchaseState.SUBMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found.

    Attributes:
        double: tasks that the provider has and no attempt of the ledger explains.
        lost: paid images that are neither on disk nor reported.
        bill_usd: what the provider asks for.
        ledger_usd: what the ledger says was paid.
        states: purchases in each state, the newest attempt of each request.
        violations: every broken promise, in words.
    """

    double: int
    lost: int
    bill_usd: Decimal
    ledger_usd: Decimal
    states: Counter[PurchaseState]
    violations: tuple[str, ...]


def examine(
    data: Path,
    book: Mapping[str, Sequence[Task]],
    bill: Mapping[str, Any],
    everything: Sequence[Task],
) -> Proof:
    """Find every broken promise.

    Args:
        data: the data folder, with nobody at work in it.
        book: the provider's tasks by request id.
        bill: the provider's bill.
        everything: all of its tasks, those of other trials too.
    """
    with Ledger(data / "ledger.sqlite", PROFILE) as ledger:
        purchases = attempts(ledger)
        images = {each.key: ledger.images_of(each.key) for each in purchases}
        committed = ledger.committed()
        spending, events = _rows(ledger, schema.spending), _rows(ledger, schema.events)
    tasks = [task for found in book.values() for task in found]
    missing = list(_missing_images(data, tasks, purchases, images))
    strange = list(_strange_tasks(book, purchases))
    billed = _sum(Decimal(task["cost"]) for task in tasks)
    paid = _sum(each.cost_usd or Decimal(0) for each in purchases)
    violations = [
        *strange,
        *missing,
        *_money(billed, paid, committed, purchases, spending),
        *_attempts(purchases),
        *_history(purchases, events),
        *_leftovers(data),
    ]
    if Decimal(bill["usd"]) != _sum(Decimal(task["cost"]) for task in everything):
        violations.append(f"the provider bills {bill['usd']} USD, not the sum of its tasks")
    newest = {each.request_id: each.state for each in purchases}
    return Proof(
        double=len(strange),
        lost=len(missing),
        bill_usd=billed,
        ledger_usd=paid,
        states=Counter(newest.values()),
        violations=tuple(violations),
    )


def _strange_tasks(
    book: Mapping[str, Sequence[Task]], purchases: Sequence[Purchase]
) -> Iterator[str]:
    """Each task is the one of one attempt at its own request, and the other way round."""
    held = Counter((each.request_id, each.task_id) for each in purchases if each.task_id)
    made = Counter((request_id, task["id"]) for request_id, found in book.items() for task in found)
    for request_id, task_id in made - held:
        yield f"task {task_id} of request {request_id[:8]} is bought and not in the ledger"
    for request_id, task_id in held - made:
        yield f"the ledger gives request {request_id[:8]} a task {task_id} that is not its own"


def _missing_images(
    data: Path,
    tasks: Sequence[Task],
    purchases: Sequence[Purchase],
    images: Mapping[PurchaseKey, Sequence[ImageRecord]],
) -> Iterator[str]:
    """Every image made is on disk, byte for byte, or reported as lost."""
    holder = {each.task_id: each for each in purchases if each.task_id}
    for task in tasks:
        purchase = holder.get(task["id"])
        if purchase is None:
            continue  # told as a strange task
        there = sum(_is_kept(data, record) for record in images[purchase.key])
        if there < task["images"]:
            yield f"request {purchase.request_id[:8]}: {there} of {task['images']} images are there"


def _is_kept(data: Path, record: ImageRecord) -> bool:
    if record.state is ImageState.LOST:
        return True
    if record.state is not ImageState.STORED or record.path is None:
        return False
    file = data / record.path
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == record.image_id


def _money(
    billed: Decimal,
    paid: Decimal,
    committed: Decimal,
    purchases: Sequence[Purchase],
    spending: Iterable[Any],
) -> Iterator[str]:
    if billed != paid:
        yield f"the bill is {billed} USD, the ledger says {paid}"
    reserved = _sum(each.reserved_usd for each in purchases)
    if reserved:
        yield f"{reserved} USD are reserved although nothing is open"
    if committed != paid + reserved:
        yield f"the spending table sums up to {committed} USD, the purchases to {paid + reserved}"
    sums: defaultdict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for each in purchases:
        bucket = (each.created_at.date().isoformat(), each.bought_by_set, each.run_id)
        sums[bucket] += (each.cost_usd or Decimal(0)) + each.reserved_usd
    for row in spending:
        sums[(row.day, row.prompt_set, row.run_id)] -= row.committed_usd
    if wrong := {bucket: left for bucket, left in sums.items() if left}:
        yield f"the spending table differs from the purchases: {wrong}"


def _attempts(purchases: Sequence[Purchase]) -> Iterator[str]:
    """Nothing is open; and a second attempt follows only one that a person released.

    Reproductions have none: a series buys a request once.
    """
    standing: dict[tuple[str, str | None], Purchase] = {}
    for each in purchases:
        place = (each.request_id, each.series)
        before = standing.get(place)
        if before is not None and each.series is not None:
            yield f"request {each.request_id[:8]} was bought twice for {each.series}"
        if before is not None and before.state is not PurchaseState.RELEASED:
            yield f"request {each.request_id[:8]} was bought again after it was {before.state}"
        if each.state in OPEN:
            yield f"request {each.request_id[:8]} is still {each.state}"
        standing[place] = each


def _history(purchases: Sequence[Purchase], events: Iterable[Any]) -> Iterator[str]:
    """The newest event of each purchase says what its row says."""
    last = {
        (event.request_id, event.attempt): event.to_state
        for event in events
        if event.image_index is None
    }
    for each in purchases:
        if (told := last.get((each.request_id, each.attempt))) != each.state.value:
            yield f"request {each.request_id[:8]} is {each.state}, its history ends with {told}"


def _leftovers(data: Path) -> Iterator[str]:
    for path in data.rglob("*"):
        if path.name.startswith((TEMP_PREFIX, ".")) and path.name != RESCUE_LOCK:
            yield f"left behind: {path.relative_to(data)}"
        if path.parent.name == "rescue":
            yield f"left behind, although nothing is at work: {path.relative_to(data)}"
        is_image = path.parent.parent.name == "images" and path.is_file()
        if is_image and hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            yield f"{path.name} is not what its name says"


def _rows(ledger: Ledger, table: sa.Table) -> list[Any]:
    with ledger._read() as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)))


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
