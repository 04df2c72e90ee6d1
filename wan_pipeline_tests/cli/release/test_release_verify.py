"""`wan release verify` and `list` on what is damaged: what is wrong, and what to do about it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import Folder, told

if TYPE_CHECKING:
    from pathlib import Path


def advice(folder: Folder, *args: str) -> str:
    """The last thing that `verify` says when something differs."""
    done = folder.wan("release", "verify", *args, COLUMNS="400")
    assert done.exit_code == ExitCode.INCOMPLETE, done.output
    return done.stdout.splitlines()[-1]


def test_verify_tells_a_whole_one_and_a_damaged_one(folder: Folder) -> None:
    """Exit code 3, the file and what is wrong with it."""
    done = folder.wan("release", "verify")
    assert done.exit_code == 0
    assert done.stdout.count("is whole") == 2
    path = folder.path / "emulator/releases/toys/v1/purchases.parquet"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"x")
    try:
        done = folder.wan("release", "verify", "toys@v1", "--json")
        assert done.exit_code == ExitCode.INCOMPLETE
        (report,) = json.loads(done.stdout)
        (difference,) = report["differences"]
        assert (report["whole"], difference["kind"]) == (False, "bytes")
        assert difference["path"] == "releases/toys/v1/purchases.parquet"
        assert difference["path"] in folder.wan("release", "verify", "toys@v1").stdout
        refused = folder.wan("release", "show", "toys@v1")
        assert refused.exit_code == ExitCode.INCOMPLETE
        assert "purchases.parquet was changed" in refused.stdout
    finally:
        path.write_bytes(data)
    manifest = told(folder, "release", "show", "toys")["hashes"]["manifest"]
    assert folder.wan("release", "verify", "toys", "--expect", manifest).exit_code == 0
    other = folder.wan("release", "verify", "toys@v1", "--expect", manifest)
    assert other.exit_code == ExitCode.INCOMPLETE
    assert folder.wan("release", "verify", "--expect", manifest).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("table", ["images", "purchases", "events"])
def test_a_damaged_table_is_not_fetched_from_the_provider(folder: Folder, table: str) -> None:
    """A backup has it, or a new version is made; no image is concerned."""
    path = folder.path / f"emulator/releases/toys/v1/{table}.parquet"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"x")
    try:
        said = advice(folder)
    finally:
        path.write_bytes(data)
    assert said.startswith("Restore what is damaged from a backup")
    assert "`wan release create`" in said
    assert "reconcile" not in said


def test_a_damaged_image_may_be_fetched_again(folder: Folder) -> None:
    """Beside a table that is damaged, too; a backup is named once."""
    table = folder.path / "emulator/releases/toys/v1/events.parquet"
    image = min((folder.path / "emulator/images").glob("*/*.png"))
    image.rename(image.with_suffix(".away"))
    try:
        alone = advice(folder)
        table.rename(table.with_suffix(".away"))
        both = advice(folder)
    finally:
        image.with_suffix(".away").rename(image)
        table.with_suffix(".away").rename(table)
    for said in (alone, both):
        assert "`wan reconcile --deep` fetches images again" in said
        assert said.count("backup") == 1


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_release_in_another_place_is_to_be_moved_back(folder: Folder, how: str) -> None:
    """Nothing of it is damaged."""
    home = folder.path / "emulator/releases/toys"
    if how == "moved":
        (home / "v1").rename(home / "v7")
    else:
        shutil.copytree(home / "v1", home / "v7")
    try:
        said = advice(folder, "toys@v7")
    finally:
        if how == "moved":
            (home / "v7").rename(home / "v1")
        else:
            shutil.rmtree(home / "v7")
    assert said.startswith("Move ")
    assert ("back to" in said, "this is a copy" in said) == (True, True)
    assert ("backup" in said, "reconcile" in said) == (False, False)


def test_another_hash_than_expected_is_to_be_looked_up(folder: Folder) -> None:
    """It may be of another release; only if it is not was this one rewritten."""
    said = advice(folder, "toys@v1", "--expect", "0" * 64)
    assert "`wan release list --json`" in said
    assert "Restore what is damaged" not in said
    assert "reconcile" not in said


@pytest.mark.parametrize("word", ["00", "", "g" * 64, "0" * 65, "0" * 63 + "\n"])
def test_what_is_no_hash_cannot_be_expected(folder: Folder, word: str) -> None:
    """Wrong use, and no difference: exit code 2, in one sentence, before anything is read."""
    done = folder.wan("release", "verify", "toys@v1", "--expect", word)
    assert done.exit_code == ExitCode.USAGE, done.output
    for words in ("--expect", "64 hex digits", "`wan release show", "Nothing was verified"):
        assert words in done.stdout
    assert "Traceback" not in done.output


def test_an_expected_hash_may_be_in_upper_case(folder: Folder) -> None:
    """As some tools print it."""
    noted = told(folder, "release", "show", "toys@v1")["hashes"]["manifest"]
    done = folder.wan("release", "verify", "toys@v1", "--expect", noted.upper())
    assert done.exit_code == 0, done.output


def test_a_link_out_of_the_data_is_to_be_replaced_by_its_file(
    folder: Folder, tmp_path: Path
) -> None:
    """It is not damaged."""
    image = min((folder.path / "emulator/images").glob("*/*.png"))
    elsewhere = tmp_path / image.name
    shutil.move(image, elsewhere)
    image.symlink_to(elsewhere)
    try:
        said = advice(folder)
    finally:
        image.unlink()
        shutil.move(elsewhere, image)
    assert said.startswith("Put the file itself")
    assert ("backup" in said, "reconcile" in said) == (False, False)


def test_list_tells_a_damaged_manifest(folder: Folder) -> None:
    """And lists the others."""
    path = folder.path / "emulator/releases/toys/v1/manifest.json"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(b"kites", b"kitez", 1))
    try:
        done = folder.wan("release", "list")
        listed = folder.wan("release", "list", "--json")
    finally:
        path.write_bytes(data)
    assert done.exit_code == listed.exit_code == ExitCode.INCOMPLETE
    assert "manifest.json was changed" in done.stdout
    assert ["problem" in each for each in json.loads(listed.stdout)] == [True, False]


@pytest.mark.parametrize("harm", ["changed", "missing"])
@pytest.mark.parametrize("table", ["images", "purchases", "events"])
def test_list_marks_a_damaged_table(folder: Folder, table: str, harm: str) -> None:
    """As it does a damaged manifest, and as `show` and `diff` refuse it."""
    path = folder.path / f"emulator/releases/toys/v1/{table}.parquet"
    data = path.read_bytes()
    path.unlink()
    if harm == "changed":
        path.write_bytes(data[:-1] + b"x")
    try:
        done = folder.wan("release", "list")
        listed = folder.wan("release", "list", "--json")
        refused = [
            folder.wan("release", *args)
            for args in (
                ["show", "toys@v1"],
                ["diff", "toys@v1", "toys"],
                ["diff", "toys", "toys@v1"],
            )
        ]
    finally:
        path.write_bytes(data)
    assert done.exit_code == listed.exit_code == ExitCode.INCOMPLETE
    assert "damaged" in done.stdout
    assert f"{table}.parquet" in done.stdout
    assert ["problem" in each for each in json.loads(listed.stdout)] == [True, False]
    assert [(each.exit_code, f"{table}.parquet" in each.stdout) for each in refused] == [
        (ExitCode.INCOMPLETE, True)
    ] * 3


def test_list_marks_a_missing_manifest(folder: Folder) -> None:
    """The version is not hidden."""
    path = folder.path / "emulator/releases/toys/v1/manifest.json"
    data = path.read_bytes()
    path.unlink()
    try:
        listed = folder.wan("release", "list", "--json")
    finally:
        path.write_bytes(data)
    assert listed.exit_code == ExitCode.INCOMPLETE
    first, second = json.loads(listed.stdout)
    assert (first["release"], "manifest.json: it is not there" in first["problem"]) == (
        "toys@v1",
        True,
    )
    assert "problem" not in second
