"""`wan plan`: free, without a key, and exact; one unusable file hides no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.cli.conftest import last_line

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


def test_a_plan_needs_no_key_and_tells_the_exact_price(idle: Folder) -> None:
    """For every set, when none is named."""
    idle.write("a.csv", "prompt,n\none,4\ntwo,1\n")
    idle.write("b.jsonl", '{"prompt": "three", "replicas": 2}\n')
    done = idle.wan("plan", "--json", WAN_PROFILE="vtrix", WAN_PRICE_USD="0.0275")
    assert done.exit_code == 0, done.output
    a, b = json.loads(done.stdout)
    assert (a["prompt_set"], a["profile"], a["requests"], a["images"]) == ("a", "vtrix", 2, 5)
    assert (a["price_usd"], a["cost_to_buy_usd"]) == ("0.0275", "0.1375")
    assert (b["requests"], b["cost_to_buy_usd"]) == (2, "0.0550")
    shown = idle.wan("plan", "a", WAN_PROFILE="vtrix", WAN_PRICE_USD="0.0275")
    assert "$0.1375" in shown.stdout


def test_a_price_that_is_not_known_is_said(idle: Folder) -> None:
    """The plan is made all the same; its price is null."""
    idle.write("a.csv", "prompt\none\n")
    done = idle.wan("plan", WAN_PROFILE="seacloud")
    assert done.exit_code == 0, done.output
    assert "WAN_PRICE_USD" in done.stdout
    (plan,) = json.loads(idle.wan("plan", "--json", WAN_PROFILE="seacloud").stdout)
    assert (plan["price_usd"], plan["cost_to_buy_usd"]) == (None, None)


def test_rejected_rows_are_told_with_the_place_of_their_reasons(idle: Folder) -> None:
    """The good rows are planned."""
    idle.write("a.csv", "prompt,n,size\none,1,\ntwo,9,\nthree,1,1:9\n")
    done = idle.wan("plan")
    assert done.exit_code == 0, done.output
    assert "2 rules broken" in done.stdout
    assert "sets/a/rejects.parquet" in done.stdout


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("files", "named", "said"),
    [
        ({"a.csv": "prompt\none\n"}, ["b"], ["no prompt set b", "found: a"]),
        ({}, [], ["no prompt set at all", "CSV, TSV, JSONL or Parquet"]),
        (
            {"a.csv": "prompt\none\n", "a.jsonl": '{"prompt": "one"}\n'},
            ["a"],
            ["a.csv", "a.jsonl", "Rename"],
        ),
        ({"a.xlsx": "PK"}, ["a"], ["a.xlsx", "Convert"]),
    ],
    ids=["unknown", "none", "two of one name", "unknown type"],
)
def test_sets_that_cannot_be_meant_exit_2(
    idle: Folder, command: str, files: dict[str, str], named: list[str], said: list[str]
) -> None:
    """Before anything starts, with what to do."""
    for name, text in files.items():
        idle.write(name, text)
    done = idle.wan(command, *named)
    assert done.exit_code == 2, done.output
    assert [words for words in said if words not in done.output] == []
    assert not (idle.path / "emulator" / "ledger.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title\none\n", "column"),
        ("", "a.csv"),
        ("prompt,n\nfine,9\n", "rejects"),
        ("prompt\n", "no rows"),
    ],
    ids=["no prompt column", "empty", "no good row", "header only"],
)
def test_a_file_that_cannot_be_used_exits_2(idle: Folder, text: str, said: str) -> None:
    """With the file's name, what is wrong and what to do."""
    idle.write("a.csv", text)
    done = idle.wan("plan", "a")
    assert done.exit_code == 2, done.output
    assert "a" in done.output
    assert said in done.output


def test_one_unusable_file_hides_no_other(idle: Folder) -> None:
    """A name that two files have, a file without prompts: told, while the good ones are planned."""
    idle.write("good.csv", "prompt\none\n")
    idle.write("zoo.csv", "prompt\nbear\n")
    idle.write("twin.csv", "prompt\ntwo\n")
    idle.write("twin.jsonl", '{"prompt": "two"}\n')
    idle.write("empty.csv", "title\nx\n")
    idle.write("notes.docx", "PK")
    named = idle.wan("plan", "good")
    assert named.exit_code == 0, named.output
    every = idle.wan("plan")
    assert every.exit_code == 2, every.output
    for words in ("good", "zoo", "Rename or remove all but one", "empty.csv", "notes.docx"):
        assert words in every.output
    told = idle.wan("plan", "--json")
    assert told.exit_code == 2
    assert [each["prompt_set"] for each in json.loads(told.stdout)] == ["good", "zoo"]
    twin = idle.wan("plan", "twin")
    assert twin.exit_code == 2
    assert "Rename or remove all but one" in twin.output


def test_a_stray_file_of_another_type_is_no_failure(idle: Folder) -> None:
    """It is told, and everything that is meant was planned."""
    idle.write("good.csv", "prompt\none\n")
    idle.write("notes.docx", "PK")
    done = idle.wan("plan")
    assert done.exit_code == 0, done.output
    assert "notes.docx" in done.output


def test_a_run_over_an_unusable_file_builds_the_others(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Nothing of a bad file is bought; the exit code tells that not everything was built."""
    folder.write("bad.csv", "title\nx\n")
    folder.write("good.csv", "prompt\none\n")
    folder.write("twin.csv", "prompt\ntwo\n")
    folder.write("twin.jsonl", '{"prompt": "two"}\n')
    done = folder.wan("run")
    assert done.exit_code == 2, done.output
    assert last_line(done.stdout)[:3] == (1, 1, 0)
    assert "Rename or remove all but one" in done.output
    assert "bad.csv" in done.output
    (folder.path / "prompts" / "bad.csv").unlink()
    again = folder.wan("run")
    assert again.exit_code == 2, again.output
    assert folder.wan("run", "good").exit_code == 0
    assert provider.bill()["creates_received"] == 1


def test_a_damaged_file_is_explained_in_our_words(idle: Folder) -> None:
    """Not in those of the library that stumbled over it."""
    idle.write("a.parquet", "PAR1 and nothing else")
    done = idle.wan("plan", "a")
    assert done.exit_code == 2, done.output
    assert str(idle.path / "prompts" / "a.parquet") in done.output
