"""What became of each request of a prompt set: a row each, also for those that brought no image.

Flags of images are in `table`. A request that moderation rejected, or of a prompt that never
produced an image, has no image to bear a flag, so it bears its own here. The ledger tells all of
it, so unlike those of images these rows change as a set is built.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline.dataset.fields import known, optional
from wan_pipeline.dataset.quality.flags import RequestFlag
from wan_pipeline.dataset.quality.reading import read_table
from wan_pipeline.ledger.incomplete import Explanation, explain, state_told
from wan_pipeline.ledger.reasons import LOST
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.plan_table import request_columns
from wan_pipeline.prompts.tables import AtomicParquetWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = [
    "OUTCOMES",
    "RequestOutcome",
    "RequestOutcomes",
    "outcomes_of",
    "read_outcomes",
    "write_outcomes",
]

_MODERATION = "moderation"
_WAITING = frozenset({PurchaseState.PLANNED, *(each for each in PurchaseState if each.unfinished)})
_BROUGHT = frozenset({PurchaseState.STORED.value, LOST})
_ROWS = 4096


#: One row per request of a prompt, sorted by prompt id and request id.
OUTCOMES: Any = pa.schema(
    [
        known("prompt_id", pa.string(), "id of the prompt's row"),
        known("request_id", pa.string(), "SHA-256 of the request's canonical JSON"),
        known("prompt", pa.string(), "prompt sent, or to be sent"),
        known("n", pa.int32(), "images asked for"),
        known("images_stored", pa.int32(), "images that the request has to show"),
        optional("attempt", pa.int32(), "its newest purchase, from 1; null when never bought"),
        known("state", pa.string(), "of that purchase; lost when an image can no longer arrive"),
        known("reason", pa.string(), "why not every image is there; empty when all are"),
        known("next_step", pa.string(), "what brings it further; empty when nothing does"),
        optional("error_kind", pa.string(), "of its create or task: moderation, invalid, ..."),
        optional("error_code", pa.string(), "the provider's code for it"),
        optional("error_message", pa.string(), "the provider's words, or ours"),
        known(
            "flags",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            f"any of: {', '.join(RequestFlag)}",
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOutcome:
    """One request of a prompt; columns are described in `OUTCOMES`."""

    prompt_id: str
    request_id: str
    prompt: str
    n: int
    images_stored: int
    attempt: int | None
    state: str
    reason: str
    next_step: str
    error_kind: str | None
    error_code: str | None
    error_message: str | None
    flags: Sequence[str] = ()

    @property
    def waiting(self) -> bool:
        """Whether a run may still bring an image by itself."""
        return self.state in _WAITING

    @property
    def told(self) -> str:
        """Why not every image is there, and what to do, in one line."""
        return str(Explanation(self.reason, self.next_step))

    @property
    def complete(self) -> bool:
        """Whether every image asked for is there."""
        return self.state == PurchaseState.STORED and RequestFlag.FEWER_THAN_N not in self.flags


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOutcomes:
    """What became of a prompt set's requests.

    Attributes:
        rows: one per request of a prompt; prompts that share a request have a row each.
    """

    rows: Sequence[RequestOutcome]

    @property
    def prompts(self) -> int:
        """Distinct prompt ids of the set."""
        return len({row.prompt_id for row in self.rows})

    @property
    def requests(self) -> int:
        """Its distinct requests."""
        return len({row.request_id for row in self.rows})

    def flagged(self, flag: RequestFlag) -> list[RequestOutcome]:
        """The rows that bear a flag."""
        return [row for row in self.rows if flag in row.flags]

    def count(self, flag: RequestFlag) -> int:
        """How many distinct requests bear a flag; of `NEVER_PRODUCED`, how many prompts."""
        found = self.flagged(flag)
        of_prompts = flag is RequestFlag.NEVER_PRODUCED
        return len({row.prompt_id if of_prompts else row.request_id for row in found})

    @property
    def any_flag(self) -> int:
        """How many distinct requests bear one."""
        return len({row.request_id for row in self.rows if row.flags})

    @property
    def images_short(self) -> int:
        """Images that the requests with `FEWER_THAN_N` have less than they asked for."""
        short = {row.request_id: row for row in self.flagged(RequestFlag.FEWER_THAN_N)}
        return sum(row.n - row.images_stored for row in short.values())

    @property
    def given_up(self) -> int:
        """Prompts that never produced an image and that no run will bring one by itself."""
        never = self.flagged(RequestFlag.NEVER_PRODUCED)
        hopeful = {row.prompt_id for row in never if row.waiting}
        return len({row.prompt_id for row in never} - hopeful)


def outcomes_of(
    requests_path: Path, ledger: LedgerReader, *, now: datetime | None = None
) -> RequestOutcomes:
    """Look up every request of a prompt set.

    Args:
        requests_path: the set's request table.
        ledger: what became of them.
        now: which deadlines have passed; the present when not given.

    Raises:
        UnreadablePromptFileError: the request table is missing; materialize `plan` first.
        LedgerUnavailableError: the ledger cannot be read.
    """
    table = request_columns(requests_path, ["prompt_id", "request_id", "prompt", "n"])
    asked = sorted(set(zip(*table.values(), strict=True)))
    ids = {request_id for _, request_id, _, _ in asked}
    purchases, images = ledger.purchases(ids), ledger.images(ids)
    now = now or datetime.now(UTC)
    stored = {request_id: len(each.images) for request_id, each in shown_of(ledger, ids).items()}
    rows = [
        RequestOutcome(
            prompt_id=prompt_id,
            request_id=request_id,
            prompt=prompt,
            n=n,
            images_stored=stored.get(request_id, 0),
            **_of_purchase(purchases.get(request_id), images.get(request_id, ()), now),
        )
        for prompt_id, request_id, prompt, n in asked
    ]
    produced = {row.prompt_id for row in rows if row.images_stored}
    return RequestOutcomes(
        rows=[replace(row, flags=_flags(row, produced=row.prompt_id in produced)) for row in rows]
    )


def write_outcomes(outcomes: RequestOutcomes, out: Path) -> None:
    """Write the table, replacing an older one at once.

    Raises:
        OSError: the disk refused; an older table stays.
    """
    with AtomicParquetWriter(out, OUTCOMES) as writer:
        for start in range(0, len(outcomes.rows), _ROWS):
            writer.write_records(outcomes.rows[start : start + _ROWS])
        writer.publish()


def read_outcomes(table: Path) -> RequestOutcomes:
    """What `write_outcomes` wrote.

    Raises:
        UnreadablePromptFileError: the table is missing, damaged or of another version.
    """
    rows = read_table(table, schema=OUTCOMES).to_pylist()
    return RequestOutcomes(rows=[RequestOutcome(**row) for row in rows])


def _of_purchase(
    purchase: Purchase | None, images: Sequence[ImageRecord], now: datetime
) -> dict[str, Any]:
    """The columns that the newest purchase of a request tells; None when it was never bought."""
    why = explain(purchase, images, now=now)
    return {
        "attempt": None if purchase is None else purchase.attempt,
        "state": state_told(purchase, images),
        "reason": why.reason,
        "next_step": why.next_step,
        **{name: getattr(purchase, name, None) for name in _OF_ERROR},
    }


_OF_ERROR = ("error_kind", "error_code", "error_message")


def _flags(row: RequestOutcome, *, produced: bool) -> list[RequestFlag]:
    """The flags of one request, in the enum's order.

    Args:
        row: the request.
        produced: whether any request of its prompt has an image.
    """
    brought = row.images_stored > 0 or row.state in _BROUGHT
    holds = {
        RequestFlag.MODERATION_FAILED: row.error_kind == _MODERATION,
        RequestFlag.NEVER_PRODUCED: not produced,
        RequestFlag.FEWER_THAN_N: brought and row.images_stored < row.n and not row.waiting,
    }
    return [flag for flag, is_so in holds.items() if is_so]
