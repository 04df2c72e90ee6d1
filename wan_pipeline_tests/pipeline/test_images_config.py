"""What one run of `images` may be told, and what it answers to words that mean nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wan_pipeline.defs.assets.images import ImagesConfig
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.wan.errors import ConfigurationError


def test_what_is_bought_again_and_from_when_on_not() -> None:
    """A time has its offset, so that every machine reads the same one."""
    config = ImagesConfig(retry=["failed"], retry_before="2026-11-25T13:00:00+01:00")
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert config.retries() == RetryRule(what=frozenset({Retry.FAILED}), before=noon)
    assert ImagesConfig().retries() == RetryRule()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (ImagesConfig(retry=["everything"]), "`retry`: 'everything'"),
        (ImagesConfig(retry_before="yesterday"), "`retry_before`: 'yesterday'"),
        (ImagesConfig(retry_before="2026-11-25T13:00:00"), "is no time with an offset"),
        (ImagesConfig(budget_run_usd="a lot"), "`budget_run_usd`: 'a lot'"),
        (ImagesConfig(budget_day_usd="-1"), "`budget_day_usd`: '-1'"),
        (ImagesConfig(budget_set_usd="NaN"), "`budget_set_usd`: 'NaN'"),
    ],
)
def test_what_means_nothing_is_refused(config: ImagesConfig, says: str) -> None:
    """By its name and value, with what to write, before anything is sent."""
    with pytest.raises(ConfigurationError) as error:
        _ = config.caps(), config.retries()
    assert says in str(error.value)
    assert str(error.value).endswith("Nothing was sent")
