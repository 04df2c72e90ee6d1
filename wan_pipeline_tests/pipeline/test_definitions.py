"""The definitions load anywhere, and say what they are."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.definitions import build_defs, defs
from wan_pipeline.settings import Settings
from wan_pipeline_tests.pipeline.site import ASSETS

ROOT = Path(__file__).parents[2]
UNDIVIDED = ("spend", "release", "exports", "drift")

LOAD_WITH_NOTHING = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("the network was used")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
socket.getaddrinfo = refuse
import dagster as dg
from wan_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs)
"""


def specs() -> list[dg.AssetSpec]:
    """Every asset as Dagster knows it."""
    return list(defs.resolve_all_asset_specs())


def dg_command(*args: str) -> subprocess.CompletedProcess[str]:
    """Run Dagster's own command line in the checkout."""
    command = Path(sys.executable).with_name("dg")
    return subprocess.run(
        [str(command), *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_loading_needs_no_network_no_key_and_no_data_folder(tmp_path: Path) -> None:
    """Importing the definitions in an empty folder with an empty environment makes nothing."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_WITH_NOTHING],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("data*")) == []


def test_everything_resolves() -> None:
    """Every asset, check, job, schedule and sensor finds what it refers to."""
    dg.Definitions.validate_loadable(build_defs(Settings()))


def test_the_assets_are_there() -> None:
    """The graph has the assets of the design, in its order."""
    assert {spec.key.to_user_string() for spec in specs()} == {*ASSETS, *UNDIVIDED}
    deps = {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
        for spec in specs()
    }
    assert deps == {
        "prompts": set(),
        "plan": {"prompts"},
        "images": {"plan"},
        "image_metadata": {"plan", "images"},
        "quality": {"plan", "images", "image_metadata"},
        "gallery": {"image_metadata", "quality"},
        "spend": {"images"},
        "release": {"image_metadata", "quality"},
        "exports": {"release"},
        "drift": {"release"},
    }


@pytest.mark.parametrize("name", [*ASSETS, *UNDIVIDED])
def test_an_asset_says_what_it_is(name: str) -> None:
    """Description, group, kinds, owners and code version are what the UI shows."""
    spec = next(spec for spec in specs() if spec.key == dg.AssetKey(name))
    assert spec.description is not None
    assert len(spec.description.split()) >= 30
    assert spec.group_name == "dataset"
    assert spec.kinds
    assert spec.owners == ["team:wan-pipeline"]
    assert spec.code_version


def test_partitions_are_prompt_sets_but_for_what_covers_many() -> None:
    """What was spent is not divided: a purchase that two sets share would be in it twice.

    A release holds as many sets as one likes.
    """
    partitions = {spec.key.to_user_string(): spec.partitions_def for spec in specs()}
    assert {partitions.pop(name) for name in UNDIVIDED} == {None}
    assert set(partitions) == set(ASSETS)
    for each in partitions.values():
        assert isinstance(each, dg.DynamicPartitionsDefinition)
        assert each.name == "prompt_set"


def test_only_what_buys_is_fenced_by_the_pool_and_nothing_paid_is_automatic() -> None:
    """The account's pool belongs to the two assets that buy, which start by themselves never."""
    graph = defs.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    names = (*ASSETS, *UNDIVIDED)
    assert pools == {name: {"wan_api"} if name in ("images", "drift") else set() for name in names}
    automatic = {spec.key.to_user_string() for spec in specs() if spec.automation_condition}
    assert automatic == {"quality", "gallery"}


def test_schedules_and_sensors_exist_and_are_off() -> None:
    """Nothing runs by itself until a person switches it on."""
    crons = {
        "daily_plan": "30 1 * * *",
        "nightly_build": "0 2 * * *",
        "hourly_recovery": "0 * * * *",
        "hourly_spend": "30 * * * *",
        "weekly_canary": "0 3 * * 1",
    }
    schedules = {name: defs.resolve_schedule_def(name) for name in crons}
    assert {name: schedule.cron_schedule for name, schedule in schedules.items()} == crons
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}
    sensors = [defs.resolve_sensor_def(name) for name in ("new_prompt_files", "follow_up")]
    assert {each.default_status.value for each in [*schedules.values(), *sensors]} == {"STOPPED"}
    repository = defs.get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {"new_prompt_files", "follow_up"}


def test_jobs_say_whether_they_spend() -> None:
    """The description of every job tells what it costs."""
    words = {
        "build_dataset": "Spends",
        "plan_only": "Free",
        "recover": "Never",
        "publish": "Free",
        "report_spend": "Free",
        "make_release": "Free",
        "reproduce": "Spends",
        "verify_releases": "Free",
    }
    for name, word in words.items():
        assert word in (defs.resolve_job_def(name).description or "")


def test_only_the_last_check_blocks() -> None:
    """A blocking check earlier would cost the user what succeeded."""
    graph = defs.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {"every_request_stored"}
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert checks == {
        ("prompts", "no_rejects"),
        ("plan", "seeds_are_reproducible"),
        ("image_metadata", "image_count_is_sum_of_n"),
        ("image_metadata", "cost_is_within_plan"),
        ("image_metadata", "sizes_are_as_requested"),
        ("image_metadata", "no_duplicate_images"),
        ("quality", "images_differ"),
        ("quality", "images_are_not_blank"),
        ("quality", "images_can_be_decoded"),
        ("quality", "watermarks_are_where_asked_for"),
        ("quality", "no_moderation_failures"),
        ("quality", "every_prompt_has_an_image"),
        ("gallery", "every_request_stored"),
        ("spend", "no_unknowns"),
        ("spend", "nothing_about_to_expire"),
        ("spend", "ledger_agrees_with_files"),
        ("spend", "reported_cost_is_the_price"),
        ("spend", "spend_within_budget"),
        ("drift", "no_drift"),
        ("release", "releases_are_whole"),
        ("release", "no_image_on_two_sides"),
    }


@pytest.mark.slow
def test_dagsters_own_command_line_knows_the_project() -> None:
    """`dg check defs` and `dg list defs` work in a checkout."""
    checked = dg_command("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = dg_command("list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    for name in (*ASSETS, *UNDIVIDED, "build_dataset", "nightly_build", "new_prompt_files"):
        assert f'"{name}"' in listed.stdout
