"""Running a coroutine so that an interrupt of the main thread becomes an orderly cancellation.

Dagster's "Terminate" and Ctrl-C raise an exception in the main thread, wherever it happens to
be. Were the event loop there, the exception could strike in the middle of the line that handles a
paid answer. So the loop runs in a thread of its own and the main thread only waits: the
exception can strike nowhere else, the coroutine sees one `asyncio.CancelledError`, and its clean-up
may await.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run_interruptibly"]

T = TypeVar("T")
WAKE_S = 0.2  # the main thread looks up this often, so that a signal is handled at once


def run_interruptibly(coroutine: Coroutine[Any, Any, T], *, grace_s: float = 9.0) -> T:
    """Run to the end and return the result; on an interrupt cancel, wait, then raise it on.

    Args:
        coroutine: what to run.
        grace_s: seconds that its clean-up may take after an interrupt.
    """
    result: Future[T] = Future()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    # Not Thread.join: until Python 3.13 one that is interrupted takes the thread for ended.
    ended = threading.Event()

    async def main() -> T:
        task = asyncio.ensure_future(coroutine)
        started.set_result((asyncio.get_running_loop(), task))
        return await task

    def run() -> None:
        try:
            result.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  raised again in the main thread
            result.set_exception(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="batch", daemon=True)
    try:
        thread.start()
        while not ended.wait(WAKE_S):
            pass
    except BaseException:
        loop, task = started.result(timeout=grace_s)
        with contextlib.suppress(RuntimeError):  # the loop ended by itself meanwhile
            loop.call_soon_threadsafe(task.cancel)
        ended.wait(grace_s)
        raise
    return result.result()
