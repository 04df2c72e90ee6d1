"""What `wan reconcile` cannot explain: in images and dollars, with what to do about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.schema import UNREADABLE_COST
from wan_pipeline_tests.cli.conftest import (
    buy,
    counts,
    image_files,
    last_line,
    workbench,
)
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request
from wan_pipeline_tests.ledger.entries import Book, event_row, purchase_row

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

ODD = "0dd0" * 16
SAME_AS_SET = "prompt,seed,prompt_extend\na kite,7,false\n"


@pytest.mark.slow
def test_a_file_whose_url_is_dead_is_lost_with_its_cost(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Until it is bought again: then it is explained, and nobody calls it lost any more."""
    buy(folder, make_request("a kite"))
    (file,) = image_files(folder)
    file.unlink()
    gone = Fault(kind=FaultKind.EXPIRED_URL)
    provider.set_plan(FAST.model_copy(update={"faults": (gone,)}))
    over = sa.update(schema.images).values(url_expires_at=datetime.now(UTC))
    with workbench(folder).ledger() as ledger:
        ledger.apply_now(lambda tx: tx.connection.execute(over))
    done = folder.wan("reconcile")
    assert done.exit_code == 3, done.output
    found = counts(done.stdout)
    assert (found["lost"], found["lost_usd"]) == (1, Decimal("0.03"))
    assert "wan run --retry lost" in done.output
    assert counts(folder.wan("reconcile").stdout) == found
    provider.set_plan(FAST)
    folder.write("set.csv", SAME_AS_SET)
    hint = folder.wan("run", "set")
    assert last_line(hint.stdout) == (0, 0, 1, Decimal(0))
    assert "1 lost: `wan run set --retry lost` buys 1 image again" in hint.output
    again = folder.wan("run", "set", "--retry", "lost")
    assert again.exit_code == 0, again.output
    assert last_line(again.stdout) == (1, 1, 0, Decimal("0.03"))
    assert "not complete" not in again.output
    repeated = folder.wan("run", "set", "--retry", "lost")
    assert (repeated.exit_code, last_line(repeated.stdout)) == (0, (0, 0, 0, Decimal(0)))
    assert folder.wan("reconcile").exit_code == 0
    assert provider.bill()["usd"] == "0.06"


def test_a_cost_that_cannot_be_read_is_told(folder: Folder) -> None:
    """The price counts, so that nothing is left but to look at the provider's bill."""
    path = folder.path / "emulator/ledger.sqlite"
    path.parent.mkdir()
    with Book(path) as book:
        book.add(
            [purchase_row(ODD, cost_source="unreadable")],
            events=[event_row(ODD, to_state="succeeded", detail=f"{UNREADABLE_COST}0,50")],
        )
    done = folder.wan("reconcile", COLUMNS="300")
    assert done.exit_code == 0, done.output
    assert "its cost was reported as 0,50, which is no amount: the price counts" in done.output
    assert counts(done.stdout)["price_usd"] == 0
    shown = folder.wan("ledger", "show", ODD, COLUMNS="300")
    assert "what was reported cannot be read: 0,50" in shown.output


def test_what_expired_and_what_cost_more_is_told(folder: Folder, provider: RunningEmulator) -> None:
    """A task that never ended keeps its price set aside; a surprising cost is the difference."""
    stuck = Fault(kind=FaultKind.STUCK_TASK, prompt_contains="stuck")
    provider.set_plan(FAST.model_copy(update={"faults": (stuck,), "price_usd": Decimal("0.04")}))
    buy(folder, make_request("stuck"), lifetime_s=0.2)
    buy(folder, make_request("dear", n=2))
    done = folder.wan("reconcile", COLUMNS="300")
    assert done.exit_code == 3, done.output
    found = counts(done.stdout)
    assert (found["expired"], found["expired_usd"]) == (1, Decimal("0.03"))
    assert (found["price"], found["price_usd"]) == (2, Decimal("0.02"))
    assert (found["unknown"], found["lost"]) == (0, 0)
    for words in ("charged 0.08 USD", "priced 0.06", "1 image ", "2 images "):
        assert words in done.output
    told = json.loads(folder.wan("reconcile", "--json").stdout)["unexplained"]
    today = datetime.now(UTC) - timedelta(hours=1)
    assert all(datetime.fromisoformat(each["since"]) > today for each in told)


def test_what_a_failed_task_cost_is_told(folder: Folder, provider: RunningEmulator) -> None:
    """Money for nothing is no matter of the price; bought again, it may still be asked back."""
    billed = Fault(kind=FaultKind.TASK_FAILED_BILLED)
    provider.set_plan(FAST.model_copy(update={"faults": (billed,)}))
    folder.write("set.csv", SAME_AS_SET)
    run = folder.wan("run", "set", COLUMNS="300")
    assert run.exit_code == 3, run.output
    assert "; paid 0.03 USD all the same" in run.output
    provider.set_plan(FAST)
    for bought_again in (False, True):
        if bought_again:
            assert folder.wan("run", "set", "--retry", "failed").exit_code == 0
        done = folder.wan("reconcile", COLUMNS="300")
        assert done.exit_code == 0, done.output  # the provider has explained it
        found = counts(done.stdout)
        assert (found["charged"], found["charged_usd"]) == (1, Decimal("0.03"))
        assert (found["price"], found["price_usd"]) == (0, 0)
        assert "WAN_PRICE_USD" not in done.output
        assert "support" in done.output


def test_what_cannot_be_fetched_so_far_is_told(folder: Folder, provider: RunningEmulator) -> None:
    """Its URL answers 403, and lives by the date: nothing is complete before it came."""
    buy(folder, make_request("a kite"))
    (file,) = image_files(folder)
    file.unlink()
    gone = Fault(kind=FaultKind.EXPIRED_URL)
    provider.set_plan(FAST.model_copy(update={"faults": (gone,)}))
    done = folder.wan("reconcile", COLUMNS="300")
    assert done.exit_code == 3, done.output
    found = counts(done.stdout)
    assert (found["waiting"], found["waiting_usd"], found["lost"]) == (1, Decimal("0.03"), 0)
    assert "403" in done.output
    provider.set_plan(FAST)
    done = folder.wan("reconcile")
    assert (done.exit_code, counts(done.stdout)["waiting"]) == (0, 0)
    assert file.exists()
