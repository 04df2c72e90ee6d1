"""`wan plan` and `wan status`: free, without a key, and exact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wan_pipeline import __version__
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.emulator_fixture import FAST

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


def test_a_damaged_file_is_explained_in_our_words(idle: Folder) -> None:
    """Not in those of the library that stumbled over it."""
    idle.write("a.parquet", "PAR1 and nothing else")
    done = idle.wan("plan", "a")
    assert done.exit_code == 2, done.output
    assert str(idle.path / "prompts" / "a.parquet") in done.output


def test_a_wrong_setting_exits_2_and_is_named(idle: Folder) -> None:
    """As the variable that the user set."""
    idle.write("a.csv", "prompt\none\n")
    done = idle.wan("plan", WAN_PRICE_USD="-1")
    assert done.exit_code == 2, done.output
    assert "WAN_PRICE_USD" in done.output


def test_status_before_anything(idle: Folder) -> None:
    """No ledger, no sets: zeroes, not an error."""
    done = idle.wan("status", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found["purchases"].values()) == {0}
    assert (found["spent_usd"], found["reserved_usd"], found["sets"]) == ("0", "0", {})
    assert idle.wan("status").exit_code == 0


def test_status_after_a_run_with_an_unknown(folder: Folder, provider: RunningEmulator) -> None:
    """States, money, sets, and the purchases that a person must look for."""
    doubt = Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="doubt")
    provider.set_plan(FAST.model_copy(update={"faults": (doubt,)}))
    folder.write("set.csv", "prompt\nfine\ndoubt\n")
    assert folder.wan("run").exit_code == 3
    done = folder.wan("status", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["profile"] == "emulator"
    assert {state: n for state, n in found["purchases"].items() if n} == {"stored": 1, "unknown": 1}
    assert (float(found["spent_usd"]), float(found["reserved_usd"])) == (0.03, 0.03)
    assert found["sets"]["set"]["stored"] == found["sets"]["set"]["unknown"] == 1
    assert [each["set"] for each in found["unknown"]] == ["set"]
    shown = folder.wan("status").stdout
    for words in ("$0.03", "unknown", "set"):
        assert words in shown
    assert json.loads(folder.wan("status", "another", "--json").stdout)["sets"] == {}


def test_help_is_for_newcomers() -> None:
    """Every command explains itself; the exit codes are on the first page."""
    from typer.testing import CliRunner  # noqa: PLC0415

    from wan_pipeline.cli.app import app  # noqa: PLC0415

    runner = CliRunner()
    first = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Exit codes: 0 everything complete" in first
    for command in ("plan", "run", "status", "emulator"):
        assert command in first
        page = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert page.exit_code == 0
        assert len(page.output.split()) > 20
    assert runner.invoke(app, ["--version"]).output.strip() == __version__
