"""Batches killed at random under a provider that misbehaves at random; the long one: make storm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.crash.storm import Storm, last_line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow(apart=True), pytest.mark.timeout(600)]

KILLS = 20


@pytest.mark.parametrize("seed", [1, 2])
def test_storm_buys_nothing_twice_and_loses_nothing(seed: int, tmp_path: Path) -> None:
    """After a person's decisions bill and ledger are the same to the cent, and no cap is passed."""
    rounds = list(Storm(tmp_path, seed).rounds(KILLS))
    broken = {each.number: each.proof.violations for each in rounds if each.proof.violations}
    assert broken == {}, f"python -m wan_pipeline_tests.crash.storm --seed {seed} --round N"
    paid = sum(each.proof.ledger_usd for each in rounds)
    assert paid > 0
    assert last_line(rounds) == (
        f"kills={KILLS} double=0 lost=0 bill_usd={paid:.2f} ledger_usd={paid:.2f}"
    )
