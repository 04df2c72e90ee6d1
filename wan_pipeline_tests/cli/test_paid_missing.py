"""A paid image that did not arrive is explained in the same words wherever it is looked for."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.ledger import schema
from wan_pipeline_tests.cli.conftest import workbench
from wan_pipeline_tests.emulator_fixture import FAST

if TYPE_CHECKING:
    from typing import Any

    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

WIDE = "400"  # columns, so that no sentence of a table is folded
SO_FAR = "paid 0.03 USD; its image could not be fetched so far: the result's URL answers 403"
LOST = "paid 0.03 USD; its image can no longer be fetched: the result's URL answers 403"
AGAIN = "`wan run --retry lost` buys the request again, for its price"


def row_of_table(folder: Folder) -> dict[str, Any]:
    """The only row of the outcomes table that is not complete."""
    rows = pq.read_table(folder.path / "emulator/quality/outcomes/set.parquet").to_pylist()
    (row,) = (each for each in rows if each["reason"])
    return row


def pages(folder: Folder) -> tuple[str, str]:
    """Gallery and quarantine as a person reads them."""
    there = folder.path / "emulator"
    files = (there / "gallery/set/index.html", there / "quality/set.html")
    gallery, quarantine = (html.unescape(file.read_text()) for file in files)
    return gallery, quarantine


def manifest_row(folder: Folder, name: str) -> dict[str, Any]:
    """The missing request of a new release."""
    made = folder.wan("release", "create", name, "--incomplete", "--json")
    assert made.exit_code == 0, made.output
    (row,) = json.loads(made.stdout)["prompt_sets"][0]["missing"]
    return row


@pytest.mark.slow
def test_one_reason_and_one_next_step_everywhere(folder: Folder, provider: RunningEmulator) -> None:
    """While it may arrive with its deadline, then as lost; a manifest keeps the reason alone.

    The refusal to make one is for now, so it tells the next step, too.
    """
    gone = Fault(kind=FaultKind.EXPIRED_URL, prompt_contains="two")
    provider.set_plan(FAST.model_copy(update={"faults": (gone,)}))
    folder.write("set.csv", "prompt_id,prompt\na,one\nb,two\n")
    done = folder.wan("run", "set", COLUMNS=WIDE)
    assert done.exit_code == 3, done.output
    row = row_of_table(folder)
    assert row["reason"].startswith(SO_FAR)
    assert row["next_step"].startswith("each run and `wan reconcile` try again until ")
    line = f"{row['reason']}; {row['next_step']}"
    trace = folder.wan("trace", "b", COLUMNS=WIDE)
    for told in (done.output, trace.output, *pages(folder)):
        assert line in told
        assert "next run fetches" not in told
    gallery = pages(folder)[0]
    assert "1 in flight" in gallery
    assert "waiting" not in gallery
    assert "succeeded" not in gallery
    kept = manifest_row(folder, "early")
    assert kept["reason"] == row["reason"]
    assert "try again until" not in json.dumps(kept)
    refused = folder.wan("release", "create", "whole", COLUMNS=WIDE)
    assert f"({row['reason']}). What to do: {row['next_step']}. Or" in refused.output

    over = sa.update(schema.images).values(url_expires_at=datetime.now(UTC))
    still = schema.images.c.state == "expected"
    with workbench(folder).ledger() as ledger:
        ledger.apply_now(lambda tx: tx.connection.execute(over.where(still)))
    last = folder.wan("run", "set", COLUMNS=WIDE)
    row = row_of_table(folder)
    assert row["state"] == "lost"
    assert row["reason"].startswith(LOST)
    assert row["next_step"] == AGAIN
    line = f"{row['reason']}; {row['next_step']}"
    trace = folder.wan("trace", "b", COLUMNS=WIDE)
    for told in (last.output, trace.output, *pages(folder)):
        assert line in told
    assert "lost, $0.03 (" in trace.output
    assert "Run again" not in trace.output.partition("history")[0]
    kept = manifest_row(folder, "late")
    assert (kept["state"], kept["reason"]) == ("lost", row["reason"])
