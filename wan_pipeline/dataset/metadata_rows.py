"""The rows of the metadata table: what a planned request, its purchase and its images tell.

Whoever writes the table and whoever holds a written one against the ledger build them here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wan_pipeline.prompts.plan_table import request_columns
from wan_pipeline.prompts.request import REQUEST_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from wan_pipeline.ledger.records import ImageRecord, Purchase
    from wan_pipeline.ledger.shown import Shown
    from wan_pipeline.prompts.expand import PlannedRequest

    CostBearers = Mapping[str, tuple[str, int]]

__all__ = ["cost_bearers", "metadata_rows", "share_cost"]

COST_STEP = Decimal("1e-9")


def cost_bearers(requests: Path) -> dict[str, tuple[str, int]]:
    """Who bears the cost of each purchase that several rows of a request table share.

    They have a row of metadata each, and the first of them by prompt id and replica costs all.

    Returns:
        Prompt id and replica by request id; a request that one row asks for is absent.

    Raises:
        UnreadablePromptFileError: the request table is missing or damaged.
    """
    columns = request_columns(requests, ["request_id", "prompt_id", "replica"])
    first: dict[str, tuple[str, int]] = {}
    shared: set[str] = set()
    for request_id, *row in zip(*columns.values(), strict=True):
        prompt_id, replica = row
        if (standing := first.get(request_id)) is not None:
            shared.add(request_id)
            first[request_id] = min(standing, (prompt_id, replica))
        else:
            first[request_id] = (prompt_id, replica)
    return {request_id: first[request_id] for request_id in shared}


def share_cost(cost: Decimal, images: int) -> list[Decimal]:
    """A cost over some images: equal shares of whole nano-dollars, the rest on the first."""
    share = (cost / images).quantize(COST_STEP, rounding="ROUND_DOWN")
    return [cost - share * (images - 1)] + [share] * (images - 1)


def metadata_rows(
    planned: PlannedRequest, found: Shown, bearers: CostBearers, *, prompt_set: str
) -> Iterator[dict[str, Any]]:
    """The rows of one request, one per stored image, without `phash`; together they cost its price.

    Args:
        planned: the row of the request table.
        found: what the ledger shows for it.
        bearers: by `cost_bearers`, of the same request table.
        prompt_set: the set's name.
    """
    own = (planned.prompt_id, planned.replica)
    free = bearers.get(planned.request_id, own) != own
    paid = Decimal(0) if free else found.purchase.cost_usd or Decimal(0)
    for record, cost in zip(found.images, share_cost(paid, len(found.images)), strict=True):
        yield _row(planned, found.purchase, record, cost_usd=cost, prompt_set=prompt_set)


def _row(
    planned: PlannedRequest,
    purchase: Purchase,
    record: ImageRecord,
    *,
    cost_usd: Decimal,
    prompt_set: str,
) -> dict[str, Any]:
    request = planned.request
    latency = (
        (purchase.completed_at - purchase.submitted_at).total_seconds()
        if purchase.completed_at and purchase.submitted_at
        else None
    )
    of_prompt = ("request_id", "prompt_id", "seed_source", "replica", "prompt_columns")
    of_purchase = (
        "actual_prompt",
        "profile",
        "dialect",
        "task_id",
        "submitted_at",
        "completed_at",
        "discount",
        "cost_source",
        "bought_by_set",
        "run_id",
        "code_version",
        "created_at",
        "provider_metadata",
    )
    of_image = (
        "image_index",
        "image_id",
        "job_id",
        "url",
        "url_expires_at",
        "path",
        "format",
        "bytes",
        "width",
        "height",
    )
    return {
        **{name: getattr(request, name) for name in REQUEST_COLUMNS},
        **{name: getattr(planned, name) for name in of_prompt},
        **{name: getattr(purchase, name) for name in of_purchase},
        **{name: getattr(record, name) for name in of_image},
        "prompt_set": prompt_set,
        "latency_s": latency,
        "cost_usd": cost_usd,
    }
