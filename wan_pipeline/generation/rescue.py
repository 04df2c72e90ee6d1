"""A paid task's id when the ledger cannot be written, such as on a full disk.

A small file beside the ledger keeps it until the ledger can. Its room on the disk is taken before
anything is bought, so that it can be written when nothing else can.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Self, cast

from filelock import FileLock

from wan_pipeline.ledger.decisions import Decision, adopt
from wan_pipeline.ledger.errors import DecisionError, LedgerUnavailableError
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from pathlib import Path

    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.ledger.records import Purchase

__all__ = ["RescueFile", "RescuedTask", "adopt_rescued"]

ROOM = 256 * 1024  # bytes; about a thousand tasks
PATIENCE_S = 2.0  # for a lock that is held for milliseconds
WHO = "wan_pipeline"
WHY = "its task id was kept in the rescue file, since the ledger could not be written"


@dataclass(frozen=True, slots=True, kw_only=True)
class RescuedTask:
    """A task that is paid and that the ledger does not know yet.

    Attributes:
        request_id: what it makes.
        task_id: the provider's name of it.
        series: of which reproductions it is one; None for the dataset's own.
    """

    request_id: str
    task_id: str
    series: str | None = None


class RescueFile:
    """Lines of JSON, overwritten in place in room that was taken beforehand.

    One file per owner. Others take out of it what the ledger knows by now, and remove it when it
    holds nothing: changes of any file are made one after another, under a lock beside the folder.

    Args:
        folder: of the rescue files, on the disk of the data folder.
        owner_id: whose file is written.
    """

    def __init__(self, folder: Path, owner_id: str) -> None:
        self._folder = folder
        self._own = folder / f"{owner_id}.jsonl"
        self._lock = folder.with_name(f".{folder.name}.lock")

    def __enter__(self) -> Self:
        """Take the room, before anything is bought.

        Raises:
            LedgerUnavailableError: the disk has none.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._alone():  # which makes the lock's file: on a full disk it could not be made
                pass
            with self._own.open("wb") as file:
                file.write(b"\n" * ROOM)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._own.unlink(missing_ok=True)
            raise LedgerUnavailableError(
                f"the rescue file {self._own}, which keeps the ids of paid tasks when the ledger"
                f" cannot, could not be made: {error.strerror or error}. Free space on the data"
                " folder's disk or make it writable, then run again"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Give the room back, unless something in it is still needed."""
        with self._alone() as alone:
            if alone and not _read(self._own):
                self._own.unlink(missing_ok=True)

    def note(self, task: RescuedTask) -> None:
        """Keep a task; on disk when this returns. Raises OSError when that fails."""
        with self._alone():  # or not: a paid task is not dropped because somebody stands still
            _write(self._own, [*_read(self._own), task])

    def tidy(self, living: Callable[[], Collection[str]]) -> None:
        """Remove the files of dead owners that hold nothing; a killed run leaves its own behind.

        Args:
            living: asks for the ids of the owners that still work. It is asked after the files were
                listed: an owner is in the ledger before its file is there.
        """
        others = [path for path in self._folder.glob("*.jsonl") if path != self._own]
        alive = living() if others else ()
        with self._alone() as alone:
            for path in others:
                if alone and path.stem not in alive and not _read(path):
                    path.unlink(missing_ok=True)

    def tasks(self) -> list[RescuedTask]:
        """Those of all runs that the ledger may not know."""
        return [task for path in sorted(self._folder.glob("*.jsonl")) for task in _read(path)]

    def forget(self, task: RescuedTask) -> None:
        """The ledger knows it now. While another process stands still it stays: nothing is lost."""
        with self._alone() as alone:
            for path in sorted(self._folder.glob("*.jsonl")) if alone else ():
                tasks = _read(path)
                if task in tasks:
                    tasks.remove(task)
                    if tasks or path == self._own:
                        _write(path, tasks)
                    else:
                        path.unlink()

    @contextmanager
    def _alone(self) -> Generator[bool]:
        """Whether no other process changes a file meanwhile; False when one stands still."""
        lock = FileLock(self._lock, timeout=PATIENCE_S)
        try:
            lock.acquire()
        except OSError:  # Timeout is one
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


async def adopt_rescued(ports: Ports, terms: Terms) -> list[Purchase]:
    """Give the ledger what an earlier run could only keep in its rescue file.

    Returns:
        The purchases, each of them paid, unfinished, and this run's now.
    """
    ports.rescue.tidy(ports.ledger.living_owners)
    tasks = ports.rescue.tasks()
    if not tasks:
        return []
    # An intent of a dead run becomes unknown, which is what can be adopted.
    taken = [
        purchase
        for series in dict.fromkeys(task.series for task in tasks)
        for purchase in await ports.ledger.take_over(
            ports.owner,
            [task.request_id for task in tasks if task.series == series],
            series=series,
        )
    ]
    # The others were written down after all; they are this run's now, so it must go on with them.
    adopted = [purchase for purchase in taken if purchase.state is not PurchaseState.UNKNOWN]
    for task in tasks:
        decision = Decision(request_id=task.request_id, series=task.series, who=WHO, why=WHY)
        change = partial(
            adopt,
            profile=terms.profile,
            decision=decision,
            task_id=task.task_id,
            lifetime_s=terms.result_lifetime_s,
            owner=ports.owner,
            now=ports.ledger.now(),
        )
        try:
            before = await ports.ledger.apply(change)
        except DecisionError:
            standing = ports.ledger.purchases([task.request_id], series=task.series)
            purchase = standing.get(task.request_id)
            if purchase is None or purchase.task_id != task.task_id:
                continue  # its run still lives, or a person decided otherwise: it stays noted
        else:
            purchase = ports.ledger.purchase(before.key)
            if purchase is not None:
                adopted.append(purchase)
        ports.rescue.forget(task)
    return adopted


def _read(path: Path) -> list[RescuedTask]:
    try:
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    except FileNotFoundError:
        return []
    return [task for line in lines if (task := _parsed(line)) is not None]


def _parsed(line: bytes) -> RescuedTask | None:
    """A task; None for room, and for a line that a dying process did not finish.

    The purchase of the latter is unknown in the ledger, where a person decides about it.
    """
    try:
        found = cast("dict[str, str]", json.loads(line))
        return RescuedTask(
            request_id=found["request_id"],
            task_id=found["task_id"],
            series=found.get("series"),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _write(path: Path, tasks: list[RescuedTask]) -> None:
    lines = [json.dumps(asdict(task)).encode() for task in tasks]
    data = b"\n".join([*lines, b""])
    # Absent only when this process was taken for dead, its lease having expired.
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(data + b"\n" * max(ROOM - len(data), 0))
        file.flush()
        os.fsync(file.fileno())
