"""`wan run` killed at named points, decided about by a person, and run again to its end."""

from __future__ import annotations

import json
import signal
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests
from wan_pipeline_tests.crash.audit import provider
from wan_pipeline_tests.crash.person import decide
from wan_pipeline_tests.crash.trial import REQUESTS, SET, Command, Trial

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(apart=True)

KILLED_AT = "wan_pipeline_tests.crash.wan_killed_at"
# And how many creates are unknown after it at least.
POINTS = {"create.accepted#3": 1, "images.renamed#4": 0}


@pytest.mark.parametrize(("point", "unknown"), POINTS.items(), ids=POINTS)
def test_killed_run_is_finished_by_a_person(point: str, unknown: int, tmp_path: Path) -> None:
    """With every unknown decided, all is stored and the bill is what the ledger says."""
    trial = Trial(folder=tmp_path)
    usual = trial.command
    trial.command = Command(argv=(sys.executable, "-m", KILLED_AT, point, "run", SET))
    assert trial.run().exit_code == -signal.SIGKILL
    trial.command = usual
    ended = trial.run()
    decided = _decide(trial)
    assert decided >= unknown
    if decided:
        ended = trial.run()
    found = trial.audit(ended)
    assert found.violations == ()
    assert (found.stored, found.unknown, found.double) == (REQUESTS, 0, 0)
    assert found.bill_usd == found.ledger_usd
    assert ended.exit_code == 0
    tables = list(trial.layout.root.rglob("*.parquet"))
    assert tables
    for table in tables:
        assert pq.read_table(table).num_columns > 0
    assert list(trial.layout.rescue.iterdir()) == []


def _decide(trial: Trial) -> int:
    """Look into the provider's console about every unknown create."""
    rows = list(iter_requests(trial.layout.tables(SET) / REQUESTS_FILE))
    by_prompt = {row.request.prompt: row.request_id for row in rows}
    book: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    with provider(trial.layout.emulator_dir, EmulatorPlan(speed_up=trial.speed_up)) as http:
        for task in json.loads(http.get("/_emulator/tasks").raise_for_status().content):
            book[by_prompt[task["content"]["prompt"]]].append(task)
    with Ledger(trial.layout.ledger, trial.layout.profile) as ledger:
        return decide(ledger, book)
