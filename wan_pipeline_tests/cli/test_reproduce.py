"""`wan reproduce`: the price first, the same requests once more, and what is said of a change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.metadata import write_metadata
from wan_pipeline.dataset.reproduction.table import DRIFT
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.launch import open_instance, run_job
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline.generation.planning import standing_of
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.settings import Settings
from wan_pipeline_tests.cli.conftest import Folder, folder_at
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def attempts_of(folder: Folder) -> set[int]:
    """Attempts that are bought for comparison: below zero, each label's one below those before."""
    tables = (folder.path / "emulator/reproductions/things-v1").glob("*/drift.parquet")
    return {attempt for table in tables for attempt in pq.read_table(table)["attempt"].to_pylist()}


def ledger_of(folder: Folder) -> Ledger:
    """To be closed."""
    return Ledger(folder.path / "emulator/ledger.sqlite", "emulator")


def dataset_of(folder: Folder) -> tuple[Any, ...]:
    """Everything that a reproduction must leave as it was."""
    requests = Settings(data_dir=folder.path).layout.tables("things") / REQUESTS_FILE
    fresh = folder.path / "fresh.parquet"
    with ledger_of(folder) as ledger:
        write_metadata(requests, ledger=ledger, prompt_set="things", out=fresh)
        standing = standing_of(requests, ledger)
    status = json.loads(folder.wan("status", "--json").stdout)["sets"]
    verified = folder.wan("release", "verify", "things")
    assert verified.exit_code == 0, verified.output
    return hashlib.sha256(fresh.read_bytes()).hexdigest(), status, standing


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


def flipped(data: bytes) -> bytes:
    """The same length, one bit other."""
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


@pytest.mark.parametrize("harm", ["bit", "missing"])
def test_a_damaged_image_of_the_sample_refuses_it(
    folder: Folder, shop: RunningEmulator, harm: str
) -> None:
    """Before anything is bought, by `wan` as by the job; the file stays for who looks into it."""
    table = pq.read_table(folder.path / "emulator/releases/things/v1/images.parquet")
    row = min(table.to_pylist(), key=lambda row: (row["prompt_extend"], row["request_id"]))
    file, before = folder.path / "emulator" / row["path"], shop.bill()["creates_received"]
    whole = file.read_bytes()
    stat = file.stat()
    file.unlink()
    if harm == "bit":
        file.write_bytes(flipped(whole))
    try:
        done = reproduce(folder, "harmed", sample="1")
        told = folder.wan("reproduce", "things", "--sample", "1", "--dry-run")
        config = {"release": "things@v1", "sample": "1", "label": "harmed"}
        settings = Settings(data_dir=folder.path, base_url=folder.env["WAN_BASE_URL"])
        with open_instance(settings) as instance:
            job = run_job(build_defs(settings), instance, "reproduce", ops={"drift": config})
        left = file.read_bytes() if file.exists() else None
    finally:
        file.write_bytes(whole)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for each in (done, told):
        assert each.exit_code == 3, each.output
        assert row["path"] in each.output
        assert "wan release verify things@v1" in each.output
        assert ("Nothing was sent" if harm == "bit" else "from a backup") in each.output
    assert (job.success, job.error_class) == (False, "DamagedReleaseError")
    assert shop.bill()["creates_received"] == before
    assert left == (flipped(whole) if harm == "bit" else None)
    assert not (folder.path / "emulator/reproductions/things-v1/harmed").exists()


@pytest.mark.slow
def test_stopped_by_the_budget_it_goes_on_and_leaves_the_dataset_as_it_was(
    folder: Folder, shop: RunningEmulator
) -> None:
    """Exit code 4 with a report of what there is; then the rest, once; then nothing is left."""
    dataset, billed = dataset_of(folder), Decimal(shop.bill()["usd"])
    earlier = attempts_of(folder)
    with ledger_of(folder) as ledger:
        spent = ledger.spent()
    stopped = reproduce(folder, "calm", "--budget", "0.07")
    assert stopped.exit_code == 4, stopped.output
    assert "which would cost" in stopped.output
    assert last_line(stopped)[5] == "incomplete"
    assert {row["state"] for row in rows(folder, "calm")} == {"stored", "not_bought"}
    assert Decimal(0) < Decimal(shop.bill()["usd"]) - billed <= Decimal("0.07")
    done = reproduce(folder, "calm")
    assert done.exit_code == 0, done.output
    assert last_line(done)[2:4] == ("4", "0")
    again = json.loads(reproduce(folder, "calm", "--json").stdout)
    assert (again["exit_code"], again["submitted"]) == (0, 0)
    assert again["report"]["outcomes"]["identical"] == 4
    assert dataset_of(folder) == dataset
    assert {row["attempt"] for row in rows(folder, "calm")} == {min(earlier, default=0) - 1}
    with ledger_of(folder) as ledger:
        assert ledger.spent() - spent == Decimal(shop.bill()["usd"]) - billed
        assert ledger.committed(prompt_set="reproduce/things@v1/calm") == Decimal("0.12")


def spent_by(folder: Folder, label: str) -> Decimal:
    """What the exported tables say that a series has cost."""
    table = pq.read_table(folder.path / "emulator/spend/purchases.parquet").to_pylist()
    of_series = f"reproduce/things@v1/{label}"
    paid = (row["cost_usd"] for row in table if row["bought_by_set"] == of_series)
    return sum((cost for cost in paid if cost is not None), Decimal(0))


def test_the_spend_page_and_tables_are_refreshed(folder: Folder, shop: RunningEmulator) -> None:
    """As by `wan run`: after what was bought, also where the budget ended it."""
    page = folder.path / "emulator/spend/index.html"
    page.unlink()
    stopped = reproduce(folder, "shown", "--budget", "0.07")
    assert (stopped.exit_code, page.exists()) == (4, True), stopped.output
    with ledger_of(folder) as ledger:
        paid = ledger.committed(prompt_set="reproduce/things@v1/shown")
    assert Decimal(0) < paid == spent_by(folder, "shown")
    assert reproduce(folder, "shown").exit_code == 0
    assert spent_by(folder, "shown") == Decimal("0.12")
    with ledger_of(folder) as ledger:
        assert f"${ledger.spent()}" in page.read_text()


@pytest.mark.slow
def test_changed_model_is_told_by_image(folder: Folder, shop: RunningEmulator) -> None:
    """Every picture that counts is named; that of a rewritten prompt is told apart."""
    shop.set_plan(FAST.model_copy(update={"model_revision": 1}))
    done = json.loads(reproduce(folder, "changed", "--json", sample="all").stdout)
    report = done["report"]
    assert (done["exit_code"], done["submitted"], Decimal(done["cost_usd"])) == (3, 4, RELEASED_USD)
    assert (report["verdict"], report["counted"], report["drifted"]) == ("drift", 4, 4)
    found = rows(folder, "changed")
    drifted = {(row["prompt_id"], row["image_index"]) for row in found if row["drifted"]}
    assert drifted == {("boat", 0), ("boat", 1), ("hut", 0), ("kite", 0)}
    (tower,) = [row for row in found if row["prompt_id"] == "tower"]
    assert (tower["outcome"], tower["rewritten"], tower["counted"]) == ("changed", True, False)
    assert all(row["old_phash"] != row["new_phash"] for row in found)
    page = (folder.path / "emulator/reproductions/things-v1/changed/index.html").read_text()
    assert page.count("<figcaption>as brought now") == 5
    assert "4 of 4 images have drifted" in page
    (check,) = checks_of(folder, done["run_id"])
    assert (check.check_name, check.passed, check.severity.value) == ("no_drift", False, "ERROR")
    named = [record.data for record in check.metadata["images"].records]
    assert {each["prompt_id"] for each in named} == {"boat", "hut", "kite"}


def checks_of(folder: Folder, run_id: str) -> list[Any]:
    """What a run said of the asset `drift`, as Dagster remembers it."""
    with open_instance(Settings(data_dir=folder.path)) as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run_id)]
    evaluated = [
        event.event_specific_data
        for event in events
        if event and event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return [each for each in evaluated if each.asset_key.to_user_string() == "drift"]


@pytest.mark.slow
def test_what_came_otherwise_is_told_by_what_it_is(folder: Folder, shop: RunningEmulator) -> None:
    """Another size and a missing image are drift; a failure is not, and leaves it incomplete."""
    faults = (
        Fault(kind=FaultKind.WRONG_SIZE_IMAGE, prompt_contains="kite"),
        Fault(kind=FaultKind.MISSING_IMAGES, prompt_contains="boat", amount=1),
        Fault(kind=FaultKind.MODERATION_FAILED, prompt_contains="hut"),
    )
    shop.set_plan(FAST.model_copy(update={"faults": faults}))
    done = json.loads(reproduce(folder, "odd", "--json").stdout)
    found = {(row["prompt_id"], row["image_index"]): row for row in rows(folder, "odd")}
    assert {place: row["outcome"] for place, row in found.items()} == {
        ("boat", 0): "identical",
        ("boat", 1): "missing",
        ("hut", 0): "not_brought",
        ("kite", 0): "resized",
    }
    assert (found["hut", 0]["state"], found["hut", 0]["counted"]) == ("failed", False)
    report = done["report"]
    assert (done["exit_code"], report["verdict"]) == (3, "drift")
    assert (report["drifted"], report["counted"], report["incomplete"]) == (2, 3, {"failed": 1})


@pytest.mark.slow
def test_unknown_one_is_decided_with_the_same_commands(
    folder: Folder, shop: RunningEmulator
) -> None:
    """It stays reserved; released, its price is free, and nothing is planned or sent again."""
    lost_answer = Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="kite")
    shop.set_plan(FAST.model_copy(update={"faults": (lost_answer,)}))
    done = reproduce(folder, "doubt")
    assert (done.exit_code, last_line(done)[5]) == (3, "incomplete"), done.output
    shop.set_plan(FAST)
    (kite,) = [row for row in rows(folder, "doubt") if row["prompt_id"] == "kite"]
    release = ("ledger", "release", kite["request_id"], "--why", "not in the console", "--yes")
    with ledger_of(folder) as ledger:
        assert (kite["state"], ledger.reserved()) == ("unknown", Decimal("0.03"))
    wrong = folder.wan(*release, "--set", "things")
    assert (wrong.exit_code, "is stored: only a request that is" in wrong.output) == (2, True)
    assert folder.wan(*release).exit_code == 0
    with ledger_of(folder) as ledger:
        assert ledger.reserved() == 0
        assert ledger.purchases([kite["request_id"]])[kite["request_id"]].attempt == 1
    again = reproduce(folder, "doubt")
    assert last_line(again)[:2] == ("0", "0")
    assert {row["state"] for row in rows(folder, "doubt")} == {"stored", "released"}


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(folder: Folder, shop: RunningEmulator) -> None:
    """By kill -9, with tasks at the provider: they are fetched, and bill and ledger agree."""
    before, billed = shop.bill()["creates_accepted"], Decimal(shop.bill()["usd"])
    slow = LatencyLaw(queue_max_s=0.1, service_median_s=8000, service_sigma=0)
    shop.set_plan(EmulatorPlan(speed_up=1000, latency=slow, running_at_once=4))
    args = ("reproduce", "things", "--yes", "--label", "killed", "--sample", "all")
    with folder.start(*args) as process, ledger_of(folder) as ledger:
        paid = ledger.committed()

        def bought() -> bool:
            assert process.poll() is None, process.communicate()
            return len([each for each in ledger.unfinished() if each.task_id]) >= 4

        wait_for(bought, what="four purchases", within_s=PATIENCE_S)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        assert {each.attempt < 0 for each in ledger.unfinished()} == {True}
    done = reproduce(folder, "killed", sample="all")
    assert done.exit_code == 0, done.output
    assert last_line(done)[:2] == ("0", "5")
    assert shop.bill()["creates_accepted"] - before == 4
    with ledger_of(folder) as ledger:
        assert Decimal(shop.bill()["usd"]) - billed == ledger.spent() - paid == RELEASED_USD
