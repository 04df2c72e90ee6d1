"""Settings: what follows from the environment, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from wan_pipeline.defs.agreed import terms_of
from wan_pipeline.defs.resources import WanResource, emulator_plan
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


def test_every_bound_of_a_run_reaches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable that the batch never hears of would configure nothing."""
    bounds = {
        "refused_in_a_row": 31,
        "unsent_in_a_row": 32,
        "throttle_patience_s": 33.0,
        "proof_patience_s": 34.0,
        "unknown_in_a_row": 35,
        "paid_for_nothing": 36,
        "confirm_s": 37.0,
    }
    for name, value in bounds.items():
        monkeypatch.setenv(f"WAN_{name.upper()}", str(value))
    settings = WanResource.from_settings(Settings(data_dir=tmp_path)).settings()
    terms = terms_of(settings, base_url="http://127.0.0.1:1", prompt_set="kites")
    assert {name: getattr(terms, name) for name in bounds} == bounds


def test_only_the_emulator_we_start_is_sped_up() -> None:
    """With a base URL of one's own, the published limits hold until others are set."""
    ours, theirs = Settings(emulator_speed_up=20), Settings(base_url="http://127.0.0.1:1")
    assert ours.starts_emulator
    assert ours.account().limits.submissions_per_second == 100
    assert ours.account().limits.running_at_once == 5
    assert ours.account().breaker_pause_s == 1.5
    assert Settings(breaker_pause_s=7).account().breaker_pause_s == 7
    assert Settings(breaker_pause_s=0).account().breaker_pause_s == 0
    assert ours.account().confirm_s == 1.5
    assert Settings(confirm_s=0).account().confirm_s == 0
    assert ours.account().proof_patience_s == 15
    assert Settings(proof_patience_s=7).account().proof_patience_s == 7
    assert not theirs.starts_emulator
    assert theirs.account().limits == PROFILES[ProfileName.EMULATOR].limits
    assert theirs.account().result_lifetime_s == 24 * 3600
    assert theirs.account().breaker_pause_s == 30
    assert theirs.account().confirm_s == 30
    assert theirs.account().proof_patience_s == 300


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


@pytest.mark.parametrize(
    "url",
    [
        "cloud.vtrix.ai",
        "htps://cloud.vtrix.ai",
        "https//cloud.vtrix.ai",
        "https:cloud.vtrix.ai",
        "https:/cloud.vtrix.ai",
        "https://",
        "https:///v1",
        "https://https://cloud.vtrix.ai",
        "https://cloud.vtrix.ai:99999",
        "https://cloud.vtrix.ai:0",
        "https://cloud.vtrix.ai:port",
        "https://cloud..ai",
        "https://.",
        "https://cloud,vtrix.ai",
        "https://cloud vtrix.ai",
        "https://[::1",
        "https://user:hunter2@cloud.vtrix.ai",
        "https://user:hunter2/x@cloud.vtrix.ai",
        "https://cloud.vtrix.ai?x=1",
        "https://cloud.vtrix.ai/#top",
        "file:///etc/passwd",
        "\x1b[31mhttps://cloud.vtrix.ai",
    ],
)
def test_a_base_url_that_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """With the variable's name, before anything is sent; a password in it is not shown."""
    monkeypatch.setenv("WAN_BASE_URL", url)
    with pytest.raises(ValidationError, match="WAN_BASE_URL") as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "unencrypted"),
    [
        ("https://cloud.vtrix.ai", False),
        ("https://cloud.vtrix.ai:8443/prefix/", False),
        ("http://127.0.0.1:8600", False),
        ("http://localhost:8600", False),
        ("http://[::1]:8600", False),
        ("http://10.0.0.5:8600", True),
        ("HTTP://gateway.example.", True),
        (" https://cloud.vtrix.ai\n", False),
    ],
)
def test_a_base_url_that_is_an_origin(
    monkeypatch: pytest.MonkeyPatch, url: str, *, unencrypted: bool
) -> None:
    """Prefixes and ports are the user's; a key that would travel in the open is known."""
    monkeypatch.setenv("WAN_BASE_URL", url)
    settings = Settings()
    assert settings.base_url == url.strip()
    assert settings.sends_key_unencrypted is unencrypted
    assert not Settings(base_url=None, profile=ProfileName.VTRIX).sends_key_unencrypted


@pytest.mark.parametrize(
    "url",
    ["data/emulator", "file:///srv/data", "https://user:hunter2@data.example", "https://x.y/?a=1"],
)
def test_pages_are_not_linked_to_where_nothing_can_be_served(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """The links would stay in the run history; a password in them as well."""
    monkeypatch.setenv("WAN_PAGES_URL", url)
    with pytest.raises(ValidationError, match="WAN_PAGES_URL") as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


def test_pages_may_be_served_below_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """With or without a slash at its end."""
    monkeypatch.setenv("WAN_PAGES_URL", "https://data.example/wan/emulator/ ")
    settings = Settings()
    assert settings.pages_url == "https://data.example/wan/emulator"
    assert WanResource.from_settings(settings).settings() == settings


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells and container files leave them."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"WAN_{name.upper()}", "")
    assert Settings() == Settings.model_construct()


BAD_PLANS = {
    "missing": None,
    "no JSON": b"{",
    "a list": b"[1]",
    "binary": b"\x89PNG\r\n\x1a\n\xff\xfe",
    "no number": b'{"speed_up": "fast"}',
    "too fast": b'{"speed_up": 1e9}',
}


@pytest.mark.parametrize("content", BAD_PLANS.values(), ids=BAD_PLANS)
def test_an_emulator_plan_that_cannot_be_used_is_told(
    tmp_path: Path, content: bytes | None
) -> None:
    """Variable, file, and what to do; by whichever reader comes first."""
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    settings = Settings(emulator_plan=path)
    for read in (
        lambda: settings.emulator_speed,
        settings.account,
        lambda: emulator_plan(settings),
    ):
        with pytest.raises(ConfigurationError, match="WAN_EMULATOR_PLAN") as caught:
            read()
        assert str(path) in str(caught.value)
        assert "Name a JSON file" in str(caught.value)


def test_a_wrong_field_of_an_emulator_plan_is_named(tmp_path: Path) -> None:
    """Where the speed is fine and something else is not."""
    path = tmp_path / "plan.json"
    path.write_text('{"speed_up": 50, "faults": [{"kind": "nonsense"}]}')
    assert Settings(emulator_plan=path).emulator_speed == 50
    with pytest.raises(ConfigurationError, match=r"WAN_EMULATOR_PLAN.*faults\.0\.kind"):
        emulator_plan(Settings(emulator_plan=path))


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
            layout.measurements,
            layout.quality("s"),
            layout.quality_pairs("s"),
            layout.quality_elsewhere("s"),
            layout.quality_outcomes("s"),
            layout.quarantine("s"),
            layout.gallery("s"),
        ):
            assert path.is_relative_to(tmp_path / layout.profile)


def test_no_two_quality_files_have_one_name(tmp_path: Path) -> None:
    """A set may be called like the pairs of another one."""
    layout = Settings(data_dir=tmp_path).layout
    names = ["a", "a.pairs", "a.pairs.set", "a.pairs.pairs", "a.set", "elsewhere", "outcomes"]
    files = [
        file(name)
        for name in names
        for file in (
            layout.quality,
            layout.quality_pairs,
            layout.quality_elsewhere,
            layout.quality_outcomes,
            layout.quarantine,
        )
    ]
    assert len(set(files)) == len(files)
    assert layout.quality("a").name == "a.parquet"
    assert layout.quality_pairs("a").name == "a.pairs.parquet"
