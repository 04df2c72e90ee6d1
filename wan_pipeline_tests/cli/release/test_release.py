"""`wan release create`, `list`, `show` and `diff`, and `wan trace`, as a person types them."""

from __future__ import annotations

import shutil
from typing import Any

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import NOWHERE, Folder, folder_at, told
from wan_pipeline_tests.dataset.release.workshop import Workshop


def test_create_names_the_version_and_what_is_in_it(folder: Folder) -> None:
    """Nothing new: the newest version is told, and exit code 0."""
    done = folder.wan("release", "create", "toys")
    assert done.exit_code == 0
    assert "nothing has changed since toys@v2, whose split is 0.9/0.05/0.05, so" in done.stdout
    for words in ("8 of 5 prompts", "$0.21 for 6 purchases", "kites.csv", "trams.csv"):
        assert words in done.stdout
    again = told(folder, "release", "create", "toys", "trams", "kites", "--split", "90/5/5")
    assert (again["new"], again["release"]) == (False, "toys@v2")
    assert "images" not in again
    words = folder.wan("release", "create", "toys", "--split", "90/5/5", COLUMNS="300").stdout
    assert "whose split is 0.9/0.05/0.05, the same as 90/5/5, so no new version" in words


def test_a_release_says_what_no_quality_check_has_seen(folder: Folder) -> None:
    """And how to have it checked; a set that was checked is told apart from one that was not."""
    done = folder.wan("release", "show", "toys", COLUMNS="300").stdout
    assert "not known: no image was checked" in done
    assert (
        "8 of 8 images were released without a quality check (kites, trams): `wan run kites trams`"
        " checks them, free when nothing is missing; then `wan release create` makes a version"
        " that knows their flags" in done
    )
    with Workshop(folder.path) as workshop:
        workshop.judge("trams")
        done = folder.wan("release", "create", "seen", COLUMNS="300")
        workshop.layout.quality("trams").unlink()
    assert done.exit_code == 0, done.output
    assert "2 images by the quality checks, of the 2 that were checked" in done.stdout
    assert "6 of 8 images were released without a quality check (kites): `wan run kites`" in (
        done.stdout
    )
    shutil.rmtree(folder.path / "emulator/releases/seen")


def test_other_ratios_are_another_version(folder: Folder) -> None:
    """Also where no prompt is on another side for it; manifest and screen tell the new ones."""
    first = told(folder, "release", "create", "sides", "--split", "80/10/10")
    done = folder.wan("release", "create", "sides", "--split", "80.1/10/10", COLUMNS="300")
    assert done.exit_code == 0, done.output
    assert "nothing has changed" not in done.stdout
    for words in ("sides@v2", "train 80.1:", "validation 10:"):
        assert words in done.stdout
    second = told(folder, "release", "show", "sides@v2")
    assert second["split"] == {"train": "80.1", "validation": "10", "test": "10"}
    assert second["hashes"]["content"] == first["hashes"]["content"]
    again = told(folder, "release", "create", "sides", "--split", "801/100/100")
    assert (again["new"], again["release"]) == (False, "sides@v2")
    back = told(folder, "release", "create", "sides", "--split", "80/10/10")
    assert (back["new"], back["release"]) == (True, "sides@v3")
    shutil.rmtree(folder.path / "emulator/releases/sides")


def test_a_set_that_was_not_built_is_named(folder: Folder) -> None:
    """Where every built set is meant; whoever names sets knows which."""
    files = [
        folder.write("fresh.csv", "prompt\none\n"),
        folder.write("bad.csv", "prompt,n\none,9\n"),
    ]
    made = folder.wan("release", "create", "toys", COLUMNS="300")
    named = folder.wan("release", "create", "toys", "kites", "trams", COLUMNS="300")
    for file in files:
        file.unlink()
    assert (made.exit_code, named.exit_code) == (0, 0)
    assert "not in it, since not built yet: bad, fresh. `wan run bad fresh` builds them" in (
        made.stdout
    )
    assert "not in it" not in named.stdout


def test_list_and_show(folder: Folder) -> None:
    """Every version, and everything about one."""
    listed = told(folder, "release", "list")
    assert [(each["release"], each["images"], each["cost_usd"]) for each in listed] == [
        ("toys@v1", 6, "0.15"),
        ("toys@v2", 8, "0.21"),
    ]
    assert "toys@v1" in folder.wan("release", "list").stdout
    shown = told(folder, "release", "show", "toys@v1")
    assert shown["counts"]["images"] == 6
    assert [each["name"] for each in shown["prompt_sets"]] == ["kites"]
    assert shown["settings"].keys() == {
        "model",
        "dialect",
        "request_form",
        "base_seed",
        "truncate_prompts",
    }
    assert {each["name"] for each in shown["tables"][0]["columns"]} >= {"split", "quality_flags"}
    assert "made of" not in folder.wan("release", "show", "toys").stdout
    assert folder.wan("release", "show", "toys").stdout.splitlines()[0].strip() == "toys@v2"


def test_diff(folder: Folder) -> None:
    """In words and as JSON."""
    found = told(folder, "release", "diff", "toys@v1", "toys")
    assert [each["prompt_set"] for each in found["added"]] == ["trams", "trams"]
    assert (found["bought_usd"], found["dropped_usd"]) == ("0.06", "0")
    words = folder.wan("release", "diff", "toys@v1", "toys@v2", "--limit", "1").stdout
    assert "$0.15 -> $0.21 (+$0.06)" in words
    assert "the first 1 of 2" in words


def test_trace_goes_both_ways(folder: Folder) -> None:
    """From a file to the row, and from the row to the file."""
    prompt = told(folder, "trace", "tram")
    image = prompt["requests"][0]["images"][0]
    back = told(folder, "trace", str(folder.path / "emulator" / image["path"]))
    assert back["image_ids"] == [image["image_id"]]
    assert back["requests"][0]["prompts"][0]["prompt_id"] == "tram"
    assert back["cost_usd"] == "0.03"
    words = folder.wan("trace", "tram", COLUMNS="500").stdout
    for each in ("row 1 of", "trams.csv", "toys@v2", "task-", "intent"):
        assert each in words
    done = folder.wan("trace", str(folder.path / "prompts" / "kites.csv"))
    assert done.exit_code == ExitCode.INCOMPLETE
    assert "no image that is known" in done.stdout


def test_nothing_is_there_yet(tmp_path: Any) -> None:
    """What to do first."""
    empty = folder_at(tmp_path, NOWHERE)
    assert told(empty, "release", "list") == []
    assert "wan release create NAME" in empty.wan("release", "list").stdout
    assert empty.wan("release", "verify").exit_code == 0
    done = empty.wan("trace", "kite")
    assert done.exit_code == ExitCode.USAGE
    assert "no ledger" in done.stdout
