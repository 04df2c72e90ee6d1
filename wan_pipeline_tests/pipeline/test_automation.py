"""Sensor and schedules: what a tick asks for, what it says when it asks for nothing."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline.generation.planning import Plan
from wan_pipeline.ledger.intents import intend
from wan_pipeline.ledger.records import Intention, PurchaseKey
from wan_pipeline.prompts.changes import changed_at_ns
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.pipeline.conftest import NOWHERE
from wan_pipeline_tests.pipeline.site import ASSETS, Site, settings_for

NIGHT = datetime(2026, 1, 2, 2, tzinfo=UTC)

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


def look(site: Site) -> dg.SensorResult | dg.SkipReason:
    """One look of the sensor, without resolving what it asks for."""
    with dg.build_sensor_context(
        instance=site.instance, resources=site.resources, definitions=site.defs
    ) as context:
        return site.defs.resolve_sensor_def("new_prompt_files")(context)


def tick(site: Site, schedule: str, at: datetime = NIGHT) -> tuple[list[dg.RunRequest], str]:
    """One tick of a schedule as the daemon evaluates it: run requests and the skip message."""
    with dg.build_schedule_context(
        instance=site.instance,
        scheduled_execution_time=at,
        resources=site.resources,
        repository_def=site.defs.get_repository_def(),
    ) as context:
        data = site.defs.resolve_schedule_def(schedule).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def names(requests: list[dg.RunRequest]) -> list[str | None]:
    """Which sets are asked for."""
    return [request.partition_key for request in requests]


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

SLOW = EmulatorPlan(
    latency=LatencyLaw(
        queue_max_s=0.05,
        service_median_s=2.5,
        service_sigma=0,
        prompt_extend_s=0,
        further_image_s=0,
    )
)


def test_leftovers_are_work_are_fetched_hourly_and_recovery_never_buys(tmp_path: Path) -> None:
    """A run gives up on slow tasks; the hour after fetches them and leaves the unbought alone."""
    with (
        RunningEmulator(tmp_path / "provider", SLOW) as provider,
        Site(
            tmp_path / "data",
            settings_for(tmp_path / "data", provider.base_url, task_patience_s=0.1),
        ) as site,
    ):
        site.write("set.csv", "prompt\none\ntwo\n")
        site.run("plan_only", "set")
        assert tick(site, "hourly_recovery") == ([], "nothing is unfinished")
        run = site.run("build_dataset", "set")
        assert run.outcome.failed_step == "gallery_every_request_stored"
        assert run.metadata["images"]["requests_failed"] == 2

        # Nothing is left to buy, but tasks are out there: the night counts them as work.
        assert names(tick(site, "nightly_build")[0]) == ["set"]
        (request,) = tick(site, "hourly_recovery")[0]
        assert request.partition_key == "set"
        assert site.defs.resolve_job_def("recover").tags["wan/buys"] == "never"
        assert request.run_config == {"ops": {"images": {"config": {"create": False}}}}

        # Something new to buy, which recovery must leave alone.
        site.write("set.csv", "prompt\none\ntwo\nthree\n")
        site.run("plan_only", "set")
        provider.set_plan(FAST)
        _wait_until_done(provider)
        recovered = site.run("recover", "set")
        assert recovered.outcome.success
        assert recovered.metadata["images"]["images_new"] == 2
        assert provider.bill()["creates_received"] == 2
        with site.ledger() as ledger:
            assert (ledger.spent(), ledger.reserved()) == (Decimal("0.06"), 0)
        assert tick(site, "hourly_recovery") == ([], "nothing is unfinished")

        # A launch that leaves the configuration out buys nothing either.
        job = site.defs.resolve_job_def("recover")
        bare = job.execute_in_process(
            instance=site.instance,
            partition_key="set",
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert bare.success
        assert provider.bill()["creates_received"] == 2

        # The next build buys the third, and then there is nothing to do at night.
        assert site.run("build_dataset", "set").outcome.success
        assert provider.bill()["creates_received"] == 3
        assert tick(site, "nightly_build") == ([], "set: everything is stored")
        os.utime(site.layout.prompts_dir / "set.csv")
        assert names(tick(site, "nightly_build")[0]) == ["set"]


def test_what_a_reproduction_left_is_fetched_with_any_set(site: Site) -> None:
    """No partition has its name, and every recovery fetches everything."""
    site.write("set.csv", "prompt\none\n")
    intention = Intention(
        profile="emulator",
        request_id="r1",
        request="{}",
        n=1,
        price_usd=Decimal("0.03"),
        bought_by_set="reproduce/kites@v1/may",
        dialect="gateway",
        form="flat",
        code_version="test",
        reproduction=True,
    )
    with site.ledger() as ledger, ledger.owner("dead") as owner:
        change = partial(intend, intention=intention, owner=owner, now=NIGHT)
        assert isinstance(ledger.apply_now(change), PurchaseKey)
    requests, reason = tick(site, "hourly_recovery")
    assert (requests, "`wan reconcile` fetches" in reason) == ([], True)
    site.instance.add_dynamic_partitions("prompt_set", ["set"])
    assert names(tick(site, "hourly_recovery")[0]) == ["set"]


def _wait_until_done(provider: RunningEmulator) -> None:
    for _ in range(200):
        tasks = provider.bill()["tasks"]
        if not tasks["queued"] and not tasks["running"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"tasks do not end: {provider.bill()}")


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
