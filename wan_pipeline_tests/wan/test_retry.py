"""Retry rules: bounded in attempts and time, jittered, and polite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.wan.retry import RetryPolicy, TransientError, read_retry_after
from wan_pipeline_tests.wan.client_fixture import Naps

NOW = datetime(2026, 11, 22, 7, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("86400", 600.0),
        ("inf", 600.0),
        ("nan", None),
        ("", None),
        ("soon", None),
        (None, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 600.0),
        ("Sun, 22 Nov 2026 08:28:30 +0100", 30.0),
        ("Sun, 22 Nov 2026 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_as_number_and_as_date(value: str | None, seconds: float | None) -> None:
    """Both forms of the header, capped, and nothing that is neither."""
    assert read_retry_after(value, now=NOW) == seconds


@given(st.one_of(st.text(), st.from_regex(r"\w{3}, \d+ Nov \d+ \d+:\d+:\d+ [-+]?\d+")))
def test_any_retry_after_is_read(value: str) -> None:
    """A header of a paid answer must never become an exception."""
    seconds = read_retry_after(value)
    assert seconds is None or 0 <= seconds <= 600


class Failing:
    """An exchange that fails some times before it goes well."""

    def __init__(self, times: int, *, retry_after_s: float | None = None) -> None:
        self.times = times
        self.calls = 0
        self.retry_after_s = retry_after_s

    async def __call__(self) -> str:
        """Fail, or not."""
        self.calls += 1
        if self.calls <= self.times:
            raise TransientError(f"failure {self.calls}", retry_after_s=self.retry_after_s)
        return "well"


async def test_waits_double_with_jitter_up_to_a_cap() -> None:
    """Half to one and a half of 0.5, 1, 2, ... and never more than the cap's share."""
    naps, policy = Naps(), RetryPolicy(attempts=9, longest_wait_s=4.0, total_s=1e9)
    assert await policy.run(Failing(8), sleep=naps) == "well"
    for nap, middle in zip(naps.seconds, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=True):
        assert 0.5 * middle <= nap <= 1.5 * middle
    assert len(set(naps.seconds)) == len(naps.seconds)


async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    """Not tenacity's wrapper: the reason is what a person reads."""
    exchange, policy = Failing(99), RetryPolicy(attempts=3)
    with pytest.raises(TransientError, match="failure 3"):
        await policy.run(exchange, sleep=Naps())
    assert exchange.calls == 3


async def test_total_time_is_bounded() -> None:
    """A wait that would pass the bound is not begun, also when the server wishes for it."""
    exchange, naps = Failing(99, retry_after_s=300), Naps()
    with pytest.raises(TransientError, match="failure 1"):
        await RetryPolicy(attempts=50, total_s=120).run(exchange, sleep=naps)
    assert naps.seconds == []


async def test_retry_after_goes_before_the_backoff() -> None:
    """The server knows better, and a little jitter keeps callers apart."""
    naps = Naps()
    await RetryPolicy().run(Failing(2, retry_after_s=20), sleep=naps)
    assert all(20 < nap < 20.3 for nap in naps.seconds)


async def test_other_errors_are_not_retried() -> None:
    """A mistake in our own code fails at once."""

    async def broken() -> None:
        raise KeyError("mistake")

    naps = Naps()
    with pytest.raises(KeyError):
        await RetryPolicy().run(broken, sleep=naps)
    assert naps.seconds == []
