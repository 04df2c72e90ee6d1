"""`wan release` and `wan trace`, as a person types them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.ledger import schema
from wan_pipeline_tests.cli.conftest import NOWHERE, Folder, folder_at
from wan_pipeline_tests.dataset.release.conftest import KITES, TRAMS
from wan_pipeline_tests.dataset.release.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two sets, of which `toys@v1` has the first and `toys@v2` both."""
    path = tmp_path_factory.mktemp("cli")
    with Workshop(path) as workshop:
        workshop.build("kites", KITES)
        workshop.build("trams", TRAMS)
    folder = folder_at(path, NOWHERE)
    for sets in (["kites"], []):
        done = folder.wan("release", "create", "toys", *sets)
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def failing(folder: Folder) -> Iterator[Folder]:
    """The same while a request of `trams` counts as failed."""
    table = schema.purchases
    of_trams = table.c.bought_by_set == "trams"
    with Workshop(folder.path) as workshop:
        workshop.change(sa.update(table).where(of_trams).values(state="failed"))
        yield folder
        workshop.change(sa.update(table).where(of_trams).values(state="stored"))


def told(folder: Folder, *args: str) -> Any:
    """What a command prints as JSON."""
    done = folder.wan(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


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


def advice(folder: Folder, *args: str) -> str:
    """The last thing that `verify` says when something differs."""
    done = folder.wan("release", "verify", *args, COLUMNS="400")
    assert done.exit_code == ExitCode.INCOMPLETE, done.output
    return done.stdout.splitlines()[-1]


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


def test_diff(folder: Folder) -> None:
    """In words and as JSON."""
    found = told(folder, "release", "diff", "toys@v1", "toys")
    assert [each["prompt_set"] for each in found["added"]] == ["trams", "trams"]
    assert (found["bought_usd"], found["dropped_usd"]) == ("0.06", "0")
    words = folder.wan("release", "diff", "toys@v1", "toys@v2", "--limit", "1").stdout
    assert "$0.15 -> $0.21 (+$0.06)" in words
    assert "the first 1 of 2" in words


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
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES)
        workshop.build("trams", TRAMS)
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
