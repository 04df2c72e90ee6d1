"""`wan plan` and `wan status`: free, without a key, and exact."""

from __future__ import annotations

import asyncio
import io
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from wan_pipeline import __version__
from wan_pipeline.cli.console import unfinished_table
from wan_pipeline.cli.screen import say, warn
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.generation.planning import UnfinishedRequest
from wan_pipeline_tests.cli.conftest import last_line, workbench
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

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
    assert (found["spent_usd"], found["reserved_usd"], found["sets"]) == ("0.00", "0.00", {})
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
    another = folder.wan("status", "another")
    assert another.exit_code == 2, another.output
    assert "no prompt set another" in another.output


def test_status_tells_what_is_left_of_every_cap(doubtful: Folder) -> None:
    """Paid or reserved counts; a set that is not planned has no line, a run starts anew."""
    caps = {
        "WAN_BUDGET_TOTAL_USD": "0.12",
        "WAN_BUDGET_DAY_USD": "1",
        "WAN_BUDGET_SET_USD": "2",
        "WAN_BUDGET_RUN_USD": "3",
    }
    doubtful.write("tests.csv", "prompt\none\n")
    assert doubtful.wan("plan", "tests").exit_code == 0
    found = json.loads(doubtful.wan("status", "--json", **caps).stdout)["caps"]
    told = [(each["cap"], each["committed_usd"], each["left_usd"]) for each in found]
    assert told == [
        ("total", "0.12", "0.00"),
        ("day", "0.12", "0.88"),
        ("set", "0.12", "1.88"),
        ("run", "0.00", "3.00"),
    ]
    assert {each["setting"] for each in found} == set(caps)
    shown = doubtful.wan("status", COLUMNS="300", **caps).output
    for words in ("$0.88", "WAN_BUDGET_DAY_USD", "wan ledger adopt REQUEST TASK", "made in doubt"):
        assert words in shown
    assert json.loads(doubtful.wan("status", "--json").stdout)["caps"] == []


@pytest.mark.parametrize(("lifetime_s", "hurry"), [(3600.0, True), (86_400.0, False)])
def test_status_warns_of_a_deadline_that_is_near(
    folder: Folder, provider: RunningEmulator, lifetime_s: float, hurry: bool
) -> None:
    """Within two hours it says what to do; JSON has the time."""
    stuck = Fault(kind=FaultKind.STUCK_TASK)
    provider.set_plan(FAST.model_copy(update={"faults": (stuck,)}))
    batch = workbench(folder).buy(
        [make_request()], result_lifetime_s=lifetime_s, task_patience_s=0.1
    )
    asyncio.run(batch)
    done = folder.wan("status", COLUMNS="300")
    assert ("run `wan reconcile` now" in done.output) is hurry
    deadline = datetime.fromisoformat(
        json.loads(folder.wan("status", "--json").stdout)["oldest_deadline"]
    )
    left_s = (deadline - datetime.now(UTC)).total_seconds()
    assert lifetime_s - 120 < left_s <= lifetime_s


def test_status_of_an_empty_folder_makes_nothing(idle: Folder) -> None:
    """Looking leaves no trace, and says that there is nothing."""
    done = idle.wan("status")
    assert done.exit_code == 0, done.output
    assert "nothing yet" in done.output
    assert list(idle.path.rglob("*")) == []


def test_status_of_a_set_without_a_plan_says_so(idle: Folder) -> None:
    """A set that is there and one that is not are two things."""
    idle.write("a.csv", "prompt\none\n")
    known, unknown = idle.wan("status", "a"), idle.wan("status", "nosuch")
    assert (known.exit_code, unknown.exit_code) == (0, 2)
    assert "wan plan a" in known.output
    assert "found: a" in unknown.output
    assert not (idle.path / "emulator").exists()


DAMAGE = {"empty": b"", "garbage": b"PAR1 garbage PAR1", "binary": b"\xff\xfe\0", "list": b"[]"}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_request_table_is_to_be_planned_again(idle: Folder, content: bytes) -> None:
    """The other sets are shown all the same; planning mends it."""
    idle.write("a.csv", "prompt\none\n")
    idle.write("b.csv", "prompt\ntwo\n")
    assert idle.wan("plan").exit_code == 0
    (idle.path / "emulator/sets/a/requests.parquet").write_bytes(content)
    done = idle.wan("status", "--json")
    assert done.exit_code == 2, done.output
    found = json.loads(done.stdout)
    assert list(found["sets"]) == ["b"]
    assert "wan plan a" in found["damaged"][0]
    assert idle.wan("plan", "a").exit_code == 0
    assert idle.wan("status").exit_code == 0


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("file", ["plan.json", "requests.parquet"])
def test_a_run_that_cannot_plan_over_damage_is_explained(
    idle: Folder, file: str, content: bytes
) -> None:
    """The file that cannot be read is told, and so is the plan; no traceback."""
    path = idle.write("a.csv", "prompt\none\n")
    assert idle.wan("plan").exit_code == 0
    (idle.path / "emulator/sets/a" / file).write_bytes(content)
    path.write_text("title\none\n")
    done = idle.wan("run", "a")
    assert done.exit_code == 2, done.output
    assert "wan plan a" in done.output
    assert "Traceback" not in done.output
    assert done.stdout.splitlines()[-1].startswith("submitted=0 stored=0")


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


def test_words_of_others_do_not_steer_the_terminal() -> None:
    """Neither in sentences nor in tables; text of any script stays as it is."""
    odd = "\x1b[2J\x9b31m\u202egnp.exe 清晨"
    request = UnfinishedRequest(
        request_id="0" * 64, prompt_id=odd, state="failed", reason=odd, reserved_usd=Decimal(0)
    )
    out = io.StringIO()
    console = Console(file=out, width=200)
    say(console, odd)
    warn(console, odd)
    console.print(unfinished_table([request]))
    assert out.getvalue().count("清晨") == 4
    assert not {"\x1b", "\x9b", "\u202e"} & set(out.getvalue())


def test_help_is_for_newcomers() -> None:
    """Every command explains itself; the exit codes are on the first page."""
    from typer.testing import CliRunner  # noqa: PLC0415

    from wan_pipeline.cli.app import app  # noqa: PLC0415

    runner = CliRunner()
    first = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Exit codes: 0 everything complete" in first
    for command in ("plan", "run", "status", "reconcile", "emulator"):
        assert command in first
        page = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert page.exit_code == 0
        assert len(page.output.split()) > 20
    for command in ("show", "export", "adopt", "release", "write-off"):
        page = runner.invoke(app, ["ledger", command, "--help"], env={"COLUMNS": "200"})
        assert page.exit_code == 0
        assert len(page.output.split()) > 20
        assert command in runner.invoke(app, ["ledger"], env={"COLUMNS": "200"}).output
    assert runner.invoke(app, ["--version"]).output.strip() == __version__
