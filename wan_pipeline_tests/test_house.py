"""The README and the house rules hold for the code as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.definitions import defs
from wan_pipeline.prompts.tables import PROMPTS
from wan_pipeline.settings import Settings
from wan_pipeline.wan.profiles import PROFILES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_readme_lists_every_setting(name: str) -> None:
    """A setting that nobody can find is none."""
    assert f"`WAN_{name.upper()}`" in README


@pytest.mark.parametrize("column", METADATA.names)
def test_readme_lists_every_metadata_column(column: str) -> None:
    """The table's columns are its interface."""
    section = README.partition("columns of the metadata table")[2].partition("## ")[0]
    assert f"`{column}`" in section


@pytest.mark.parametrize("column", sorted(set(PROMPTS.names) - {"prompt_columns", "row"}))
def test_readme_lists_every_prompt_column(column: str) -> None:
    """So are the prompt table's."""
    assert f"| `{column}` |" in README.partition("## The prompt table")[2].partition("## ")[0]


def test_readme_lists_every_exit_code() -> None:
    """Scripts are written against them."""
    section = README.partition("| exit code |")[2].partition("## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_readme_names_every_key_variable_job_and_automation() -> None:
    """What the UI shows can be looked up."""
    repository = defs.get_repository_def()
    names = [
        *(profile.key_variable for profile in PROFILES.values()),
        *(schedule.name for schedule in repository.schedule_defs),
        *(sensor.name for sensor in repository.sensor_defs),
        *(name for name in repository.job_names if not name.startswith("__")),
    ]
    assert [name for name in names if f"`{name}`" not in README] == []


def test_pictures_of_the_readme_exist() -> None:
    """A picture that is not there is worse than none."""
    pictures = re.findall(r"!\[[^]]*]\(([^)]+)\)", README)
    assert pictures
    assert [picture for picture in pictures if not (ROOT / picture).is_file()] == []


def test_constraints_pin_versions_and_name_no_place() -> None:
    """Locked versions come from whatever index the user has."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[^\s/@]+", line)] == []


def test_arrows_of_the_architecture_hold() -> None:
    """The same contracts as in `make lint`, for who runs only the tests."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
