"""`wan reproduce`: the price first, the same requests once more, and what is said of a change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.reproduction.table import DRIFT
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.cli.conftest import Folder, folder_at
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

PROMPTS = """prompt_id,prompt,n,prompt_extend
boat,a boat on a lake,2,false
hut,a mountain hut,1,false
kite,a red kite,1,false
tower,a tower at night,1,true
"""
LAST_LINE = re.compile(
    r"submitted=(\d+) stored=(\d+) compared=(\d+) drifted=(\d+) cost_usd=(\d+\.\d\d) verdict=(\w+)"
)
RELEASED_USD = Decimal("0.15")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """Somebody to buy from."""
    with RunningEmulator(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shop: RunningEmulator) -> Folder:
    """Four requests, five images, released once for all tests; each takes a label of its own."""
    folder = folder_at(tmp_path_factory.mktemp("data"), shop.base_url)
    folder.write("things.csv", PROMPTS)
    for args in (("run", "things"), ("release", "create", "things")):
        done = folder.wan(*args)
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(built: Folder, shop: RunningEmulator) -> Iterator[Folder]:
    """The same, and a provider that is well again afterwards."""
    yield built
    shop.set_plan(FAST)


def last_line(done: Result) -> tuple[str, ...]:
    """What the last line of standard output tells."""
    found = LAST_LINE.fullmatch(done.stdout.splitlines()[-1])
    assert found is not None, done.output
    return found.groups()


def reproduce(folder: Folder, label: str, *args: str, sample: str = "3") -> Result:
    """Run the command without being asked."""
    return folder.wan("reproduce", "things", "--yes", "--label", label, "--sample", sample, *args)


def rows(folder: Folder, label: str) -> list[dict[str, Any]]:
    """The drift table."""
    path = folder.path / "emulator/reproductions/things-v1" / label / "drift.parquet"
    table = pq.read_table(path)
    assert table.schema.equals(DRIFT, check_metadata=True)
    return table.to_pylist()


def ledger_of(folder: Folder) -> Ledger:
    """To be closed."""
    return Ledger(folder.path / "emulator/ledger.sqlite", "emulator")


def dataset_of(folder: Folder) -> tuple[Any, ...]:
    """Everything that a reproduction must leave as it was."""
    metadata = (folder.path / "emulator/metadata/things.parquet").read_bytes()
    status = json.loads(folder.wan("status", "--json").stdout)["sets"]
    (plan,) = json.loads(folder.wan("plan", "things", "--json").stdout)
    verified = folder.wan("release", "verify", "things")
    assert verified.exit_code == 0, verified.output
    return hashlib.sha256(metadata).hexdigest(), status, plan["standing"]


def test_the_price_is_told_and_asked_for_and_nothing_is_sent(
    folder: Folder, shop: RunningEmulator
) -> None:
    """Without a terminal and without --yes the command ends, and so it does after a dry run."""
    before = shop.bill()["creates_received"]
    told = folder.wan("reproduce", "things", "--sample", "3", "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    plan = json.loads(told.stdout)
    assert (plan["release"], plan["to_buy"], plan["images_to_buy"]) == ("things@v1", 3, 4)
    assert (plan["cost_usd"], plan["rewritten"]) == ("0.12", 0)
    everything = json.loads(
        folder.wan("reproduce", "things", "--sample", "all", "--dry-run", "--json").stdout
    )
    assert everything["request_ids"][:3] == plan["request_ids"] == sorted(plan["request_ids"])
    assert everything["rewritten"] == 1
    silent = folder.wan("reproduce", "things", "--sample", "3")
    assert silent.exit_code == 2
    assert "pass --yes if this is what you want. Nothing was bought" in silent.output
    assert shop.bill()["creates_received"] == before


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["nothing"], "there is no release 'nothing'"),
        (["things@v7"], "has no version v7"),
        (["things", "--sample", "0"], "is no size of a sample"),
        (["things", "--label", "../x"], "cannot label a reproduction"),
        (["things", "--budget", "much"], "is no amount"),
    ],
)
def test_what_cannot_be_is_said(folder: Folder, args: list[str], why: str) -> None:
    """Before anything is sent."""
    done = folder.wan("reproduce", *args, "--yes")
    assert (done.exit_code, why in done.output) == (2, True), done.output


@pytest.mark.slow
def test_same_model_has_not_drifted_and_the_dataset_is_as_it_was(
    folder: Folder, shop: RunningEmulator
) -> None:
    """Equal bytes come; a second run under the label buys nothing; the bill is the ledger's."""
    before = dataset_of(folder)
    done = reproduce(folder, "calm")
    assert done.exit_code == 0, done.output
    assert last_line(done) == ("3", "4", "4", "0", "0.12", "no_drift")
    again = reproduce(folder, "calm", "--json")
    assert again.exit_code == 0, again.output
    found = json.loads(again.stdout)
    assert (found["submitted"], found["report"]["outcomes"]["identical"]) == (0, 4)
    assert dataset_of(folder) == before
    assert {row["attempt"] for row in rows(folder, "calm")} == {-1}
    with ledger_of(folder) as ledger:
        assert str(ledger.spent()) == shop.bill()["usd"]
        assert ledger.committed(prompt_set="reproduce/things@v1/calm") == Decimal("0.12")


@pytest.mark.slow
def test_changed_model_is_told_by_image(folder: Folder, shop: RunningEmulator) -> None:
    """Every picture that counts is named; that of a rewritten prompt is told apart."""
    shop.set_plan(FAST.model_copy(update={"model_revision": 1}))
    done = reproduce(folder, "changed", sample="all")
    assert done.exit_code == 3, done.output
    assert last_line(done) == ("4", "5", "4", "4", "0.15", "drift")
    found = rows(folder, "changed")
    drifted = {(row["prompt_id"], row["image_index"]) for row in found if row["drifted"]}
    assert drifted == {("boat", 0), ("boat", 1), ("hut", 0), ("kite", 0)}
    (tower,) = [row for row in found if row["prompt_id"] == "tower"]
    assert (tower["outcome"], tower["rewritten"], tower["counted"]) == ("changed", True, False)
    assert all(row["old_phash"] != row["new_phash"] for row in found)
    page = (folder.path / "emulator/reproductions/things-v1/changed/index.html").read_text()
    assert page.count("as brought now") >= 5
    assert "4 of 4 images have drifted" in page
    counted = reproduce(folder, "changed", "--count-rewritten", sample="all")
    assert last_line(counted)[:4] == ("0", "0", "5", "5")
    allowed = folder.wan(
        *("reproduce", "things", "--sample", "3", "--label", "changed", "--yes"),
        WAN_DRIFT_SHARE="1",
    )
    assert (allowed.exit_code, last_line(allowed)[3:]) == (0, ("4", "0.00", "no_drift"))


@pytest.mark.slow
def test_what_came_otherwise_is_told_by_what_it_is(folder: Folder, shop: RunningEmulator) -> None:
    """Another size and a missing image are drift; a failure is not, and leaves it incomplete."""
    faults = (
        Fault(kind=FaultKind.WRONG_SIZE_IMAGE, prompt_contains="kite"),
        Fault(kind=FaultKind.MISSING_IMAGES, prompt_contains="boat", amount=1),
        Fault(kind=FaultKind.MODERATION_FAILED, prompt_contains="hut"),
    )
    shop.set_plan(FAST.model_copy(update={"faults": faults}))
    done = reproduce(folder, "odd")
    assert done.exit_code == 3, done.output
    found = {(row["prompt_id"], row["image_index"]): row for row in rows(folder, "odd")}
    assert {place: row["outcome"] for place, row in found.items()} == {
        ("boat", 0): "identical",
        ("boat", 1): "missing",
        ("hut", 0): "not_brought",
        ("kite", 0): "resized",
    }
    assert (found["hut", 0]["state"], found["hut", 0]["counted"]) == ("failed", False)
    assert last_line(done)[2:4] == ("3", "2")
    again = reproduce(folder, "odd", "--json", sample="3")
    report = json.loads(again.stdout)["report"]
    assert (report["verdict"], report["incomplete"]) == ("drift", {"failed": 1})
    assert json.loads(again.stdout)["submitted"] == 0


@pytest.mark.slow
def test_budget_stops_it_and_the_next_run_goes_on(folder: Folder, shop: RunningEmulator) -> None:
    """Exit code 4, with a report of what there is; then the rest is bought and nothing twice."""
    before = Decimal(shop.bill()["usd"])
    stopped = reproduce(folder, "thrifty", "--budget", "0.07")
    assert stopped.exit_code == 4, stopped.output
    assert "which would cost" in stopped.output
    spent = Decimal(shop.bill()["usd"]) - before
    assert Decimal(0) < spent <= Decimal("0.07")
    assert last_line(stopped)[5] == "incomplete"
    assert {row["state"] for row in rows(folder, "thrifty")} == {"stored", "not_bought"}
    done = reproduce(folder, "thrifty")
    assert (done.exit_code, last_line(done)[5]) == (0, "no_drift"), done.output
    assert Decimal(shop.bill()["usd"]) - before == Decimal("0.12")


@pytest.mark.slow
def test_unknown_one_is_decided_with_the_same_commands(
    folder: Folder, shop: RunningEmulator
) -> None:
    """It stays reserved and is never sent again; released, its price is free and nothing planned."""
    lost_answer = Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="kite")
    shop.set_plan(FAST.model_copy(update={"faults": (lost_answer,)}))
    done = reproduce(folder, "doubt")
    assert (done.exit_code, last_line(done)[5]) == (3, "incomplete"), done.output
    shop.set_plan(FAST)
    assert last_line(reproduce(folder, "doubt"))[:2] == ("0", "0")
    with ledger_of(folder) as ledger:
        (kite,) = [row for row in rows(folder, "doubt") if row["prompt_id"] == "kite"]
        assert (kite["state"], ledger.reserved()) == ("unknown", Decimal("0.03"))
    wrong = folder.wan(
        *("ledger", "release", kite["request_id"], "--why", "none", "--yes", "--set", "things")
    )
    assert (wrong.exit_code, "is stored" in wrong.output) == (2, True), wrong.output
    tasks = [task for task in shop.tasks() if task["prompt"] == "a red kite"] if False else []
    assert tasks == []
    decided = folder.wan("ledger", "release", kite["request_id"], "--why", "none", "--yes")
    assert decided.exit_code == 0, decided.output
    with ledger_of(folder) as ledger:
        assert ledger.reserved() == 0
        assert ledger.purchases([kite["request_id"]])[kite["request_id"]].attempt == 1
    assert last_line(reproduce(folder, "doubt"))[:2] == ("0", "0")
    (kite,) = [row for row in rows(folder, "doubt") if row["prompt_id"] == "kite"]
    assert kite["state"] == "released"


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(folder: Folder, shop: RunningEmulator) -> None:
    """kill -9 while tasks are at the provider; then everything is fetched and nothing bought twice."""
    before = dict(shop.bill())
    slow = LatencyLaw(queue_max_s=0.1, service_median_s=1500, service_sigma=0)
    shop.set_plan(EmulatorPlan(speed_up=1000, latency=slow))
    args = ("reproduce", "things", "--yes", "--label", "killed", "--sample", "all")
    with folder.start(*args) as process:
        deadline = time.monotonic() + PATIENCE_S
        while shop.bill()["creates_accepted"] < before["creates_accepted"] + 2:
            assert time.monotonic() < deadline, "nothing was bought"
            assert process.poll() is None, process.communicate()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    with ledger_of(folder) as ledger:
        assert ledger.unfinished()
        assert {each.attempt for each in ledger.unfinished()} < set(range(-20, 0))
    shop.set_plan(FAST)
    done = reproduce(folder, "killed", sample="all")
    doubtful = [row for row in rows(folder, "killed") if row["state"] == "unknown"]
    assert done.exit_code == (3 if doubtful else 0), done.output
    created = shop.bill()["creates_accepted"] - before["creates_accepted"]
    with ledger_of(folder) as ledger:
        bought = ledger.purchases(series="reproduce/things@v1/killed")
        assert len(bought) == 4
        tasks = {each.task_id for each in bought.values() if each.task_id}
        unknown = [each for each in bought.values() if each.state == "unknown"]
        assert len(tasks) <= created <= len(tasks) + len(unknown)
        billed = Decimal(shop.bill()["usd"])
        assert ledger.spent() <= billed <= ledger.committed()
