"""The Dagster instance of a data folder, and runs that it cannot record."""

from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import exit_code_of
from wan_pipeline.defs.launch import open_instance, run_job
from wan_pipeline.settings import Settings
from wan_pipeline_tests.pipeline.site import Site
from wan_pipeline_tests.reliability.full_history import full_history

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


@pytest.mark.parametrize("failures", range(2, 8))
def test_history_that_fails_for_a_moment(failures: int, tmp_path: Path) -> None:
    """Whichever writes fail, inside of a step or between two, the run is called unrecorded."""
    stack = ExitStack()

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> None:
        stack.enter_context(full_history(failures))
        context.log.info("told")

    with stack, open_instance(Settings(data_dir=tmp_path / "data")) as instance:
        defs = dg.Definitions(assets=[made], jobs=[dg.define_asset_job("make", "made")])
        outcome = run_job(defs, instance, "make")
    assert outcome.unrecorded, outcome
    assert not outcome.success
    assert "database or disk is full. What was bought" in outcome.error
    assert exit_code_of(outcome.error_class) is ExitCode.STOPPED
