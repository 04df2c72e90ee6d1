"""`wan release create` where it makes nothing, with the way out of it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.ledger import schema
from wan_pipeline_tests.cli.conftest import NOWHERE, Folder, folder_at, told
from wan_pipeline_tests.dataset.release.toys import toys
from wan_pipeline_tests.dataset.release.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def failing(folder: Folder) -> Iterator[Folder]:
    """The same while a request of `trams` counts as failed."""
    table = schema.purchases
    of_trams = table.c.bought_by_set == "trams"
    with Workshop(folder.path) as workshop:
        workshop.change(sa.update(table).where(of_trams).values(state="failed"))
        yield folder
        workshop.change(sa.update(table).where(of_trams).values(state="stored"))


def test_an_incomplete_set_needs_a_word(failing: Folder) -> None:
    """Exit code 3 without it; with it the manifest and the screen say what is missing."""
    done = failing.wan("release", "create", "rest", "trams")
    assert done.exit_code == ExitCode.INCOMPLETE
    assert "2 requests are not complete: trams, prompt kite: failed" in done.stdout
    assert "`wan run --retry failed` buys the request again, up to WAN_MAX" in done.stdout
    done = failing.wan("release", "create", "rest", "--incomplete")
    assert done.exit_code == 0
    assert "missing: trams, prompt tram" in done.stdout
    assert "(incomplete)" in failing.wan("release", "list", COLUMNS="200").stdout
    shutil.rmtree(failing.path / "emulator/releases/rest")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["release", "create", "Toys"], "cannot name a release"),
        (["release", "create", "toys", "nothing"], "no prompt set 'nothing'"),
        (["release", "create", "toys", "../kites"], "no prompt set '../kites'"),
        (["release", "create", "toys", "--split", "1/1"], "is no split"),
        (["release", "create", "toys", "--split", "1.0123456789/1/1"], "at most 9 digits"),
        (["release", "show", "nothing"], "there is no release 'nothing'"),
        (["release", "verify", "toys@v9"], "no version v9"),
        (["release", "diff", "toys", "toys@x"], "names no release"),
        (["trace", "nobody"], "nothing is known of 'nobody'"),
    ],
)
def test_wrong_use_is_one_sentence(folder: Folder, args: list[str], says: str) -> None:
    """Exit code 2, and nothing was made."""
    done = folder.wan(*args)
    assert done.exit_code == ExitCode.USAGE, done.output
    assert says in done.stdout
    assert "Traceback" not in done.output


@pytest.mark.parametrize("named", [["empty"], []], ids=["named", "every set"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("prompt,n\none,9\ntwo,9\n", "every row was rejected, and "),
        ("prompt,n\n", "it had no rows. Add at least one"),
    ],
    ids=["rejected", "no rows"],
)
def test_a_set_without_a_usable_row_is_not_sent_back_to_the_run(
    tmp_path: Any, text: str, why: str, named: list[str]
) -> None:
    """The run has said so already: what is wrong is in the file, and that is named."""
    folder = folder_at(tmp_path, NOWHERE)
    file = folder.write("empty.csv", text)
    assert folder.wan("run", "empty").exit_code == ExitCode.USAGE
    done = folder.wan("release", "create", "emp", *named)
    assert done.exit_code == ExitCode.USAGE
    assert f"prompt set empty has no usable row: when {file} was last read, {why}" in done.stdout
    assert "then `wan run empty`" in done.stdout
    assert "not built yet" not in done.stdout
    if "rejected" in why:
        assert f"{tmp_path}/emulator/sets/empty/rejects.parquet says why" in done.stdout


def test_a_set_that_was_never_run_is(tmp_path: Any) -> None:
    """Beside one without a usable row, too: what the other one needs is still the run."""
    folder = folder_at(tmp_path, NOWHERE)
    folder.write("empty.csv", "prompt,n\none,9\n")
    folder.write("fresh.csv", "prompt\none\n")
    assert folder.wan("plan", "empty").exit_code == ExitCode.USAGE
    for named in (["fresh"], []):
        done = folder.wan("release", "create", "emp", *named)
        assert done.exit_code == ExitCode.USAGE
        assert "built yet: `wan run" in done.stdout


def test_a_built_set_whose_rows_are_all_rejected_by_now_is_told_so(folder: Folder) -> None:
    """Its images are there, and no row of the file that they came from."""
    file = folder.path / "prompts" / "kites.csv"
    text = file.read_text()
    file.write_text("prompt,n\none,9\n")
    unread = folder.wan("release", "create", "toys", "kites")
    assert folder.wan("plan", "kites").exit_code == ExitCode.USAGE
    read = folder.wan("release", "create", "toys", "kites")
    file.write_text(text)
    assert folder.wan("plan", "kites").exit_code == ExitCode.COMPLETE
    assert unread.exit_code == ExitCode.INCOMPLETE
    assert "and none of its rows can be used: `wan plan kites` tells why" in unread.stdout
    assert "rejects.parquet" not in unread.stdout
    assert read.exit_code == ExitCode.USAGE
    assert "emulator/sets/kites/rejects.parquet says why" in read.stdout


def test_a_built_set_whose_prompt_file_is_gone_is_not_left_out_silently(folder: Folder) -> None:
    """Without names every set that was built is meant; both ways out are told, and work."""
    file = folder.path / "prompts" / "trams.csv"
    text = file.read_text()
    file.unlink()
    refused = folder.wan("release", "create", "whole")
    named = folder.wan("release", "create", "whole", "kites", "--json")
    file.write_text(text)
    whole = told(folder, "release", "create", "whole")
    shutil.rmtree(folder.path / "emulator/releases/whole")
    assert refused.exit_code == ExitCode.USAGE, refused.output
    assert (
        f"prompt set trams was built, but its file is no longer in {folder.path}/prompts. Put it"
        " back, or name the sets to release without it: `wan release create NAME kites`. Nothing"
        " was made" in refused.stdout
    )
    made = json.loads(named.stdout)
    assert [each["name"] for each in made["prompt_sets"]] == ["kites"]
    assert (made["release"], whole["release"]) == ("whole@v1", "whole@v2")
    assert [each["name"] for each in whole["prompt_sets"]] == ["kites", "trams"]


def test_where_every_prompt_file_is_gone_only_they_help(tmp_path: Any) -> None:
    """No set is left that could be named; "was not built" would be untrue."""
    with toys(tmp_path):
        pass
    folder = folder_at(tmp_path, NOWHERE)
    for name in ("kites", "trams"):
        (folder.path / "prompts" / f"{name}.csv").unlink()
    done = folder.wan("release", "create", "toys")
    assert done.exit_code == ExitCode.USAGE, done.output
    assert (
        "prompt sets kites, trams were built, but their files are no longer in"
        f" {folder.path}/prompts. Put them back. Nothing was made" in done.stdout
    )


def test_a_changed_prompt_file_is_told_with_exit_code_3(folder: Folder) -> None:
    """What the run's log would say."""
    file = folder.path / "prompts" / "kites.csv"
    text = file.read_text()
    file.write_text(text.replace("red", "green"))
    done = folder.wan("release", "create", "toys", "kites")
    file.write_text(text)
    assert done.exit_code == ExitCode.INCOMPLETE
    assert "changed after it was planned" in done.stdout
