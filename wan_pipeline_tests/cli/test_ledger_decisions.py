"""`wan ledger`: what a person decides with it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.ledger import schema
from wan_pipeline_tests.cli.conftest import (
    KITE,
    MADE,
    NEVER,
    buy,
    folder_at,
    last_line,
    shown,
    workbench,
)
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


FOREIGN = "somebody else's"


def states(folder: Folder, request_id: str) -> list[str]:
    """The states of a request's attempts, the newest first."""
    return [each["state"] for each in shown(folder, request_id)["purchases"]]


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


@pytest.mark.slow
def test_a_mistaken_task_that_was_fetched_is_put_right(
    doubtful: Folder, provider: RunningEmulator, tmp_path: Path
) -> None:
    """Another folder's image was stored for this prompt; the right one takes its place."""
    buy(folder_at(tmp_path / "other", provider.base_url), make_request(FOREIGN))
    tasks = {task["content"]["prompt"]: task["id"] for task in provider.tasks()}
    args = ("ledger", "adopt", MADE[:8], "--why", "seen in the console", "--yes")
    assert doubtful.wan(*args, tasks[FOREIGN]).exit_code == 0
    doubtful.wan("reconcile")
    assert states(doubtful, MADE) == ["stored"]
    right = doubtful.wan(*args, tasks["made in doubt"], COLUMNS="300")
    assert right.exit_code == 0, right.output
    assert f"What task {tasks[FOREIGN]} brought is no longer this request's" in right.output
    doubtful.wan("reconcile")
    shown = json.loads(doubtful.wan("ledger", "show", "--json", MADE).stdout)
    assert [each["task_id"] for each in shown["purchases"]] == [tasks["made in doubt"]]
    assert states(doubtful, MADE) == ["stored"]
    assert provider.bill()["creates_received"] == 5


@pytest.mark.slow
def test_an_adopted_task_of_another_body_says_nothing_of_ours(
    doubtful: Folder, provider: RunningEmulator, tmp_path: Path
) -> None:
    """It brings four images where one was asked for: no form is to blame, and buying goes on."""
    elsewhere = folder_at(tmp_path / "elsewhere", provider.base_url)
    buy(elsewhere, make_request("of somebody else", n=4))
    (task,) = [task for task in provider.tasks() if task["content"]["prompt"] == "of somebody else"]
    args = ("ledger", "adopt", MADE[:8], task["id"], "--why", "mistaken", "--yes")
    assert doubtful.wan(*args).exit_code == 0
    fetched = doubtful.wan("reconcile")
    assert "not understood" not in fetched.output
    assert fetched.exit_code == 3, fetched.output  # one is unknown still
    doubtful.write("set.csv", "prompt_id,prompt\na,one\nb,two\n")
    bought = doubtful.wan("run", "set")
    assert bought.exit_code == 3, bought.output  # the same one, which is of no set
    assert last_line(bought.stdout) == (2, 2, 1, Decimal("0.06"))


def test_one_that_cannot_be_decided_spoils_the_whole_command(doubtful: Folder) -> None:
    """So that a list of ids is done or not done, never half."""
    done = doubtful.wan("ledger", "release", NEVER[:8], KITE[:8], "--why", "x", "--yes")
    assert done.exit_code == 2, done.output
    assert f"{KITE[:12]} is stored" in done.output
    assert states(doubtful, NEVER) == ["unknown"]


@pytest.mark.parametrize("command", ["release", "write-off"])
def test_one_whose_run_is_at_work_spoils_the_whole_command(doubtful: Folder, command: str) -> None:
    """The ledger itself refuses it, after the first was looked at."""
    with workbench(doubtful).ledger() as ledger, ledger.owner("at work") as owner:
        of_never = schema.purchases.c.request_id == NEVER
        mine = sa.update(schema.purchases).where(of_never).values(owner_id=owner.owner_id)
        ledger.apply_now(lambda tx: tx.connection.execute(mine))
        done = doubtful.wan("ledger", command, MADE[:8], NEVER[:8], "--why", "x", "--yes")
    assert done.exit_code == 2, done.output
    assert "still at work" in done.output
    assert (states(doubtful, MADE), states(doubtful, NEVER)) == (["unknown"], ["unknown"])


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
