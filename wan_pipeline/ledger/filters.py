"""Which purchases a person means, by what stands in their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

__all__ = ["RowFilter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which rows to list or export; what is None does not limit.

    Attributes:
        states: of the purchase; images and events follow their purchase.
        prompt_sets: the sets that bought.
        requests: request ids, whole or their beginnings.
        since: intents of this moment or later, timezone-aware.
        until: intents before this moment.
    """

    states: Collection[str] | None = None
    prompt_sets: Collection[str] | None = None
    requests: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """On columns of `purchases`."""
        of = schema.purchases.c
        found: list[sa.ColumnElement[bool]] = []
        if self.states is not None:
            found.append(of.state.in_(self.states))
        if self.prompt_sets is not None:
            found.append(of.bought_by_set.in_(self.prompt_sets))
        if self.requests is not None:
            begins = (of.request_id.startswith(each, autoescape=True) for each in self.requests)
            found.append(sa.or_(sa.false(), *begins))
        if self.since is not None:
            found.append(of.created_at >= self.since)
        if self.until is not None:
            found.append(of.created_at < self.until)
        return found
