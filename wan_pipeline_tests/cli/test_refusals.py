"""What keeps any command from starting is named, exits with 2, and nothing is sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder


def test_a_wrong_setting_exits_2_and_is_named(idle: Folder) -> None:
    """As the variable that the user set."""
    idle.write("a.csv", "prompt\none\n")
    done = idle.wan("plan", WAN_PRICE_USD="-1")
    assert done.exit_code == 2, done.output
    assert "WAN_PRICE_USD" in done.output


@pytest.mark.parametrize("command", ["plan", "run", "status"])
@pytest.mark.parametrize("url", ["cloud.vtrix.ai", "https://me:hunter2@cloud.vtrix.ai"])
def test_a_mistyped_base_url_exits_2(idle: Folder, command: str, url: str) -> None:
    """Before anything starts; a password in it is not repeated."""
    idle.write("a.csv", "prompt\none\n")
    done = idle.wan(command, WAN_BASE_URL=url)
    assert done.exit_code == 2, done.output
    assert "WAN_BASE_URL" in done.output
    assert "hunter2" not in done.output
    assert not (idle.path / "emulator").exists()


def test_a_key_that_travels_unencrypted_is_warned_of(idle: Folder) -> None:
    """The plan is free, so it is the place to say so."""
    idle.write("a.csv", "prompt\none\n")
    done = idle.wan("plan", WAN_BASE_URL="http://gateway.invalid")
    assert done.exit_code == 0, done.output
    assert "unencrypted" in done.output
    assert "unencrypted" not in idle.wan("plan").output


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\x89PNG\xff", b'{"faults": [{}]}'])
def test_an_emulator_plan_that_cannot_be_used_exits_2(idle: Folder, content: bytes | None) -> None:
    """Under the name by which it was given."""
    idle.write("a.csv", "prompt\none\n")
    path = idle.path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    done = idle.wan("emulator", "--plan", str(path))
    assert done.exit_code == 2, done.output
    assert f"--plan {path}" in done.output
    assert "WAN_FAULTS" not in done.output
    done = idle.wan("run", WAN_EMULATOR_PLAN=str(path), WAN_BASE_URL="")
    assert done.exit_code == 2, done.output
    assert f"WAN_EMULATOR_PLAN={path}" in done.output


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_data_folder_that_cannot_be_written_exits_2(idle: Folder, command: str) -> None:
    """With the folder's name and what to do."""
    idle.write("a.csv", "prompt\none\n")
    (idle.path / "emulator").write_text("a file where a folder should be")
    done = idle.wan(command)
    assert done.exit_code == 2, done.output
    for words in (str(idle.path / "emulator"), "writable", "WAN_DATA_DIR"):
        assert words in done.output


def test_a_folder_inside_that_cannot_be_written_exits_2(
    idle: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is mounted read-only; found out before anything is bought."""
    idle.write("a.csv", "prompt\none\n")
    images = idle.path / "emulator" / "images"
    images.mkdir(parents=True)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != images and allowed(path, mode))
    done = idle.wan("run")
    assert done.exit_code == 2, done.output
    assert f"{images} cannot be written" in done.output
