"""The plan: what a prompt set's requests cost and how far they are. Buys nothing, needs no key."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from wan_pipeline.ledger.incomplete import Explanation, explain, state_told
from wan_pipeline.ledger.reasons import LOST
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.matrix.count import MatrixCount
from wan_pipeline.prompts.plan_table import request_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.prompts.plan_table import RequestTableSummary
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = [
    "PLAN_FILE",
    "Plan",
    "Standing",
    "UnfinishedRequest",
    "make_plan",
    "standing_in",
    "standing_of",
    "unfinished_of",
]

PLAN_FILE = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Distinct requests of a set by how far they are; each is in exactly one count.

    Attributes:
        stored: complete.
        in_flight: intended or submitted, or its images not fetched yet.
        to_buy: never bought, or proven not to have been.
        failed: refused, failed or expired; bought again only on a person's word.
        unknown: a task may exist.
        lost: paid, and at least one image can no longer arrive; no other one is waited for.
        images_stored: images on disk.
        images_to_buy: images of `to_buy`.
        images_short: images that complete requests brought fewer than they asked for.
    """

    stored: int = 0
    in_flight: int = 0
    to_buy: int = 0
    failed: int = 0
    unknown: int = 0
    lost: int = 0
    images_stored: int = 0
    images_to_buy: int = 0
    images_short: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.stored + self.in_flight + self.to_buy + self.failed + self.unknown + self.lost

    @property
    def incomplete(self) -> int:
        """All but the complete ones."""
        return self.requests - self.stored

    @property
    def has_work(self) -> bool:
        """Whether a run would do anything."""
        return bool(self.to_buy or self.in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A prompt set's requests and their price, as of `planned_at`.

    `price_usd` is per image and None when the profile has none; then nothing can be bought.
    `source_mtime_ns` is the time of the file, or of what it draws on where that is later. `matrix`
    tells what multiplies what where the file is a prompt matrix.
    """

    prompt_set: str
    profile: str
    planned_at: datetime
    source_file: str
    source_mtime_ns: int
    rows: int
    requests: int
    images: int
    rejections: int
    seed_with_prompt_extend: int
    data_version: str
    price_usd: Decimal | None
    price_source: str
    standing: Standing
    matrix: MatrixCount | None = None

    @property
    def cost_to_buy_usd(self) -> Decimal | None:
        """Exact price of what is left to buy."""
        return None if self.price_usd is None else self.price_usd * self.standing.images_to_buy

    def to_json(self) -> str:
        """As text; money and times are strings."""
        return json.dumps(
            {**asdict(self), "cost_to_buy_usd": self.cost_to_buy_usd}, default=str, indent=2
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a stored plan.

        Raises:
            UnreadablePromptFileError: it is missing, damaged, or of another version.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise UnreadablePromptFileError(
                path, "is no plan that this version can read", "Plan the prompt set again"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Back from `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        fields.pop("cost_to_buy_usd")
        price = fields.pop("price_usd")
        planned_at = datetime.fromisoformat(fields.pop("planned_at"))
        standing = Standing(**fields.pop("standing"))
        matrix = fields.pop("matrix", None)
        return cls(
            **fields,
            planned_at=planned_at,
            standing=standing,
            matrix=None if matrix is None else MatrixCount.from_plain(matrix),
            price_usd=None if price is None else Decimal(price),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRequest:
    """A request that is not complete, why, and what brings it further."""

    request_id: str
    prompt_id: str
    n: int
    state: str
    reason: str
    next_step: str = ""
    reserved_usd: Decimal

    @property
    def told(self) -> str:
        """Why, and what to do, in one line."""
        return str(Explanation(self.reason, self.next_step))


def make_plan(summary: RequestTableSummary, *, standing: Standing, **facts: Any) -> Plan:
    """Put the request table's counts and the ledger's standing together."""
    return Plan(
        rows=summary.rows,
        requests=summary.distinct_requests,
        images=summary.images,
        seed_with_prompt_extend=summary.seed_with_prompt_extend,
        data_version=summary.data_version,
        standing=standing,
        **facts,
    )


def standing_of(requests_path: Path, ledger: Ledger) -> Standing:
    """How far a set's requests are now: one column of the request table and the ledger."""
    wanted = _images_per_request(requests_path)
    stored = {each: len(shown.images) for each, shown in shown_of(ledger, wanted).items()}
    return _counted(
        wanted, ledger.purchases(wanted), stored, ledger.requests_with_lost_images(wanted)
    )


def standing_in(
    series: str, requests: Collection[GenerationRequest], ledger: LedgerReader
) -> Standing:
    """How far a series of reproductions has come with some requests; the dataset is left aside."""
    wanted = {request.request_id: request.n for request in requests}
    stored = {
        request_id: sum(each.state is ImageState.STORED for each in records)
        for request_id, records in ledger.images(wanted, series=series).items()
    }
    return _counted(
        wanted,
        ledger.purchases(wanted, series=series),
        stored,
        ledger.requests_with_lost_images(wanted, series=series),
    )


def unfinished_of(
    requests_path: Path, ledger: Ledger, *, now: datetime | None = None
) -> list[UnfinishedRequest]:
    """Every request of a set that is not complete, with the reason, sorted by prompt.

    Args:
        requests_path: the set's request table.
        ledger: what became of them.
        now: which deadlines have passed; the present when not given.
    """
    table = request_columns(requests_path, ["request_id", "prompt_id", "n"])
    prompts: dict[str, str] = dict(zip(table["request_id"], table["prompt_id"], strict=True))
    images_of: dict[str, int] = dict(zip(table["request_id"], table["n"], strict=True))
    purchases, images = ledger.purchases(prompts), ledger.images(prompts)
    found: list[UnfinishedRequest] = []
    for request_id, prompt_id in prompts.items():
        purchase, own = purchases.get(request_id), images.get(request_id, ())
        state = state_told(purchase, own)
        if state == PurchaseState.STORED:
            continue
        why = explain(purchase, own, now=now or datetime.now(UTC))
        found.append(
            UnfinishedRequest(
                request_id=request_id,
                prompt_id=prompt_id,
                n=images_of[request_id],
                state=state,
                reason=why.reason,
                next_step=why.next_step,
                reserved_usd=purchase.reserved_usd if purchase else Decimal(0),
            )
        )
    return sorted(found, key=lambda request: (request.prompt_id, request.request_id))


def _counted(
    wanted: Mapping[str, int],
    purchases: Mapping[str, Purchase],
    stored: Mapping[str, int],
    lost: Collection[str],
) -> Standing:
    """Each request in its place.

    Args:
        wanted: images asked for, by request.
        purchases: what stands of them.
        stored: images on disk, by request.
        lost: requests with an image that can no longer arrive.
    """
    counts: Counter[str] = Counter()
    for request_id, n in wanted.items():
        purchase, found = purchases.get(request_id), stored.get(request_id, 0)
        state = purchase.state if purchase else PurchaseState.PLANNED
        place = _place(state, lost=request_id in lost)
        counts[place] += 1
        counts["images_stored"] += found
        if place == "to_buy":
            counts["images_to_buy"] += n
        if place == "stored":
            counts["images_short"] += max(n - found, 0)
    return Standing(**counts)


def _images_per_request(requests_path: Path) -> dict[str, int]:
    table = request_columns(requests_path, ["request_id", "n"])
    return dict(zip(table["request_id"], table["n"], strict=True))


def _place(state: PurchaseState, *, lost: bool) -> str:
    if state.unfinished:
        return "in_flight"
    if lost:
        return LOST
    if state is PurchaseState.PLANNED:
        return "to_buy"
    if state is PurchaseState.UNKNOWN:
        return "unknown"
    return "stored" if state is PurchaseState.STORED else "failed"
