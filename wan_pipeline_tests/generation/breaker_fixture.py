"""What tests of the breaker share: answers, a tripped batch, and tasks that end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.wan.answers import (
    ApiError,
    CreateDoubtful,
    CreateRefused,
    ErrorKind,
)
from wan_pipeline_tests.generation.counter import Counter

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.generation.clocked import Scene

DOUBT = CreateDoubtful(reason="no answer within 60 s")
REFUSED = CreateRefused(
    status=422, error=ApiError(code="422", message="no", kind=ErrorKind.INVALID)
)
WATCHED = 20  # finished tasks, by the terms


async def tripped(scene: Scene, folder: Path, **terms: object) -> Counter:
    """Five creates at the provider and three that wait; of the five three are in doubt."""
    counter = Counter(scene, folder, terms=terms)
    await counter.ask(5)
    for number in range(2):
        await counter.answer(number, DOUBT)
    assert not counter.tally.pauses
    await counter.answer(2, DOUBT, then_wait=False)
    return counter


async def finish(counter: Counter, count: int, *, failed: int, trips: int) -> None:
    """So many tasks end, the failed ones last."""
    breaker = counter.submitter.breaker
    for number in range(count):
        problem = "a bad day" if number >= count - failed else None
        await breaker.finished(problem=problem, trips=trips, paid=False)
