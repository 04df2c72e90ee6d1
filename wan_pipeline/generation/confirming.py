"""A task that is done with fewer images than asked for: asked again before that is believed.

Some services call a task done before all of its results are listed, or charged. What is stored or
failed is never polled again, so the late ones would be paid for and never fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.wan.answers import TaskAnswer, TaskState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wan_pipeline.wan.answers import TaskMissing

__all__ = ["SAYINGS", "confirmed", "falls_short", "is_empty", "is_for_nothing"]

SHARES = (1 / 6, 1 / 3, 1 / 2)  # of the time for it, before each further poll
SAYINGS = 3  # of so many answers that a task was for nothing the last one is believed


def falls_short(answer: TaskAnswer, n: int) -> bool:
    """Whether a task is done, by its word, with fewer results than the n asked for."""
    results = len(answer.images) + len(answer.foreign_items)
    return answer.state is TaskState.SUCCEEDED and results < n


def is_empty(answer: TaskAnswer) -> bool:
    """Whether a task is done, by its word, and without any result that we can read."""
    return falls_short(answer, 1)


def is_for_nothing(answer: TaskAnswer) -> bool:
    """Whether a task is empty and costs nothing."""
    return is_empty(answer) and answer.cost_usd == 0


async def confirmed(
    answer: TaskAnswer,
    n: int,
    *,
    poll: Callable[[], Awaitable[TaskAnswer | TaskMissing | None]],
    sleep: Callable[[float], Awaitable[None]],
    confirm_s: float,
) -> TaskAnswer | None:
    """Ask again some times, until the images are there; the answer that counts in the end.

    Images that were listed once count, whatever is said later.

    Args:
        answer: falls short.
        n: images asked for.
        poll: asks once more; None when it cannot be asked now, which ends the asking.
        sleep: waits so many seconds.
        confirm_s: seconds over which it is asked.

    Returns:
        None when the task is for nothing by too few answers, or no longer ended.
    """
    best, sayings = answer, int(is_for_nothing(answer))
    for share in SHARES:
        await sleep(share * confirm_s)
        again = await poll()
        if again is None:
            break
        if not isinstance(again, TaskAnswer):
            continue
        if not best.images or len(again.images) > len(best.images):
            best = again
        if not falls_short(best, n) and best.state is not TaskState.RUNNING:
            return best
        sayings += is_for_nothing(again)
    if best.state is TaskState.RUNNING or (is_for_nothing(best) and sayings < SAYINGS):
        return None
    return best
