"""Reconciliation: which of the provider's tasks belongs to which purchase of unknown outcome.

A task that no purchase has is an orphan. It is adopted only where there is no doubt: exactly one
purchase could have made it, and no other orphan could be that purchase's. A wrong adoption would
give a request the images of another one, so every doubt is left to a person.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from wan_pipeline.generation.files import purchase_of
from wan_pipeline.ledger.decisions import Decision, adopt
from wan_pipeline.ledger.errors import DecisionError, TransitionError
from wan_pipeline.ledger.image_moves import reopen_image
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import ImageRecord, Purchase
    from wan_pipeline.wan.dialects.listing import ListedTask

__all__ = [
    "BrokenFile",
    "Match",
    "Matches",
    "adopt_matches",
    "find_broken_files",
    "listing_window",
    "match_orphans",
    "reopen_files",
]

WHO = "wan reconcile"
# The provider's clock is not ours, and a create may wait long for its answer.
EARLIEST = timedelta(seconds=60)
LATEST = timedelta(minutes=15)
REPEATED = ("prompt", "seed", "size", "n")  # what a provider may repeat of the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An orphan and the only purchase that can have made it."""

    purchase: Purchase
    task: ListedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What the orphans are, each in one of the three.

    Attributes:
        adoptable: without doubt a purchase's.
        ambiguous: some purchase may have made it, but not certainly.
        unexplained: none can have; another user of the account, perhaps.
    """

    adoptable: tuple[Match, ...] = ()
    ambiguous: tuple[ListedTask, ...] = ()
    unexplained: tuple[ListedTask, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFile:
    """A stored image whose file is not what was stored."""

    record: ImageRecord
    problem: str


def listing_window(unknowns: Iterable[Purchase]) -> tuple[datetime, datetime] | None:
    """The time in which the provider can have made their tasks; None when there are none."""
    intents = [purchase.created_at for purchase in unknowns]
    return (min(intents) - EARLIEST, max(intents) + LATEST) if intents else None


def match_orphans(
    unknowns: Iterable[Purchase],
    tasks: Iterable[ListedTask],
    known_task_ids: Collection[str],
    *,
    awaited: Iterable[Purchase] = (),
) -> Matches:
    """Say of every listed task that no purchase has whose it is, if that is certain.

    Args:
        unknowns: purchases whose task nobody knows.
        tasks: as the provider lists them, in any order, repeats allowed.
        known_task_ids: tasks that purchases have.
        awaited: purchases whose create a live run has just sent; their tasks are not adopted.
    """
    adopters = {purchase.key: purchase for purchase in unknowns}
    makers = {**{purchase.key: purchase for purchase in awaited}, **adopters}
    requests = {key: json.loads(purchase.request) for key, purchase in makers.items()}
    orphans = sorted(
        {task for task in tasks if task.task_id not in known_task_ids},
        key=lambda task: (task.created_at, task.task_id, repr(task)),
    )
    told = Counter(task.task_id for task in orphans)  # more than once: of different things
    fitting = {
        task: [key for key in makers if _made(makers[key], requests[key], task)] for task in orphans
    }
    suitors = Counter(key for keys in fitting.values() for key in keys)
    adoptable: list[Match] = []
    ambiguous: list[ListedTask] = []
    for task, keys in fitting.items():
        certain = len(keys) == 1 and suitors[keys[0]] == 1 and told[task.task_id] == 1
        if certain and keys[0] in adopters:
            adoptable.append(Match(purchase=adopters[keys[0]], task=task))
        elif keys:
            ambiguous.append(task)
    return Matches(
        adoptable=tuple(adoptable),
        ambiguous=tuple(ambiguous),
        unexplained=tuple(task for task, keys in fitting.items() if not keys),
    )


def adopt_matches(
    ledger: Ledger, matches: Matches, *, owner: Owner, lifetime_s: float
) -> list[Match]:
    """Give the certain ones their tasks; the next recovery fetches them.

    Returns:
        Those that were adopted; one that somebody decided meanwhile is left out.
    """
    adopted: list[Match] = []
    for match in matches.adoptable:
        decision = Decision(
            request_id=match.purchase.request_id,
            series=match.purchase.series,
            who=WHO,
            why=_why(match.task),
        )
        try:
            ledger.apply_now(
                partial(
                    adopt,
                    profile=ledger.profile,
                    decision=decision,
                    task_id=match.task.task_id,
                    lifetime_s=lifetime_s,
                    owner=owner,
                    now=ledger.now(),
                )
            )
        except DecisionError:
            continue
        adopted.append(match)
    return adopted


def find_broken_files(
    images: Iterable[ImageRecord], problem_of: Callable[[ImageRecord], str | None]
) -> list[BrokenFile]:
    """Stored images whose files are gone or damaged, as `problem_of` sees it."""
    found = [(record, problem_of(record)) for record in images if record.state is ImageState.STORED]
    return [
        BrokenFile(record=record, problem=problem)
        for record, problem in found
        if problem is not None
    ]


def reopen_files(ledger: Ledger, broken: Iterable[BrokenFile], *, owner: Owner) -> list[BrokenFile]:
    """Expect them once more: the next recovery fetches them, or finds that they are lost.

    Returns:
        Those that are expected now; one that a run is fetching already is left out.
    """
    reopened: list[BrokenFile] = []
    for each in broken:
        record = each.record
        try:
            ledger.apply_now(
                partial(
                    reopen_image,
                    key=purchase_of(record),
                    image_index=record.image_index,
                    owner=owner,
                    now=ledger.now(),
                    problem=each.problem,
                )
            )
        except TransitionError:
            continue
        reopened.append(each)
    return reopened


def _made(purchase: Purchase, request: dict[str, Any], task: ListedTask) -> bool:
    """Whether a purchase's create can have made the task, by all that the provider tells."""
    if not purchase.created_at - EARLIEST <= task.created_at <= purchase.created_at + LATEST:
        return False
    if task.model != request["model"]:
        return False
    told = ((name, getattr(task, name)) for name in REPEATED)
    return all(value is None or value == request[name] for name, value in told)


def _why(task: ListedTask) -> str:
    named = [name for name in REPEATED if getattr(task, name) is not None]
    same = ", ".join(["model", *named])
    return (
        f"the provider lists a task of {task.created_at.isoformat()} with the same {same} that no"
        " purchase has, and no other request fits"
    )
