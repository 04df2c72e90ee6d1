"""Ledger and budget against a reference model: whatever is done in whatever order, they agree.

Every rule makes a move that may or may not be allowed; the model says which, and the ledger must
make it or refuse it and change nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, run_state_machine_as_test

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.retries import RetryRule
from wan_pipeline_tests.ledger.model.buying import Buying, Wish
from wan_pipeline_tests.ledger.model.checks import Checks
from wan_pipeline_tests.ledger.model.decisions import Decisions
from wan_pipeline_tests.ledger.model.machine import Pick, owners
from wan_pipeline_tests.ledger.model.results import Results

if TYPE_CHECKING:
    from pathlib import Path


class Model(Buying, Results, Decisions, Checks):
    """All moves, and what holds after each."""

    @initialize(owner=owners, failed=st.booleans())
    def begin(self, owner: int, failed: bool) -> None:
        """Purchases on different legs of their way, so that short walks get far."""
        wish = Wish(
            owner=owner, prompt_set="a", price=Decimal("0.03"), caps=Caps(), retry=RetryRule()
        )
        for request in range(4):
            self.intend(request, wish)  # type: ignore[call-arg]
        first = Pick(0, None, anywhere=False)
        for task in ("1", "2"):
            self.submitted(first, task)  # type: ignore[call-arg]
        self.succeeded(first, "0.05", 2)  # type: ignore[call-arg]
        self.unknown(first)  # type: ignore[call-arg]
        if failed:
            self.failed(first, None, "other")  # type: ignore[call-arg]


def run(where: Path | str, *, examples: int, steps: int) -> None:
    """Let hypothesis look for a disagreement."""
    run_state_machine_as_test(
        type("Model", (Model,), {"where": where}),
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=(
                hypothesis.HealthCheck.too_slow,
                hypothesis.HealthCheck.filter_too_much,
            ),
        ),
    )


def test_ledger_and_budget_agree_with_the_model_on_sqlite(tmp_path: Path) -> None:
    """Rows, money, images and history, after every step."""
    run(tmp_path / "ledger.sqlite", examples=40, steps=40)


@pytest.mark.postgres
def test_ledger_and_budget_agree_with_the_model_on_postgresql(postgres_url: str) -> None:
    """The same on a server."""
    run(postgres_url, examples=10, steps=40)
