"""The clockwork: latency law, running slots, rate limits, states of a task."""

from __future__ import annotations

import statistics
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.emulator.contract import TaskContent
from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, LatencyLaw, ReplyStyle
from wan_pipeline.emulator.tasks import Account
from wan_pipeline.emulator.timeline import Slots, TokenBucket, durations

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = TaskContent(
    model="wan25_t2i_preview_intl",
    prompt="a red kite",
    negative_prompt="",
    size="1280*1280",
    n=1,
    seed=7,
    prompt_extend=False,
    watermark=False,
)


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """The moment it shows."""
        return self.now


def test_latencies_follow_the_published_hints() -> None:
    """Waits within 0.05 to 2 s; running times around 28 s with the 95th percentile near 59 s."""
    drawn = [durations(EmulatorPlan(), CONTENT, number) for number in range(4000)]
    waits, services = zip(*drawn, strict=True)
    assert min(waits) >= 0.05
    assert max(waits) <= 2
    assert statistics.median(services) == pytest.approx(28, rel=0.05)
    assert statistics.quantiles(services, n=20)[18] == pytest.approx(59, rel=0.08)


def test_the_draw_repeats_and_rewriting_and_images_add_to_it() -> None:
    """Same content, same time; rewriting adds 3.5 s; speed-up divides everything."""
    plan = EmulatorPlan(latency=LatencyLaw(service_sigma=0))
    assert durations(plan, CONTENT, 0) == durations(plan, CONTENT, 0)
    assert durations(plan, CONTENT, 0)[1] == 28
    assert durations(plan, replace(CONTENT, prompt_extend=True), 0)[1] == 31.5
    assert durations(plan, replace(CONTENT, n=3), 0)[1] == 31
    fast = plan.model_copy(update={"speed_up": 1000})
    assert durations(fast, CONTENT, 0)[1] == pytest.approx(0.028)


def test_instant_tasks_take_no_time() -> None:
    """The variant whose create reply carries the output needs a task that is over."""
    plan = EmulatorPlan(replies=ReplyStyle(completed_at_once=True))
    assert durations(plan, CONTENT, 0) == (0, 0)


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3), st.floats(0.1, 9)), max_size=40),
)
def test_never_more_run_than_there_are_slots(
    count: int, arrivals: list[tuple[float, float, float]]
) -> None:
    """At no moment do more tasks run than allowed, and none starts before it may."""
    slots, now, spans = Slots(count), 0.0, []
    for gap, queue, service in arrivals:
        now += gap
        span = slots.take(now, queue, service)
        assert span.start_at >= now + queue
        spans.append(span)
    for span in spans:
        running = sum(other.start_at <= span.start_at < other.end_at for other in spans)
        assert running <= count


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 9)), min_size=1, max_size=30),
)
def test_slots_are_the_same_after_a_restart(
    count: int, arrivals: list[tuple[float, float]]
) -> None:
    """The latest ends of the book are all that the slots need to go on as before."""
    slots, now, ends = Slots(count), 0.0, []
    for gap, service in arrivals:
        now += gap
        ends.append(slots.take(now, 0, service).end_at)
    assert Slots(count, ends).take(now, 0, 1) == slots.take(now, 0, 1)


def test_a_bucket_lets_its_rate_through() -> None:
    """A burst of one second, then the rate; the wait it tells is enough."""
    bucket = TokenBucket(5)
    assert [bucket.wait_s(100.0) > 0 for _ in range(6)] == [False] * 5 + [True]
    wait = bucket.wait_s(100.0)
    assert wait == pytest.approx(0.2)
    assert bucket.wait_s(100.0 + wait + 1e-9) == 0
    passed = sum(bucket.wait_s(100.3 + tick / 100) == 0 for tick in range(1000))
    assert passed == pytest.approx(50, abs=2)


def test_a_bucket_survives_a_clock_that_goes_back() -> None:
    """An adjusted clock neither frees nor blocks the account for long."""
    bucket = TokenBucket(1)
    assert bucket.wait_s(100.0) == 0
    assert bucket.wait_s(50.0) == pytest.approx(1)
    assert bucket.wait_s(51.1) == 0


def test_a_state_is_a_function_of_the_clock(tmp_path: Path) -> None:
    """Queued, running with progress, completed: nothing has to happen in between."""
    clock = Clock()
    account = Account(tmp_path / "book", EmulatorPlan(), clock=clock)
    task = account.accept(CONTENT)
    assert task.end_at is not None
    middle = (task.start_at + task.end_at) / 2
    assert (task.state(clock.now), task.progress(clock.now)) == ("queued", 0)
    assert (task.state(middle), task.progress(middle)) == ("running", 0.5)
    assert (task.state(task.end_at), task.progress(task.end_at)) == ("completed", 1)
    assert account.book.bill(task.end_at - 0.001).usd == 0
    assert account.book.bill(task.end_at).usd == Decimal("0.03")
    account.book.close()


def test_the_sixth_task_waits_for_a_slot(tmp_path: Path) -> None:
    """Five run at once; the next starts when the first of them ends."""
    account = Account(tmp_path / "book", EmulatorPlan(), clock=Clock())
    tasks = [account.accept(CONTENT) for _ in range(6)]
    assert tasks[5].start_at == min(task.end_at or 0 for task in tasks[:5])
    account.book.close()


def test_another_plan_leaves_accepted_tasks_alone(tmp_path: Path) -> None:
    """What was accepted keeps its end, outcome and price; new tasks queue behind it."""
    account = Account(tmp_path / "book", EmulatorPlan(running_at_once=1), clock=Clock())
    first = account.accept(CONTENT)
    failing = (Fault(kind=FaultKind.TASK_FAILED),)
    account.use(EmulatorPlan(running_at_once=1, price_usd=Decimal(1), faults=failing))
    second = account.accept(CONTENT)
    assert account.book.get(first.task_id) == first
    assert second.start_at == first.end_at
    assert (first.outcome, second.outcome) == (None, FaultKind.TASK_FAILED)
    account.book.close()
