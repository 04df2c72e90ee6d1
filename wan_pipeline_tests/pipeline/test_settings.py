"""Settings: what follows from the environment, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from wan_pipeline.defs.resources import WanResource
from wan_pipeline.settings import EMULATOR_KEY, Settings
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline.wan.profiles import PROFILES, ProfileName


@pytest.mark.parametrize(
    ("profile", "variable"), [("vtrix", "VTRIX_API_KEY"), ("seacloud", "SEACLOUD_API_KEY")]
)
def test_a_real_profile_needs_its_own_key(
    monkeypatch: pytest.MonkeyPatch, profile: str, variable: str
) -> None:
    """The error names the variable; blanks are no key; the key itself is never shown."""
    settings = Settings(profile=ProfileName(profile))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match=variable):
        settings.api_key()
    monkeypatch.setenv(variable, "  ")
    with pytest.raises(ConfigurationError, match=variable):
        settings.api_key()
    monkeypatch.setenv(variable, " sk-secret\n")
    assert settings.api_key().get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings.api_key())
    assert "sk-secret" not in repr(WanResource.from_settings(settings))


def test_the_emulator_needs_no_key() -> None:
    """It gets one that is no secret."""
    assert Settings().api_key().get_secret_value() == EMULATOR_KEY


def test_only_the_emulator_we_start_is_sped_up() -> None:
    """With a base URL of one's own, the published limits hold until others are set."""
    ours, theirs = Settings(emulator_speed_up=20), Settings(base_url="http://127.0.0.1:1")
    assert ours.starts_emulator
    assert ours.account().limits.submissions_per_second == 100
    assert ours.account().limits.running_at_once == 5
    assert not theirs.starts_emulator
    assert theirs.account().limits == PROFILES[ProfileName.EMULATOR].limits
    assert theirs.account().result_lifetime_s == 24 * 3600


@pytest.mark.parametrize(
    ("price", "told", "source"),
    [(None, None, "not published"), ("0.0275", Decimal("0.0275"), "WAN_PRICE_USD"), ("0", 0, "")],
)
def test_a_price_is_the_users_where_none_is_published(
    monkeypatch: pytest.MonkeyPatch, price: str | None, told: Decimal | None, source: str
) -> None:
    """Zero is a price too."""
    if price is not None:
        monkeypatch.setenv("WAN_PRICE_USD", price)
    account = Settings(profile=ProfileName.SEACLOUD).account()
    assert account.price_usd == told
    assert source in account.price_source


def test_a_resource_holds_the_same_settings(tmp_path: Path) -> None:
    """From the environment to Dagster and back, nothing is lost and nothing of it is read again."""
    settings = Settings(
        profile=ProfileName.VTRIX,
        data_dir=tmp_path,
        price_usd=Decimal("0.000000001"),
        base_seed=7,
        truncate_prompts=True,
        running_at_once=3,
        emulator_plan=tmp_path / "plan.json",
    )
    assert WanResource.from_settings(settings).settings() == settings


def test_everything_produced_lies_under_its_profile(tmp_path: Path) -> None:
    """What one account bought is never shown under another."""
    emulator = Settings(data_dir=tmp_path).layout
    vtrix = Settings(data_dir=tmp_path, profile=ProfileName.VTRIX).layout
    assert emulator.prompts_dir == vtrix.prompts_dir == tmp_path / "prompts"
    for layout in (emulator, vtrix):
        for path in (
            layout.ledger,
            layout.dagster_home,
            layout.thumbnails,
            layout.tables("s"),
            layout.metadata("s"),
            layout.gallery("s"),
        ):
            assert path.is_relative_to(tmp_path / layout.profile)
