"""One writer per process that commits in groups.

Every durable change is a function of a `Transaction`. Changes that wait while a commit runs share
the next one, so that a thousand changes cost a few fsyncs, and none is acknowledged before it is
on disk. A change that raises `LedgerError` must raise before it writes; any other error rolls
the group back and its changes are done again one by one, so that one bad change spoils no other.
When another process lets no transaction begin or go on, the whole group fails at once; when two
waited for each other, what the server ended is done again.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from wan_pipeline.ledger.errors import LedgerError, LedgerUnavailableError
from wan_pipeline.ledger.remedies import held_by_another
from wan_pipeline.ledger.transaction import Transaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import sqlalchemy as sa

__all__ = ["GroupCommitWriter"]

T = TypeVar("T")
LARGEST_GROUP = 256
# PostgreSQL's codes. Its transactions begin before they wait for a lock.
LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"  # two waited for each other, and the server ended this one


@dataclass(slots=True)
class _Change:
    apply: Callable[[Transaction], Any]
    done: Future[Any] | asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop | None = None


@dataclass(slots=True)
class _Outcome:
    change: _Change
    result: Any = None
    error: Exception | None = None


class GroupCommitWriter:
    """Applies changes in order, in groups, on one thread.

    Args:
        engine: of the database.
        remember: told the number of the newest event after its commit and before anybody hears of
            it; it must not raise.
    """

    def __init__(self, engine: sa.Engine, *, remember: Callable[[int], None] | None = None) -> None:
        self._engine = engine
        self._remember = remember
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Transaction], T]) -> Future[T]:
        """Queue a change; the future resolves after its commit."""
        done: Future[T] = Future()
        self._put(_Change(change, done))
        return done

    def submit_from(
        self, loop: asyncio.AbstractEventLoop, change: Callable[[Transaction], T]
    ) -> asyncio.Future[T]:
        """The same from an event loop, which is woken once for a whole group."""
        done: asyncio.Future[T] = loop.create_future()
        self._put(_Change(change, done, loop))
        return done

    def _put(self, change: _Change) -> None:
        if not self._thread.is_alive():
            raise LedgerUnavailableError("the ledger was closed; open it again to change it")
        self._queue.put(change)

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = self._gather(first)
            if not self._commit(group):
                for change in group:
                    self._commit([change], again=True)
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

    def _commit(self, group: list[_Change], *, again: bool = False) -> bool:
        """Whether the group is done; the second time it is, be it with an error."""
        outcomes: list[_Outcome] = []
        begun = False
        try:
            with self._engine.begin() as connection:
                begun = True
                tx = Transaction(connection)
                for change in group:
                    try:
                        outcomes.append(_Outcome(change, result=change.apply(tx)))
                    except LedgerError as error:
                        outcomes.append(_Outcome(change, error=error))
                tx.finish()
            if tx.newest_event is not None and self._remember is not None:
                self._remember(tx.newest_event)
        except Exception as error:  # noqa: BLE001  handed to whoever waits for the change
            spoiled = len(group) > 1 and not _is(LOCK_NOT_AVAILABLE, error)
            if begun and not again and (spoiled or _is(DEADLOCK, error)):
                return False
            # A database that lets nobody in, after all its patience, is no change's fault.
            outcomes = [_Outcome(change, error=self._explained(error)) for change in group]
        _tell(outcomes)
        return True

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, DBAPIError):
            return error
        remedy = "Free space or repair the data folder, then run again"
        if held := held_by_another(error, self._engine):
            remedy = held
        elif self._engine.dialect.name == "postgresql":
            remedy = "Check that the server runs and no other process blocks it, then run again"
        return LedgerUnavailableError(
            f"the ledger could not be written: {error.orig}. {remedy}: finished tasks are at the"
            " provider for their lifetime"
        )


def _tell(outcomes: list[_Outcome]) -> None:
    """Resolve the futures, those of one event loop in one go."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        if outcome.change.loop is None:
            _resolve(outcome)
        else:
            by_loop.setdefault(outcome.change.loop, []).append(outcome)
    for loop, its in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve_all, its)


def _resolve_all(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        _resolve(outcome)


def _resolve(outcome: _Outcome) -> None:
    done = outcome.change.done
    if done.done():  # its waiter was cancelled; the change is made all the same
        return
    if outcome.error is None:
        done.set_result(outcome.result)
    else:
        done.set_exception(outcome.error)


def _is(code: str, error: Exception) -> bool:
    found = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return found == code
