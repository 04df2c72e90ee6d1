"""What `wan reconcile` found: tables for people, JSON and a last line for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.purchases import moment, short_ids
from wan_pipeline.cli.screen import printable
from wan_pipeline.generation.leftovers import Leftover, LeftoverKind
from wan_pipeline.told import counted, dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.generation.reconcile import BrokenFile, Match
    from wan_pipeline.wan.dialects.listing import ListedTask

__all__ = ["Reconciled"]

ZERO = Decimal(0)
SHOWN = 50
_SPOKEN = {
    LeftoverKind.UNKNOWN: "unknown: a task may exist",
    LeftoverKind.EXPIRED: "expired: made, never fetched",
    LeftoverKind.WAITING: "waiting: paid, not fetched so far",
    LeftoverKind.LOST: "lost: paid, cannot arrive",
    LeftoverKind.CHARGED: "charged: its task failed",
    LeftoverKind.PRICE: "charged other than the price",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """How ledger, provider and disk stand after a reconciliation.

    Attributes:
        polled: purchases of earlier runs that were taken up.
        fetched: images stored.
        in_flight: purchases still at the provider, or of a run that is at work.
        not_known: of those, tasks that the provider says it does not have.
        adopted: unknown purchases that got their task.
        orphans: tasks that no purchase has and no machine may adopt.
        broken: stored images whose files were gone or damaged.
        leftovers: what stays unexplained.
        notes: what else a person should know.
        stopped: why polling ended early; empty when it did not.
    """

    polled: int
    fetched: int
    in_flight: int
    not_known: int
    adopted: Sequence[Match]
    orphans: Sequence[ListedTask]
    broken: Sequence[BrokenFile]
    leftovers: Sequence[Leftover]
    notes: Sequence[str]
    stopped: str

    def exit_code(self) -> ExitCode:
        """Complete when everything is explained; what was charged is, by the provider's word."""
        explained = (LeftoverKind.CHARGED, LeftoverKind.PRICE)
        open_ends = [each for each in self.leftovers if each.kind not in explained]
        is_open = bool(open_ends or self.orphans or self.not_known)
        return ExitCode.INCOMPLETE if is_open else ExitCode.COMPLETE

    def images(self, kind: LeftoverKind) -> int:
        """Images of a kind of leftover."""
        return sum(each.images for each in self.leftovers if each.kind is kind)

    def dollars(self, kind: LeftoverKind) -> Decimal:
        """Dollars of it."""
        return sum((each.usd for each in self.leftovers if each.kind is kind), ZERO)

    def last_line(self) -> str:
        """For scripts; its form is part of the interface."""
        kinds = " ".join(
            f"{kind.value}={self.images(kind)} {kind.value}_usd={dollars(self.dollars(kind))}"
            for kind in LeftoverKind
        )
        return (
            f"{kinds} orphans={len(self.orphans)} polled={self.polled} adopted={len(self.adopted)}"
        )

    def tables(self) -> list[Table]:
        """What was done, and what is left."""
        done = Table(title="reconciliation", title_justify="left", show_header=False)
        done.add_column(style="bold")
        done.add_column(justify="right")
        done.add_column(justify="right")
        done.add_row("taken up from earlier runs", str(self.polled), "")
        done.add_row("images fetched", str(self.fetched), "")
        done.add_row("still in flight", str(self.in_flight), "")
        done.add_row("tasks adopted", str(len(self.adopted)), "")
        done.add_row("files that were gone or damaged", str(len(self.broken)), "")
        for kind in LeftoverKind:
            images = counted(self.images(kind), "image")
            done.add_row(_SPOKEN[kind], images, usd(self.dollars(kind)))
        tables = [done]
        if self.leftovers:
            tables.append(self._leftovers_table())
        if self.orphans:
            tables.append(_orphans_table(self.orphans))
        return tables

    def _leftovers_table(self) -> Table:
        table = Table(title="unexplained", title_justify="left", header_style="bold")
        table.add_column("request", no_wrap=True)
        for heading in ("why", "images", "usd", "set", "since", "task", "reason"):
            table.add_column(heading, overflow="fold")
        ids = short_ids(each.request_id for each in self.leftovers)
        for each in self.leftovers[:SHOWN]:
            told = (
                ids[each.request_id],
                each.kind.value,
                str(each.images),
                usd(each.usd),
                each.prompt_set,
                moment(each.since),
                each.task_id or "",
                each.reason,
            )
            table.add_row(*map(printable, told))
        if len(self.leftovers) > SHOWN:
            table.add_row("...", f"{len(self.leftovers) - SHOWN} more with --json")
        return table

    def as_json(self) -> dict[str, Any]:
        """The same for scripts; money as strings."""
        return {
            "polled": self.polled,
            "fetched": self.fetched,
            "in_flight": self.in_flight,
            "not_known": self.not_known,
            "adopted": [
                {"request_id": each.purchase.request_id, "task_id": each.task.task_id}
                for each in self.adopted
            ],
            "orphans": [
                {"task_id": each.task_id, "created_at": each.created_at.isoformat()}
                for each in self.orphans
            ],
            "broken": [
                {
                    "request_id": each.record.request_id,
                    "image_index": each.record.image_index,
                    "path": each.record.path,
                    "problem": each.problem,
                }
                for each in self.broken
            ],
            "unexplained": [
                {
                    "kind": each.kind.value,
                    "request_id": each.request_id,
                    "attempt": each.attempt,
                    "set": each.prompt_set,
                    "task_id": each.task_id,
                    "since": each.since.isoformat(),
                    "images": each.images,
                    "usd": dollars(each.usd),
                    "reason": each.reason,
                }
                for each in self.leftovers
            ],
            "notes": list(self.notes),
            "stopped": self.stopped,
        }


def _orphans_table(orphans: Sequence[ListedTask]) -> Table:
    table = Table(
        title="tasks of the account that no request certainly made",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("task", no_wrap=True)
    for heading in ("created", "prompt"):
        table.add_column(heading, overflow="fold")
    for each in orphans[:SHOWN]:
        table.add_row(*map(printable, (each.task_id, moment(each.created_at), each.prompt or "")))
    if len(orphans) > SHOWN:
        table.add_row("...", f"{len(orphans) - SHOWN} more with --json")
    return table
