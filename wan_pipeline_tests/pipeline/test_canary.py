"""The asset that reproduces starts only when it is told what, and the canary says why it skips."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from wan_pipeline.dataset.release.tables import RELEASE_IMAGES
from wan_pipeline.dataset.reproduction.table import DRIFT
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.assets.drift import LINEAGE, drift
from wan_pipeline.defs.progress import ProgressSink
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.defs.ui import column_lineage, column_schema
from wan_pipeline_tests.pipeline.conftest import NOWHERE
from wan_pipeline_tests.pipeline.site import settings_for

MONDAY = datetime(2026, 1, 5, 3, tzinfo=UTC)


def tick(folder: Path, **settings: Any) -> dg.RunRequest | dg.SkipReason:
    """What `weekly_canary` answers on a Monday."""
    defs = build_defs(settings_for(folder, NOWHERE, **settings))
    schedule = defs.resolve_schedule_def("weekly_canary")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=MONDAY,
            repository_def=defs.get_repository_def(),
            resources=defs.resources,
        )
        answer = schedule.evaluate_tick(context)
    if answer.skip_message:
        return dg.SkipReason(answer.skip_message)
    (request,) = answer.run_requests or ()
    return request


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "no canary is set: make a release"),
        ({"canary_release": "nowhere"}, "there is no release 'nowhere'"),
        ({"canary_release": "canary@v9"}, "has no version v9"),
        ({"canary_release": "Canary!"}, "names no release"),
    ],
)
def test_reasons_to_skip(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    """Each says what to do."""
    (tmp_path / "emulator/releases/canary/v1").mkdir(parents=True)
    answer = tick(tmp_path, **settings)
    assert isinstance(answer, dg.SkipReason)
    assert why in (answer.skip_message or "")


def test_the_newest_version_is_asked_for_under_the_days_label(tmp_path: Path) -> None:
    """Once a day: the same tick again is the same run, and the same label buys nothing twice."""
    for version in ("v1", "v2"):
        (tmp_path / "emulator/releases/canary" / version).mkdir(parents=True)
    answer = tick(tmp_path, canary_release="canary", canary_sample=7)
    assert isinstance(answer, dg.RunRequest)
    assert answer.run_key == "canary@v2:2026-01-05"
    assert answer.run_config["ops"]["drift"]["config"] == {
        "release": "canary@v2",
        "sample": "7",
        "label": "2026-01-05",
    }


def test_columns_come_from_the_release_or_from_what_came_now() -> None:
    """Every column of before, and what is compared, links there; the others say where from."""
    assert set(LINEAGE) == set(DRIFT.names)
    linked = column_lineage(LINEAGE).deps_by_column
    origins = {origin.column_name for each in linked.values() for origin in each}
    assert origins <= set(RELEASE_IMAGES.names)
    assert {name for name in DRIFT.names if name.startswith("old_")} <= set(linked)
    assert {"outcome", "counted", "drifted", "distance"} <= set(linked)
    said = {each.name: each.description or "" for each in column_schema(DRIFT, LINEAGE).columns}
    for name in set(DRIFT.names) - set(linked):
        assert "; from the " in said[name], name


def test_nothing_is_bought_without_a_release(tmp_path: Path) -> None:
    """In a run of the whole graph it does nothing; its own job asks for one."""
    resources = {
        "wan": WanResource.from_settings(settings_for(tmp_path, NOWHERE)),
        "progress": ProgressSink(),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([drift], instance=instance, resources=resources)
    assert done.success
    assert not done.asset_materializations_for_node("drift")
    assert not done.get_asset_check_evaluations()
    job = build_defs(settings_for(tmp_path, NOWHERE)).resolve_job_def("reproduce")
    with dg.DagsterInstance.ephemeral() as instance:
        refused = job.execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey("drift")]
        )
    assert not refused.success
    (failure,) = [event for event in refused.all_events if event.is_step_failure]
    assert "names no release" in str(failure.step_failure_data.error)
