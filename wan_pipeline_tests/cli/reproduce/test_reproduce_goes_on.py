"""`wan reproduce` goes on after a cap, a lost answer or a kill; the dataset stays as it was."""

from __future__ import annotations

import json
import os
import signal
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline_tests.cli.reproduce.conftest import (
    PATIENCE_S,
    RELEASED_USD,
    attempts_of,
    dataset_of,
    last_line,
    ledger_of,
    reproduce,
    rows,
)
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder


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
