"""When a task is asked for: stretching out at first, then as the tasks of the run teach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.generation.polling import PollSchedule


def test_polls_stretch_out_while_nothing_is_known() -> None:
    """One second, then half more each time, up to ten."""
    schedule = PollSchedule()
    waits = [schedule.wait_s(age_s=0, polls=polls) for polls in range(9)]
    assert waits[:3] == pytest.approx([1.0, 1.5, 2.25])
    assert waits[-1] == 10.0


def test_polls_follow_the_latencies_that_were_seen() -> None:
    """A first look at 60 % of the median, then steps of 12 % of it."""
    schedule = PollSchedule()
    for latency in (20.0, 10.0, 1000.0):
        schedule.learn(latency)
    assert schedule.wait_s(age_s=5.0, polls=0) == pytest.approx(7.0)
    assert schedule.wait_s(age_s=12.0, polls=1) == pytest.approx(2.4)


@given(
    latencies=st.lists(st.floats(0, 1e6), max_size=60),
    age_s=st.floats(-1e6, 1e9),
    polls=st.integers(0, 10**6),
)
def test_wait_is_always_within_its_bounds(latencies: list[float], age_s: float, polls: int) -> None:
    """Also when the wall clock jumps."""
    schedule = PollSchedule()
    for latency in latencies:
        schedule.learn(latency)
    assert 0.02 <= schedule.wait_s(age_s=age_s, polls=polls) <= 10.0
