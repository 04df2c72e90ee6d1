"""Sensor and schedules: what a tick asks for, what it says when it asks for nothing."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.generation.planning import Plan
from wan_pipeline.prompts.changes import changed_at_ns
from wan_pipeline_tests.pipeline.conftest import NOWHERE
from wan_pipeline_tests.pipeline.site import ASSETS, Site, settings_for
from wan_pipeline_tests.pipeline.ticks import NIGHT, look, names, tick

_opened: list[str] | None = None


def _note(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(args[0]))


sys.addaudithook(_note)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Every path that Python opens meanwhile."""
    global _opened  # noqa: PLW0603  an audit hook cannot be taken away, only told to rest
    _opened = noted = []
    try:
        yield noted
    finally:
        _opened = None


# --- the sensor ---


def test_new_files_become_partitions_and_free_plans(site: Site) -> None:
    """One partition and one run of `plan_only` per file."""
    site.write("b.csv", "prompt\none\n")
    site.write("a.jsonl", '{"prompt": "one"}\n')
    found = look(site)
    assert isinstance(found, dg.SensorResult)
    assert names(list(found.run_requests or [])) == ["a", "b"]
    (added,) = found.dynamic_partitions_requests or []
    assert (added.partitions_def_name, list(added.partition_keys)) == ("prompt_set", ["a", "b"])
    sensor = site.defs.resolve_sensor_def("new_prompt_files")
    assert sensor.job_name == "plan_only"


def test_the_daemon_can_launch_what_the_sensor_asks_for(site: Site) -> None:
    """Partitions that are only being added resolve to runs of the free job."""
    site.write("a.csv", "prompt\none\n")
    for _ in range(2):  # the second time, nothing is new
        with dg.SensorEvaluationContext(
            instance_ref=site.instance.get_ref(),
            resources=site.defs.resources,
            repository_def=site.defs.get_repository_def(),
        ) as context:
            data = site.defs.resolve_sensor_def("new_prompt_files").evaluate_tick(context)
        (request,) = data.run_requests or []
        assert request.tags["dagster/partition"] == "a"
        site.instance.add_dynamic_partitions("prompt_set", ["a"])


def test_an_unchanged_file_keeps_its_run_key_and_a_changed_one_gets_another(site: Site) -> None:
    """The daemon starts one run per key, so a file is planned once per content."""
    path = site.write("a.csv", "prompt\none\n")

    def key() -> str | None:
        found = look(site)
        assert isinstance(found, dg.SensorResult)
        return (found.run_requests or [])[0].run_key

    first = key()
    assert key() == first
    path.write_text("prompt\none\ntwo\n")
    assert key() != first


def test_what_is_wrong_in_the_folder_is_logged_and_stops_nobody(site: Site) -> None:
    """Two files of one name and a stray one: errors that name them; the good file is planned."""
    for name in ("good.csv", "twice.csv", "twice.tsv", "stray.xlsx"):
        site.write(name, "prompt\none\n")
    said: list[str] = []
    with dg.build_sensor_context(
        instance=site.instance, resources=site.resources, definitions=site.defs
    ) as context:
        context.log.error = said.append  # type: ignore[method-assign]
        found = site.defs.resolve_sensor_def("new_prompt_files")(context)
    assert isinstance(found, dg.SensorResult)
    assert names(list(found.run_requests or [])) == ["good"]
    assert len(said) == 2
    assert any("twice.csv" in line and "twice.tsv" in line for line in said)
    assert any("stray.xlsx" in line for line in said)


def test_an_empty_folder_is_a_reason_to_skip(site: Site) -> None:
    """The reason names the folder."""
    found = look(site)
    assert isinstance(found, dg.SkipReason)
    assert str(site.layout.prompts_dir) in (found.skip_message or "")


# --- the nightly build ---


def test_the_night_builds_what_can_be_bought_and_explains_the_rest(site: Site) -> None:
    """Planned sets with something to buy are built; each other one has its reason."""
    assert tick(site, "nightly_build") == ([], "no prompt set is registered")
    site.write("work.csv", "prompt\none\n")
    site.run("plan_only", "work")
    site.write("later.csv", "prompt\none\n")
    site.instance.add_dynamic_partitions("prompt_set", ["later", "file-was-removed"])
    requests, _ = tick(site, "nightly_build")
    assert names(requests) == ["work"]
    (site.layout.prompts_dir / "work.csv").unlink()
    requests, reason = tick(site, "nightly_build")
    assert requests == []
    assert "later: it has no plan yet" in reason


def test_every_night_has_its_own_run_key(site: Site) -> None:
    """A set that could not be finished last night is tried again tonight."""
    site.write("work.csv", "prompt\none\n")
    site.run("plan_only", "work")
    keys = {tick(site, "nightly_build", NIGHT.replace(day=day))[0][0].run_key for day in (2, 3, 3)}
    assert len(keys) == 2


def test_a_price_that_is_not_known_is_a_reason(tmp_path: Path) -> None:
    """Nothing is started that could only fail."""
    with Site(tmp_path, settings_for(tmp_path, NOWHERE, profile="vtrix")) as site:
        site.write("work.csv", "prompt\none\n")
        site.run("plan_only", "work")
        requests, reason = tick(site, "nightly_build")
        assert requests == []
        assert "WAN_PRICE_USD" in reason


def test_ticks_open_no_prompt_file(site: Site) -> None:
    """They have 60 seconds: names, the stored plan and the ledger must do."""
    path = site.write("work.csv", "prompt\none\n")
    site.run("plan_only", "work")
    path.write_bytes(os.urandom(1000))  # changed, and of no use to anybody who opens it
    with opened_files() as opened:
        assert isinstance(look(site), dg.SensorResult)
        assert names(tick(site, "nightly_build")[0]) == ["work"]
        assert names(tick(site, "daily_plan")[0]) == ["work"]
        assert names(tick(site, "hourly_recovery")[0]) == []
    assert any(file.endswith("plan.json") for file in opened)
    assert [file for file in opened if file.startswith(str(site.layout.prompts_dir))] == []


def test_a_changed_wildcard_file_is_a_changed_prompt_set(site: Site) -> None:
    """The sensor plans it and the night builds it; ticks read neither the matrix nor its files."""

    def key() -> str | None:
        found = look(site)
        assert isinstance(found, dg.SensorResult)
        return (found.run_requests or [])[0].run_key

    values = site.layout.prompts_dir / "wildcards" / "hues.txt"
    values.parent.mkdir()
    values.write_text("red\n")
    site.write("set.yaml", "axes: {hue: {sweep: wildcards/hues.txt}}\ntemplates: {a: '{hue}'}\n")
    run = site.run("plan_only", "set")
    assert run.outcome.success, run.outcome
    assert run.metadata["prompts"]["matrix"].records[0].data == {
        "template": "a",
        "axes": "hue 1",
        "combinations": "1",
        "prompts": "1",
    }
    plan = Plan.load(site.layout.tables("set") / "plan.json")
    assert plan.matrix is not None
    assert plan.source_mtime_ns == changed_at_ns(site.layout.prompts_dir / "set.yaml")
    first = key()
    assert key() == first
    values.write_text("red\nblue\n")
    with opened_files() as opened:
        assert key() != first
        assert names(tick(site, "nightly_build")[0]) == ["set"]
    assert [file for file in opened if file.startswith(str(site.layout.prompts_dir))] == []
    assert plan.source_mtime_ns != changed_at_ns(site.layout.prompts_dir / "set.yaml")
    assert site.run("plan_only", "set").metadata["plan"]["requests"] == 2


def test_every_registered_set_is_planned_daily(site: Site) -> None:
    """Also those with nothing to do, so that a plan is of today."""
    requests, reason = tick(site, "daily_plan")
    assert requests == []
    assert "new_prompt_files" in reason
    site.write("a.csv", "prompt\none\n")
    site.instance.add_dynamic_partitions("prompt_set", ["a"])
    assert names(tick(site, "daily_plan")[0]) == ["a"]


def test_free_assets_follow_image_metadata_and_images_never_start_by_themselves(site: Site) -> None:
    """Once switched on, the free assets are rebuilt after their input; the paid one is not."""
    site.instance.add_dynamic_partitions("prompt_set", ["a"])
    watched = dg.AssetSelection.all()
    before = dg.evaluate_automation_conditions(site.defs, site.instance, asset_selection=watched)
    for asset in ("prompts", "plan", "images", "image_metadata"):
        site.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="a"))
    after = dg.evaluate_automation_conditions(
        site.defs, site.instance, asset_selection=watched, cursor=before.cursor
    )
    asked = {name: after.get_num_requested(dg.AssetKey(name)) for name in ASSETS}
    assert asked == {**dict.fromkeys(ASSETS, 0), "quality": 1, "gallery": 1}


def test_a_plan_that_is_made_anew_rebuilds_nothing(site: Site) -> None:
    """`quality` reads it, but follows new metadata only: plans are made every day."""
    site.instance.add_dynamic_partitions("prompt_set", ["a"])
    watched = dg.AssetSelection.all()
    for asset in ASSETS:
        site.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="a"))
    before = dg.evaluate_automation_conditions(site.defs, site.instance, asset_selection=watched)
    for asset in ("plan", "images"):
        site.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="a"))
    after = dg.evaluate_automation_conditions(
        site.defs, site.instance, asset_selection=watched, cursor=before.cursor
    )
    assert {name: after.get_num_requested(dg.AssetKey(name)) for name in ASSETS} == dict.fromkeys(
        ASSETS, 0
    )


# --- what an interrupted night leaves ---


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\0", b'{"cost_to_buy_usd": "x"}'])
@pytest.mark.parametrize("file", ["plan.json", "requests.parquet"])
def test_a_damaged_plan_skips_with_what_to_do(site: Site, file: str, content: bytes) -> None:
    """The other sets are built; the tick does not fail."""
    for name in ("a", "b"):
        site.write(f"{name}.csv", f"prompt\n{name}\n")
        assert site.run("plan_only", name).outcome.success
    (site.layout.tables("a") / file).write_bytes(content)
    assert names(tick(site, "nightly_build")[0]) == ["b"]
    (site.layout.prompts_dir / "b.csv").unlink()
    requests, reason = tick(site, "nightly_build")
    assert requests == []
    assert "plan it again" in reason
    assert "wan plan a" in reason
