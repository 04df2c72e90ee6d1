"""`kill -9` of `wan run`, then `wan run`: nothing is bought twice, nothing paid for is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.crash.kills import Kill, kill_and_finish
from wan_pipeline_tests.crash.trial import IMAGES, REQUESTS, SET, Moment, Trial, Victim
from wan_pipeline_tests.crash.writers import left_by_a_killed_writer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(apart=True)

PRICE = Decimal("0.03")
WINDOW = 7  # tasks at the emulator at once: its five, and a quarter more in its queue
KILLS = {
    "while it starts": Kill(moment=Moment(after_s=1.1), victim=Victim.GROUP),
    "at a late intent": Kill(moment=Moment(intents=9, after_s=0.01), victim=Victim.PROCESS),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_next_run_completes_a_killed_one(kill: Kill, tmp_path: Path) -> None:
    """Every request is stored or unknown, and bill, ledger, files and exit code agree on it."""
    met, found = kill_and_finish(Trial(folder=tmp_path), kill)
    assert met
    assert found.violations == ()
    assert found.stored + found.unknown == found.requests == REQUESTS
    assert found.unknown <= WINDOW


def test_next_run_removes_unfinished_files(tmp_path: Path) -> None:
    """What killed writers left goes with the next run, wherever it lies; the audit looks."""
    trial = Trial(folder=tmp_path)
    root = trial.layout.root
    targets = [root / "images" / "ab" / "image.png", root / "thumbnails" / "320" / "ab" / "t.jpg"]
    targets += [trial.layout.metadata(SET), trial.layout.gallery(SET) / "index.html"]
    targets += [trial.layout.tables(SET) / "plan.json"]
    for target in targets:
        assert left_by_a_killed_writer(target).parent == target.parent
    assert trial.audit(trial.run()).violations == ()


def test_kill_outside_a_create_costs_nothing(tmp_path: Path) -> None:
    """With every create answered, the next run buys the rest and the bill is the plan's price."""
    answered = 1 + WINDOW
    # The first task ends alone, which proves the body's form. The others are slow enough that none
    # ends, and so no further create begins, until the kill.
    trial = Trial(folder=tmp_path, speed_up=20)
    assert trial.run_and_kill(Moment(intents=answered, answered=answered), Victim.GROUP)
    ended = trial.run()
    found = trial.audit(ended)
    assert found.violations == ()
    assert (found.stored, found.unknown, found.submitted) == (REQUESTS, 0, REQUESTS)
    assert ended.exit_code == 0
    assert ended.counts()["submitted"] == str(REQUESTS - answered)
    assert found.bill_usd == found.ledger_usd == IMAGES * PRICE
