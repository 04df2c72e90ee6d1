"""The breaker: too much in doubt or failed, and everybody pauses; then one create goes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.generation.outcomes import Submitted
from wan_pipeline.generation.submit import NotBought
from wan_pipeline.wan.answers import CreateThrottled
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.generation.breaker_fixture import DOUBT, WATCHED, finish, tripped
from wan_pipeline_tests.generation.counter import Counter, accepted

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.generation.clocked import Scene


async def test_three_doubts_in_a_row_pause_everybody_and_are_told(
    scene: Scene, tmp_path: Path
) -> None:
    """Also another run of the account; the batch goes on, and says why it waits."""
    counter = await tripped(scene, tmp_path)
    began = scene.clock.now
    assert not counter.stop
    (told,) = counter.tally.pauses
    assert "30 s" in told
    assert "3 creates in a row without a known outcome: no answer within 60 s" in told
    (moment,) = await scene.granted(scene.pacer(), each=1)
    assert moment >= began + 30


async def test_pause_for_the_rate_limit_is_told_once_when_it_begins(
    scene: Scene, tmp_path: Path
) -> None:
    """With its length and at once: nothing else may happen for minutes."""
    counter = Counter(scene, tmp_path)
    shown: list[list[str]] = []
    counter.tally.tell = lambda: shown.append(list(counter.tally.pauses))
    await counter.ask(3)
    for number in range(3):
        await counter.answer(number, CreateThrottled(retry_after_s=120.0), then_wait=False)
    (told,) = counter.tally.pauses
    assert "creates pause for 120 s, as it asks" in told
    assert "429" in told
    assert shown == [[told]]
    await counter.scene.clock.run_out()
    await counter.answer(3, CreateThrottled(retry_after_s=90.0), then_wait=False)
    assert [pause[:24] for pause in counter.tally.pauses] == [
        "creates pause for 120 s,",
        "creates pause for 90 s, ",
    ]


async def test_short_pause_for_the_rate_limit_is_ordinary(scene: Scene, tmp_path: Path) -> None:
    """Until doubling makes it long."""
    counter = Counter(scene, tmp_path, terms={"pause_first_s": 2.0, "pause_longest_s": 60.0})
    await counter.ask(1)
    for number in range(2):
        await counter.answer(number, CreateThrottled(retry_after_s=None))
        assert counter.tally.pauses == []
    await counter.answer(2, CreateThrottled(retry_after_s=None), then_wait=False)
    (told,) = counter.tally.pauses
    assert "creates pause for 8 s: the provider says" in told


async def test_doubtful_again_stops_the_batch(scene: Scene, tmp_path: Path) -> None:
    """Four creates are in doubt, not more, and the rest is left to be bought."""
    counter = await tripped(scene, tmp_path)
    await counter.ask(3)
    await counter.answer(5, DOUBT)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert "4 creates in a row" in counter.stop.detail
    assert "also after 1 pause of 30 s" in counter.stop.detail
    assert len(counter.sent) == 6
    ended = [await each for each in counter.asking[5:]]
    assert ended == [NotBought.RECORDED, NotBought.LEFT, NotBought.LEFT]
    assert len(counter.tally.pauses) == 1


async def test_so_many_pauses_in_a_row_as_are_set(scene: Scene, tmp_path: Path) -> None:
    """Two here; one that is accepted starts the count anew."""
    counter = await tripped(scene, tmp_path, breaker_pauses=2, unknown_in_a_row=3)
    await counter.ask(8)
    await counter.answer(5, DOUBT)
    assert (len(counter.tally.pauses), len(counter.sent)) == (2, 7)
    assert counter.sent[6] >= counter.sent[5] + 30
    await counter.answer(6, accepted("one"))
    for number in (7, 8, 9):
        await counter.answer(number, DOUBT)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (3, False)
    await counter.ask(1)
    await counter.answer(13, DOUBT)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (4, False)
    await counter.ask(1)
    await counter.answer(14, DOUBT)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert "2 pauses" in counter.stop.detail


@pytest.mark.parametrize("terms", [{"breaker_pause_s": 0.0}, {"breaker_pauses": 0}])
async def test_without_a_pause_it_stops_at_once(
    terms: dict[str, float], scene: Scene, tmp_path: Path
) -> None:
    """By either setting."""
    counter = await tripped(scene, tmp_path, **terms)
    assert counter.stop.reason is StopReason.UNKNOWN_CREATES
    assert (
        counter.stop.detail == "3 creates in a row without a known outcome: no answer within 60 s"
    )
    assert counter.tally.pauses == []


async def test_what_was_on_its_way_before_the_pause_decides_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    """Neither its doubt stops the batch, nor does its acceptance let all others go."""
    counter = await tripped(scene, tmp_path)
    await counter.answer(3, DOUBT, then_wait=False)
    await counter.answer(4, accepted("late"), then_wait=False)
    assert not counter.stop
    await counter.ask(4)
    assert len(counter.sent) == 6
    assert isinstance(await counter.asking[4], Submitted)
    assert counter.states() == ["intent", *["submitted"], *["unknown"] * 4]


async def test_too_many_failures_pause_and_then_one_goes_alone(
    scene: Scene, tmp_path: Path
) -> None:
    """Eleven of the last twenty; when one is accepted the others go."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=10, trips=0)
    assert counter.tally.pauses == []
    await finish(counter, 1, failed=1, trips=0)
    began = scene.clock.now
    (told,) = counter.tally.pauses
    assert "11 of the last 20 finished tasks failed" in told
    await counter.ask(4)
    assert len(counter.sent) == 1
    assert counter.sent[0] >= began + 30
    await counter.answer(0, accepted("one"))
    assert len(counter.sent) == 4
    assert not counter.stop


async def test_tasks_begun_before_the_pause_no_longer_count(scene: Scene, tmp_path: Path) -> None:
    """However many of them fail; those begun after it are counted from none."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=WATCHED, trips=0)
    await finish(counter, 3 * WATCHED, failed=3 * WATCHED, trips=0)
    await finish(counter, WATCHED - 1, failed=WATCHED - 1, trips=1)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (1, False)
    await finish(counter, 1, failed=0, trips=1)
    assert counter.stop.reason is StopReason.FAILURES
    assert counter.stop.detail == (
        "19 of the last 20 finished tasks failed or brought no image that could be stored: a bad"
        " day, also after 1 pause of 30 s"
    )


async def test_failures_after_better_times_pause_again(scene: Scene, tmp_path: Path) -> None:
    """Twenty tasks of which enough succeed end the row of pauses."""
    counter = Counter(scene, tmp_path)
    await finish(counter, WATCHED, failed=WATCHED, trips=0)
    await finish(counter, WATCHED, failed=10, trips=1)
    await finish(counter, 1, failed=1, trips=1)
    assert (len(counter.tally.pauses), bool(counter.stop)) == (2, False)
    await finish(counter, WATCHED, failed=11, trips=2)
    assert counter.stop.reason is StopReason.FAILURES


GONE = "the result's URL answers 404 (gone or expired). Run again: it is asked for a new one"
GONE_TOLD = "the result's URL answers 404 (gone or expired)"


async def paid(counter: Counter, *problems: str | None, trips: int = 0) -> None:
    """Tasks that this batch paid for end so."""
    for problem in problems:
        await counter.submitter.breaker.finished(problem=problem, trips=trips, paid=True)


async def test_tasks_without_an_image_count_as_those_that_failed(
    scene: Scene, tmp_path: Path
) -> None:
    """And the detail tells the most frequent reason, without its advice."""
    counter = Counter(scene, tmp_path)
    await paid(counter, None)
    await finish(counter, WATCHED - 8, failed=3, trips=0)
    await paid(counter, *[GONE] * 7)
    assert counter.tally.pauses == []
    await paid(counter, GONE)
    (told,) = counter.tally.pauses
    assert told.endswith(
        "11 of the last 20 finished tasks failed or brought no image that could be stored: most"
        f" often {GONE_TOLD}"
    )


async def test_first_tasks_that_all_were_paid_for_nothing_pause(
    scene: Scene, tmp_path: Path
) -> None:
    """Five, and after the pause five more, instead of twenty: nothing has arrived at all."""
    counter = Counter(scene, tmp_path)
    await paid(counter, *[GONE] * 4)
    await finish(counter, 1, failed=0, trips=0)  # an earlier run's, whose image came
    assert counter.tally.pauses == []
    await paid(counter, GONE)
    (told,) = counter.tally.pauses
    assert told.endswith(
        f"the first 5 paid tasks brought no image that could be stored: {GONE_TOLD}"
    )
    await paid(counter, *[GONE] * 9)  # begun before the pause
    await paid(counter, *[GONE] * 4, trips=1)
    assert not counter.stop
    await paid(counter, GONE, trips=1)
    assert counter.stop.reason is StopReason.FAILURES
    assert counter.stop.detail.endswith(f"{GONE_TOLD}, also after 1 pause of 30 s")


async def test_one_image_that_arrives_ends_the_watch_over_the_first(
    scene: Scene, tmp_path: Path
) -> None:
    """From then on it takes more than half of twenty."""
    counter = Counter(scene, tmp_path)
    await paid(counter, *[GONE] * 4, None, *[GONE] * 6)
    assert counter.tally.pauses == []


async def test_tasks_that_failed_for_nothing_do_not_count_among_the_first(
    scene: Scene, tmp_path: Path
) -> None:
    """They cost nothing; five moderated prompts are no reason to stop."""
    counter = Counter(scene, tmp_path)
    await finish(counter, 9, failed=9, trips=0)
    assert counter.tally.pauses == []


async def test_so_many_first_ones_as_are_set(scene: Scene, tmp_path: Path) -> None:
    """Two here."""
    counter = Counter(scene, tmp_path, terms={"paid_for_nothing": 2, "breaker_pauses": 0})
    await paid(counter, GONE, GONE)
    assert counter.stop.reason is StopReason.FAILURES
