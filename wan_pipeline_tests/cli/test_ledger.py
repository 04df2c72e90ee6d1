"""`wan ledger`: what it shows and exports, and what a person decides with it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.cli.conftest import buy, last_line, workbench
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

MADE = make_request("made in doubt").request_id
NEVER = make_request("never made").request_id
KITE = make_request("a kite").request_id


def shown(folder: Folder, *args: str) -> dict[str, Any]:
    """What `wan ledger show --json` tells."""
    done = folder.wan("ledger", "show", "--json", *args)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def states(folder: Folder, request_id: str) -> list[str]:
    """The states of a request's attempts, the newest first."""
    return [each["state"] for each in shown(folder, request_id)["purchases"]]


def test_purchases_are_listed_and_filtered(doubtful: Folder) -> None:
    """By state, set, day and number; money is text that Decimal reads."""
    everything = shown(doubtful)
    assert everything["count"] == len(everything["purchases"]) == 4
    assert everything["events"] is None
    unknown = shown(doubtful, "--state", "unknown")["purchases"]
    assert {each["request_id"] for each in unknown} == {MADE, NEVER}
    assert {Decimal(each["reserved_usd"]) for each in unknown} == {Decimal("0.03")}
    assert shown(doubtful, "--state", "unknown", "--state", "stored")["count"] == 4
    assert shown(doubtful, "--set", "tests")["count"] == 4
    assert shown(doubtful, "--set", "another")["count"] == 0
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    days = (today, "2001-01-01")
    assert [shown(doubtful, "--day", day)["count"] for day in days] == [4, 0]
    few = shown(doubtful, "--limit", "1")
    assert (few["count"], len(few["purchases"])) == (4, 1)
    table = doubtful.wan("ledger", "show", "--limit", "3")
    assert "1 more" in table.output
    for words in ("purchases of profile emulator", "stored", "$0.03", "tests"):
        assert words in table.output


def test_one_request_tells_its_history(doubtful: Folder) -> None:
    """By the beginning of its id; who decided and why stands in it."""
    why = "looked, and it is not there"
    released = doubtful.wan("ledger", "release", NEVER[:9], "--why", why, "--who", "mei", "--yes")
    assert released.exit_code == 0, released.output
    events = shown(doubtful, NEVER[:6])["events"]
    told = [(each["attempt"], each["from_state"], each["to_state"], each["who"]) for each in events]
    assert told == [
        (1, None, "intent", None),
        (1, "intent", "unknown", None),
        (1, "unknown", "released", "mei"),
        (2, None, "planned", "mei"),
    ]
    page = doubtful.wan("ledger", "show", NEVER[:12].upper(), COLUMNS="300").output
    for words in ("history", why, "mei", "released", "planned", "status 500"):
        assert words in page


@pytest.mark.parametrize("command", ["release", "write-off"])
def test_a_request_whose_task_is_known_is_not_given_up(
    doubtful: Folder, provider: RunningEmulator, command: str
) -> None:
    """A run on a full disk kept the task's id beside the ledger: released, it is paid twice."""
    (task_id,) = (
        task["id"] for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"
    )
    rescue = doubtful.path / "emulator" / "rescue"
    rescue.mkdir(exist_ok=True)
    line = json.dumps({"request_id": MADE, "task_id": task_id})
    (rescue / "of-a-run-that-died.jsonl").write_text(f"{line}\n")
    done = doubtful.wan("ledger", command, NEVER[:9], MADE[:9], "--why", "gone", "--yes")
    assert done.exit_code == 2, done.output
    for words in (task_id, "wan reconcile", "Nothing was changed"):
        assert words in " ".join(done.output.split())
    assert shown(doubtful, "--state", "unknown")["count"] == 2


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        ("abc", "at least the first 6"),
        ("xyz123", "at least the first 6"),
        ("ffffff00ffffff", "no request that begins with"),
    ],
)
@pytest.mark.parametrize("command", ["show", "adopt", "release", "write-off", "export"])
def test_an_id_that_names_none_is_explained(
    doubtful: Folder, command: str, beginning: str, said: str
) -> None:
    """With exit code 2, and nothing happens."""
    args = [beginning, "task"] if command == "adopt" else [beginning]
    if command in ("adopt", "release", "write-off"):
        args += ["--why", "x", "--yes"]
    done = doubtful.wan("ledger", command, *args)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert shown(doubtful, "--state", "unknown")["count"] == 2


def test_an_id_that_names_two_is_explained(folder: Folder) -> None:
    """With their longer beginnings, so that one of them can be chosen."""
    seen: dict[str, Any] = {}
    for seed in range(200_000):  # the birthday of 24 bits is at about five thousand
        request = make_request(seed=seed)
        twin = seen.setdefault(request.request_id[:6], request)
        if twin is not request:
            break
    buy(folder, twin, request)
    done = folder.wan("ledger", "show", request.request_id[:6])
    assert done.exit_code == 2, done.output
    assert "more than one" in done.output
    assert request.request_id[:20] in done.output
    assert twin.request_id[:20] in done.output
    assert shown(folder, request.request_id)["count"] == 1


def test_a_ledger_that_is_not_there_is_not_made(idle: Folder) -> None:
    """Looking leaves no trace."""
    for args in (("show",), ("export",), ("release", "abcdef", "--why", "x", "--yes")):
        done = idle.wan("ledger", *args)
        assert done.exit_code == 2, done.output
        assert "no ledger" in done.output
    done = idle.wan("reconcile")
    assert done.exit_code == 2, done.output
    assert list(idle.path.rglob("*")) == []


def test_parquet_is_exported_as_three_tables(doubtful: Folder, tmp_path: Path) -> None:
    """Into a folder of one's choice, or beside the ledger; filtered alike."""
    done = doubtful.wan("ledger", "export", "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert {path.parent for path in paths} == {tmp_path / "out"}
    rows = {path.stem: pq.read_table(path).num_rows for path in paths}
    assert (rows["purchases"], rows["images"]) == (4, 2)
    doubtful.wan("ledger", "export", "--state", "stored")
    beside = doubtful.path / "emulator" / "ledger-export"
    assert pq.read_table(beside / "purchases.parquet")["cost_usd"].to_pylist() == [
        Decimal("0.03"),
        Decimal("0.03"),
    ]
    refused = doubtful.wan("ledger", "export", "--table", "images")
    assert refused.exit_code == 2
    assert "--format csv" in refused.output


def test_csv_goes_to_standard_output_or_a_file(doubtful: Folder, tmp_path: Path) -> None:
    """One table, with a header."""
    done = doubtful.wan("ledger", "export", "--format", "csv", "--state", "unknown")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["request_id"] for row in rows} == {MADE, NEVER}
    file = tmp_path / "folder" / "events.csv"
    args = ("export", "--format", "csv", "--table", "events", "--output", str(file), NEVER[:8])
    done = doubtful.wan("ledger", *args)
    assert done.exit_code == 0, done.output
    with file.open(newline="") as stream:
        assert [row["to_state"] for row in csv.DictReader(stream)] == ["intent", "unknown"]
    assert [path.name for path in file.parent.iterdir()] == ["events.csv"]


@pytest.mark.slow
def test_a_task_that_was_found_is_adopted_and_fetched(
    doubtful: Folder, provider: RunningEmulator
) -> None:
    """From the provider's console to the dataset; nothing is bought for it."""
    (task,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    args = ("ledger", "adopt", MADE[:8], task["id"], "--why", "seen in the console")
    asked = doubtful.wan(*args)
    assert asked.exit_code == 2, asked.output
    assert "--yes" in asked.output
    done = doubtful.wan(*args, "--who", "mei", "--yes")
    assert done.exit_code == 0, done.output
    assert f"Task {task['id']} becomes its task" in done.output
    assert "$0.03" in done.output
    twice = doubtful.wan("ledger", "adopt", NEVER[:8], task["id"], "--why", "x", "--yes")
    assert twice.exit_code == 2, twice.output
    assert "already belongs to request" in twice.output
    fetched = doubtful.wan("reconcile")
    assert fetched.exit_code == 3, fetched.output  # the other one is unknown still
    assert "unknown=1 unknown_usd=0.03" in fetched.stdout.splitlines()[-1]
    assert "polled=1" in fetched.stdout.splitlines()[-1]
    (purchase,) = shown(doubtful, MADE)["purchases"]
    assert (purchase["state"], Decimal(purchase["cost_usd"])) == ("stored", Decimal("0.03"))
    bill = provider.bill()
    assert (bill["creates_received"], bill["usd"]) == (4, "0.09")


@pytest.mark.slow
def test_what_is_released_is_bought_once_more(folder: Folder, provider: RunningEmulator) -> None:
    """The next run buys it; the bill is what the ledger says, and a person's word is recorded."""
    from wan_pipeline_tests.emulator_fixture import FAST  # noqa: PLC0415

    fault = Fault(kind=FaultKind.ERROR_500_BEFORE, prompt_contains="two", first=1)
    provider.set_plan(FAST.model_copy(update={"faults": (fault,)}))
    folder.write("set.csv", "prompt_id,prompt\na,one\nb,two\n")
    first = folder.wan("run", "set")
    assert first.exit_code == 3, first.output
    assert "wan ledger adopt" in first.output
    (unknown,) = shown(folder, "--state", "unknown")["purchases"]
    again = folder.wan("run", "set")
    assert last_line(again.stdout) == (0, 0, 1, Decimal(0))
    args = ("ledger", "release", unknown["request_id"][:10], "--why", "no task in the console")
    done = folder.wan(*args, "--yes")
    assert done.exit_code == 0, done.output
    assert "paid twice" in done.output
    bought = folder.wan("run", "set")
    assert bought.exit_code == 0, bought.output
    assert last_line(bought.stdout) == (1, 1, 0, Decimal("0.03"))
    assert states(folder, unknown["request_id"]) == ["stored", "released"]
    status = json.loads(folder.wan("status", "--json").stdout)
    assert provider.bill()["usd"] == "0.06"
    assert (Decimal(status["spent_usd"]), Decimal(status["reserved_usd"])) == (Decimal("0.06"), 0)


def test_what_is_written_off_counts_as_spent(doubtful: Folder) -> None:
    """Several at once; it is not bought again, and can still be adopted."""
    args = ("ledger", "write-off", MADE[:8], NEVER[:8], "--why", "nobody can tell")
    done = doubtful.wan(*args, "--yes")
    assert done.exit_code == 0, done.output
    assert "$0.06 set aside count as spent" in done.output
    status = json.loads(doubtful.wan("status", "--json").stdout)
    money = (Decimal(status["spent_usd"]), Decimal(status["reserved_usd"]))
    assert money == (Decimal("0.12"), Decimal(0))
    assert status["purchases"]["written_off"] == 2
    again = doubtful.wan(*args, "--yes")
    assert again.exit_code == 2, again.output
    assert "is written_off" in again.output
    adopted = doubtful.wan("ledger", "adopt", NEVER[:8], "t-1", "--why", "it came up", "--yes")
    assert adopted.exit_code == 0, adopted.output
    assert states(doubtful, NEVER) == ["submitted"]


@pytest.mark.slow
def test_a_mistyped_task_is_refused_or_put_right(
    doubtful: Folder, provider: RunningEmulator
) -> None:
    """What can be no id is refused; one that can is adopted, found missing, and replaced."""
    (task,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    args = ("ledger", "adopt", MADE[:8], "--why", "seen in the console", "--yes")
    nonsense = doubtful.wan(*args, "../../_state")
    assert nonsense.exit_code == 2
    assert "is no task id" in nonsense.output
    assert doubtful.wan(*args, f"{task['id']}x").exit_code == 0
    assert doubtful.wan("reconcile").exit_code == 3
    again = doubtful.wan(*args, task["id"])
    assert again.exit_code == 0, again.output
    assert doubtful.wan("reconcile").exit_code == 3  # the other one is unknown still
    assert states(doubtful, MADE) == ["stored"]
    assert provider.bill()["creates_received"] == 4


def test_one_that_cannot_be_decided_spoils_the_whole_command(doubtful: Folder) -> None:
    """So that a list of ids is done or not done, never half."""
    done = doubtful.wan("ledger", "release", NEVER[:8], KITE[:8], "--why", "x", "--yes")
    assert done.exit_code == 2, done.output
    assert f"{KITE[:12]} is stored" in done.output
    assert states(doubtful, NEVER) == ["unknown"]


@pytest.mark.parametrize("empty", [("--why", " "), ("--why", "x", "--who", "")])
def test_a_decision_without_a_reason_or_a_name_is_none(
    doubtful: Folder, empty: tuple[str, ...]
) -> None:
    """They are for whoever asks in a year."""
    done = doubtful.wan("ledger", "release", NEVER[:8], *empty, "--yes")
    assert done.exit_code == 2, done.output
    assert "is empty" in done.output
    assert states(doubtful, NEVER) == ["unknown"]


def test_who_decides_is_the_login_name(doubtful: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a container's user without a name can decide as well."""
    monkeypatch.setenv("LOGNAME", "chen")
    doubtful.wan("ledger", "release", NEVER[:8], "--why", "x", "--yes")
    assert shown(doubtful, NEVER)["events"][-1]["who"] == "chen"

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    done = doubtful.wan("ledger", "write-off", MADE[:8], "--why", "x", "--yes")
    assert done.exit_code == 0, done.output
    assert shown(doubtful, MADE)["events"][-1]["who"] == "unknown"


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code", "state"), [("y", 0, "planned"), ("n", 1, "unknown")])
def test_a_person_at_a_terminal_is_asked(
    doubtful: Folder, answer: str, code: int, state: str
) -> None:
    """A no changes nothing, and a script that waits for it does not go on."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).with_name("wan"), "ledger", "release", NEVER[:8], "--why", "x"],
        env={**os.environ, **doubtful.env, "TERM": "dumb", "COLUMNS": "150"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, out
    assert "Release it?" in out
    assert states(doubtful, NEVER)[0] == state


def test_which_of_two_purchases_is_meant_is_asked_for(
    doubtful: Folder, provider: RunningEmulator
) -> None:
    """Of one request the dataset's own and a reproduction are in doubt; --set tells them apart."""
    series = "reproduce/kites@v1/may"
    lost_answer = Fault(kind=FaultKind.ERROR_500_AFTER)
    provider.set_plan(FAST.model_copy(update={"faults": (lost_answer,)}))
    batch = workbench(doubtful).buy(
        [make_request("made in doubt")], prompt_set=series, reproduction=True
    )
    asyncio.run(batch)
    provider.set_plan(FAST)
    unclear = doubtful.wan("ledger", "release", MADE, "--why", "none", "--yes")
    assert unclear.exit_code == 2
    assert f"bought by {series}, tests: say which with --set" in unclear.output
    chosen = doubtful.wan("ledger", "write-off", MADE, "--why", "none", "--yes", "--set", series)
    assert chosen.exit_code == 0, chosen.output
    assert sorted(states(doubtful, MADE)) == ["unknown", "written_off"]
    own = doubtful.wan("ledger", "release", MADE, "--why", "none", "--yes")
    assert own.exit_code == 0, own.output
    assert sorted(states(doubtful, MADE)) == ["planned", "released", "written_off"]
