"""`kill -9` of `wan run`, and its write-ahead log is lost: nothing is bought with what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline_tests.crash.audit import provider
from wan_pipeline_tests.crash.trial import SPEED_UP, Moment, Trial, Victim

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(apart=True)


def creates(trial: Trial) -> int:
    """What the provider was ever asked to make."""
    with provider(trial.layout.emulator_dir, EmulatorPlan(speed_up=SPEED_UP)) as http:
        return http.get("/_emulator/bill").raise_for_status().json()["creates_received"]


def test_run_without_the_log_of_a_killed_one_buys_nothing(tmp_path: Path) -> None:
    """A person tidies up, or copies the file alone; with the log back the run is completed."""
    trial = Trial(folder=tmp_path)
    assert trial.run_and_kill(Moment(intents=5, answered=4), Victim.GROUP)
    ledger = trial.layout.ledger
    log = ledger.with_name(ledger.name + "-wal")
    asked = creates(trial)
    assert asked >= 4
    kept = log.rename(tmp_path / "log")
    ledger.with_name(ledger.name + "-shm").unlink()
    left = ledger.read_bytes()

    ended = trial.run()
    said = " ".join((ended.output + ended.errors).split())
    assert ended.exit_code == ExitCode.USAGE, said
    for words in ("a second time", str(trial.layout.filed_ledger), f"{ledger.name}-wal"):
        assert words in said
    assert creates(trial) == asked
    assert ledger.read_bytes() == left

    assert not log.exists()
    kept.rename(log)
    assert trial.audit(trial.run()).violations == ()
