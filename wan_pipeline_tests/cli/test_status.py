"""`wan status`: states, money against its caps, deadlines, and what it tells over damage."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.ledger.pace import Pause, pause
from wan_pipeline_tests.cli.conftest import buy, workbench
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


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


def test_status_tells_until_when_creates_are_paused(folder: Folder) -> None:
    """A pause holds for every run of the account; one that is over is not told."""
    buy(folder, make_request("kite"))
    assert json.loads(folder.wan("status", "--json").stdout)["creates_paused_until"] is None
    with workbench(folder).ledger() as ledger:
        now = datetime.now(UTC)
        asked = Pause(retry_after_s=600.0, first_s=1.0, longest_s=60.0)
        pausing = partial(pause, profile="emulator", limit="creates", asked=asked, now=now)
        ledger.apply_now(pausing)
    until = datetime.fromisoformat(
        json.loads(folder.wan("status", "--json").stdout)["creates_paused_until"]
    )
    assert timedelta(seconds=590) < until - now < timedelta(seconds=610)
    shown = folder.wan("status", COLUMNS="200").stdout
    assert f"{until:%H:%M:%S} UTC, for every run of the account" in shown


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
