"""One writer per process that commits in groups.

Every durable change is a function of a connection. Changes that wait while a commit runs share
the next one, so that a thousand changes cost a few fsyncs, and none is acknowledged before it is
on disk. A change that raises `LedgerError` must raise before it writes; any other error rolls
the group back and its changes are done again one by one, so that one bad change spoils no other.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from wan_pipeline.ledger.errors import LedgerError, LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

__all__ = ["GroupCommitWriter"]

T = TypeVar("T")
LARGEST_GROUP = 256


@dataclass(slots=True)
class _Change:
    apply: Callable[[sa.Connection], Any]
    done: Future[Any]


class GroupCommitWriter:
    """Applies changes in order, in groups, on one thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[sa.Connection], T]) -> Future[T]:
        """Queue a change; the future resolves after its commit."""
        if not self._thread.is_alive():
            raise LedgerUnavailableError("the ledger was closed; open it again to change it")
        done: Future[T] = Future()
        self._queue.put(_Change(change, done))
        return done

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = self._gather(first)
            if not self._commit(group) and len(group) > 1:
                for change in group:
                    self._commit([change])
            if last:
                return

    def _gather(self, first: _Change) -> tuple[list[_Change], bool]:
        group = [first]
        while len(group) < LARGEST_GROUP:
            try:
                change = self._queue.get_nowait()
            except queue.Empty:
                break
            if change is None:
                return group, True
            group.append(change)
        return group, False

    def _commit(self, group: list[_Change]) -> bool:
        """Whether the group is done; a group of one always is, be it with an error."""
        results: list[tuple[Any, LedgerError | None]] = []
        try:
            with self._engine.begin() as connection:
                for change in group:
                    try:
                        results.append((change.apply(connection), None))
                    except LedgerError as error:
                        results.append((None, error))
        except Exception as error:  # noqa: BLE001  handed to whoever waits for the change
            if len(group) > 1:
                return False
            group[0].done.set_exception(_explained(error))
            return True
        for change, (result, refusal) in zip(group, results, strict=True):
            if refusal is None:
                change.done.set_result(result)
            else:
                change.done.set_exception(refusal)
        return True


def _explained(error: Exception) -> Exception:
    if isinstance(error, DBAPIError):
        return LedgerUnavailableError(
            f"the ledger could not be written: {error.orig}. Free space or repair the data"
            " folder, then run again: finished tasks are at the provider for their lifetime"
        )
    return error
