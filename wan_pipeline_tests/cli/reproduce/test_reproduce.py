"""`wan reproduce`: the price first, the same requests once more, and what is said of a change."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.launch import open_instance, run_job
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.settings import Settings
from wan_pipeline_tests.cli.reproduce.conftest import (
    RELEASED_USD,
    reproduce,
    rows,
)
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder


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
