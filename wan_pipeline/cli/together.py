"""All sets of one `wan run` together: each request once, and what no set asks for any more."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.generation.planning import UnfinishedRequest, unfinished_of
from wan_pipeline.ledger.errors import LedgerError
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.lookup import find_purchases
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, request_ids
from wan_pipeline.prompts.sets import scan
from wan_pipeline.told import counted, dollars
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.settings import Settings

__all__ = ["Together", "read_together"]

WAITING = [
    *(state.value for state in PurchaseState if state.unfinished),
    PurchaseState.UNKNOWN.value,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What is stored about several sets at once.

    Attributes:
        incomplete: their requests that are not complete, each once, though sets share some.
        unasked: purchases that are not at their end and that no prompt file asks for any more.
    """

    incomplete: Sequence[UnfinishedRequest] = ()
    unasked: Sequence[Purchase] = ()

    @property
    def to_buy(self) -> Sequence[UnfinishedRequest]:
        """Those that were never bought."""
        return [each for each in self.incomplete if each.state == PurchaseState.PLANNED]

    @property
    def unasked_told(self) -> str:
        """What is to be done about these; empty where there are none."""
        if not self.unasked:
            return ""
        unknown = sum(each.state is PurchaseState.UNKNOWN for each in self.unasked)
        reserved = sum((each.cost_usd or each.reserved_usd for each in self.unasked), Decimal(0))
        return (
            f"{counted(len(self.unasked), 'request')} that no prompt file asks for any more"
            f" {'is' if len(self.unasked) == 1 else 'are'} not at an end,"
            f" {dollars(reserved)} USD paid or set aside: {len(self.unasked) - unknown} in flight,"
            f" {unknown} unknown. `wan reconcile` fetches what can arrive and tells what to decide"
        )


def read_together(settings: Settings, prompt_sets: Sequence[str]) -> Together | None:
    """What is stored about these sets; None where it cannot be read now, which they say.

    Args:
        settings: of the profile.
        prompt_sets: those of the command.
    """
    layout = settings.layout
    tables = {each: layout.tables(each) / REQUESTS_FILE for each in scan(layout.prompts_dir).sets}
    if not settings.has_ledger:
        return None
    try:
        with settings.open_ledger() as ledger:
            found: dict[str, UnfinishedRequest] = {}
            for prompt_set in prompt_sets:
                table = layout.tables(prompt_set) / REQUESTS_FILE
                if table.exists():
                    found |= {each.request_id: each for each in unfinished_of(table, ledger)}
            return Together(
                incomplete=[*found.values()], unasked=_unasked(ledger, prompt_sets, tables)
            )
    except (LedgerError, OSError, ConfigurationError, UnreadablePromptFileError):
        return None


def _unasked(
    ledger: Ledger, prompt_sets: Sequence[str], tables: Mapping[str, Path]
) -> list[Purchase]:
    """Of dead runs: what a live one works on is its own.

    A command over some sets answers for what these bought; one over all sets also for what sets
    bought whose files are gone. What a set without a plan asks for nobody knows.
    """
    of_all = set(prompt_sets) >= set(tables)
    waiting, _ = find_purchases(ledger, RowFilter(states=WAITING))
    candidates = [
        each
        for each in waiting
        if each.series is None
        and (
            tables[each.bought_by_set].exists() and each.bought_by_set in prompt_sets
            if each.bought_by_set in tables
            else of_all
        )
    ]
    if not candidates:
        return []
    asked = {each for table in tables.values() if table.exists() for each in request_ids(table)}
    alive = ledger.living_owners()
    return [
        each
        for each in candidates
        if each.request_id not in asked
        and (each.state is PurchaseState.UNKNOWN or each.owner_id not in alive)
    ]
