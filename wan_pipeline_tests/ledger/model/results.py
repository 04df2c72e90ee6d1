"""Moves of a task and of its images, up to those whose files are gone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline_tests.ledger.model.machine import Machine, Pick, kinds, leads_to, picks
from wan_pipeline_tests.ledger.model.reference import ARRIVING, IMAGE, ZERO, S

if TYPE_CHECKING:
    from wan_pipeline.ledger.states import ImageState

costs = st.sampled_from([None, "0", "0.01", "0.03", "0.030000001", "0.5"])


class Results(Machine):
    """From submitted to the end."""

    @precondition(leads_to(S.SUCCEEDED))
    @rule(pick=picks, cost=costs, links=st.integers(0, 3))
    def succeeded(self, pick: Pick, cost: str | None, links: int) -> None:
        """The task is done, with any cost and number of images."""
        key, row, owner = self.picked_for(pick, S.SUCCEEDED)
        allowed = self.allowed(row, S.SUCCEEDED, owner)
        paid = Decimal(cost or "0.03")
        change = self.ledger.succeeded(
            key,
            self.owners[owner],
            links=[("https://h/i", "job")] * links,
            url_expires_at=self.time() + timedelta(hours=1),
            cost_usd=paid,
            cost_source="reported",
        )
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state = S.SUCCEEDED if links else S.STORED
            row.reserved, row.paid, row.images = (
                ZERO,
                paid,
                dict.fromkeys(range(links), IMAGE.EXPECTED),
            )

    @precondition(leads_to(S.FAILED))
    @rule(pick=picks, cost=costs, kind=kinds)
    def failed(self, pick: Pick, cost: str | None, kind: str) -> None:
        """The task failed, with a cost or without."""
        key, row, owner = self.picked_for(pick, S.FAILED)
        allowed = self.allowed(row, S.FAILED, owner)
        change = self.ledger.failed(
            key,
            self.owners[owner],
            code="x",
            message="no",
            kind=kind,
            cost_usd=cost and Decimal(cost),
            final_answer="{}",  # type: ignore[arg-type]
        )
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state, row.reserved, row.paid, row.kind = S.FAILED, ZERO, Decimal(cost or 0), kind

    @precondition(leads_to(S.EXPIRED))
    @rule(pick=picks)
    def expired(self, pick: Pick) -> None:
        """Its result is gone."""
        key, row, owner = self.picked_for(pick, S.EXPIRED)
        allowed = self.allowed(row, S.EXPIRED, owner)
        self.agree(
            self.ledger.expired(key, self.owners[owner], "late"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state = S.EXPIRED

    @precondition(lambda self: any(row.state is S.SUCCEEDED for row in self.rows.values()))
    @rule(
        pick=picks,
        index=st.integers(0, 2),
        to=st.sampled_from([IMAGE.STORED, IMAGE.STORED, IMAGE.DAMAGED, IMAGE.LOST, IMAGE.EXPECTED]),
    )
    def image(self, pick: Pick, index: int, to: ImageState) -> None:
        """Something became of an image."""
        key, row, owner = self.picked(pick, lambda row: row.state is S.SUCCEEDED)
        allowed = (
            row.state is S.SUCCEEDED and row.owner == owner and row.images.get(index) in ARRIVING
        )
        finished = self.agree(
            self.ledger.image(key, self.owners[owner], index, to),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.images[index] = to
            assert finished == (not any(each in ARRIVING for each in row.images.values()))
            row.state = S.STORED if finished else S.SUCCEEDED

    @precondition(
        lambda self: any(IMAGE.STORED in row.images.values() for row in self.rows.values())
    )
    @rule(pick=picks, index=st.integers(0, 2))
    def reopen(self, pick: Pick, index: int) -> None:
        """A stored image is gone."""
        key, row, owner = self.picked(pick, lambda row: IMAGE.STORED in row.images.values())
        free = row.state is S.STORED or (row.state is S.SUCCEEDED and row.owner == owner)
        allowed = free and row.images.get(index) is IMAGE.STORED
        self.agree(
            self.ledger.reopen(key, self.owners[owner], index, "gone"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state, row.owner, row.images[index] = S.SUCCEEDED, owner, IMAGE.EXPECTED
