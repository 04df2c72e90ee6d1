"""What holds after every move: ledger and reference agree, in rows, sums and history."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import invariant

from wan_pipeline.ledger import schema
from wan_pipeline_tests.ledger.model.machine import Machine
from wan_pipeline_tests.ledger.model.reference import MAY_HOLD_MONEY_BACK, ZERO, S


class Checks(Machine):
    """The invariants."""

    @invariant()
    def rows_agree(self) -> None:
        """States, owners, money and images are the model's."""
        names = {owner.owner_id: number for number, owner in enumerate(self.owners)}
        found = {
            (int(row.request_id[1:]), row.attempt): (
                row.state,
                None if row.owner_id is None else names[row.owner_id],
                row.reserved_usd,
                row.cost_usd or ZERO,
            )
            for row in self.select(schema.purchases)
        }
        assert found == {
            key: (row.state.value, row.owner, row.reserved, row.paid)
            for key, row in self.rows.items()
        }
        for row in self.rows.values():
            assert row.reserved == ZERO or row.state in MAY_HOLD_MONEY_BACK
        images = {
            (int(row.request_id[1:]), row.attempt, row.image_index): row.state
            for row in self.select(schema.images)
        }
        assert images == {
            (*key, index): state.value
            for key, row in self.rows.items()
            for index, state in row.images.items()
        }

    @invariant()
    def spending_agrees(self) -> None:
        """The sums are those of the rows, for all, per day, set and run."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for row in self.rows.values():
            sums[row.counts_for] += row.reserved + row.paid  # type: ignore[assignment]
        kept = {
            (row.day, row.prompt_set, row.run_id): row.committed_usd
            for row in self.select(schema.spending)
        }
        assert {place: usd for place, usd in kept.items() if usd} == {
            place: usd for place, usd in sums.items() if usd
        }
        assert self.ledger.committed() == self.ledger.spent() + self.ledger.reserved()
        day, prompt_set, run_id = next(iter(self.rows.values())).counts_for
        for wanted in ({}, {"day": day}, {"prompt_set": prompt_set}, {"run_id": run_id}):
            assert self.ledger.committed(**wanted) == self.committed(**wanted)

    @invariant()
    def history_leads_to_the_rows(self) -> None:
        """Events follow one another and end where the rows are."""
        last: dict[tuple[int, int, int | None], str] = {}
        for event in self.select(schema.events, order_by=schema.events.c.seq):
            place = (int(event.request_id[1:]), event.attempt, event.image_index)
            assert event.from_state == last.get(
                place, None if event.image_index is None else "expected"
            )
            last[place] = event.to_state
            if (event.from_state, event.to_state) == (S.PLANNED.value, S.RELEASED.value):
                del last[place]  # withdrawn, with its row
        assert {key[:2]: state for key, state in last.items() if key[2] is None} == {
            key: row.state.value for key, row in self.rows.items()
        }
