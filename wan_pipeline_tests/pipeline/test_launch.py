"""The Dagster instance of a data folder."""

from pathlib import Path

import pytest

from wan_pipeline.defs.launch import open_instance
from wan_pipeline.settings import Settings
from wan_pipeline_tests.pipeline.site import Site

REVIEWED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"


def test_a_new_instance_gets_the_reviewed_settings(site: Site) -> None:
    """Telemetry off, no pop-up, one build at a time."""
    home = site.layout.dagster_home
    assert (home / "dagster.yaml").read_bytes() == REVIEWED.read_bytes()
    assert not site.instance.telemetry_enabled
    assert not site.instance.nux_enabled
    assert site.instance.get_settings("concurrency")["pools"]["granularity"] == "run"


def test_settings_that_somebody_wrote_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$DAGSTER_HOME is respected, and a dagster.yaml in it is not touched."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    instance = open_instance(Settings(data_dir=tmp_path / "data"))
    instance.dispose()
    assert instance.root_directory == str(home)
    assert (home / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"
    assert not (tmp_path / "data").exists()
