"""Asset checks. Only the last one blocks: everything paid for is kept and shown before it can."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from collections import Counter
from decimal import Decimal

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.quality.flags import Flag, RequestFlag
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import standing_of, unfinished_of
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.table import REJECTS_FILE
from wan_pipeline.told import counted

__all__ = ["checks"]

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dg.asset_check(asset="prompts", partitions_def=prompt_sets)
def no_rejects(context: dg.AssetCheckExecutionContext, wan: WanResource) -> dg.AssetCheckResult:
    """Every row of the prompt file obeys the rules; rejected rows are listed with what to do."""
    table = pq.read_table(wan.layout.tables(context.partition_key) / REJECTS_FILE)
    return dg.AssetCheckResult(
        passed=table.num_rows == 0,
        severity=WARN,
        description=f"{counted(table.num_rows, 'rule')} broken by rows of the prompt file",
        metadata={"rejects": ui.table_rows(table.slice(0, 50).to_pylist())},
    )


@dg.asset_check(asset="plan", partitions_def=prompt_sets)
def seeds_are_reproducible(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """No row gives a seed and lets the provider rewrite its prompt; the rewrite is not seeded."""
    table = _requests(context, wan, ["prompt_id", "seed_source", "prompt_extend"])
    both = table.filter(pc.and_(pc.equal(table["seed_source"], "given"), table["prompt_extend"]))
    return dg.AssetCheckResult(
        passed=both.num_rows == 0,
        severity=WARN,
        description=f"{both.num_rows} requests combine a given seed with prompt_extend: set"
        " prompt_extend to false where the seed matters",
        metadata={"requests": both.num_rows},
    )


@dg.asset_check(asset="image_metadata", partitions_def=prompt_sets)
def image_count_is_sum_of_n(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """There are as many images as the set's requests ask for together, and never more."""
    requests = _requests(context, wan, ["request_id", "prompt_id", "n"]).to_pylist()
    asked = {row["request_id"]: row for row in requests}
    rows = _metadata(context, wan, ["request_id", "image_index"])
    images = rows.group_by(["request_id", "image_index"]).aggregate([])
    stored = Counter(images["request_id"].to_pylist())
    short = [
        {**row, "stored": stored[request_id]}
        for request_id, row in asked.items()
        if stored[request_id] != row["n"]
    ]
    wanted = sum(row["n"] for row in asked.values())
    missing = sum(max(row["n"] - row["stored"], 0) for row in short)
    too_many = sum(max(row["stored"] - row["n"], 0) for row in short)
    allowed, layout = wan.settings().missing_images_allowed, wan.layout
    return dg.AssetCheckResult(
        passed=missing <= allowed * wanted and not too_many,
        severity=ERROR,
        description=f"{images.num_rows} images stored, {wanted} asked for"
        f"{ui.share_allowed(wan, 'missing_images_allowed')}",
        metadata={
            "images_stored": images.num_rows,
            "images_asked_for": wanted,
            "images_missing": missing,
            "share": missing / wanted if wanted else 0.0,
            "requests": ui.table_rows(short),
            # Both are written by `quality`, which comes later in a build.
            "page": ui.page_link(
                layout.quarantine(context.partition_key), wan, RequestFlag.FEWER_THAN_N
            ),
            "table": dg.MetadataValue.path(str(layout.quality_outcomes(context.partition_key))),
        },
    )


@dg.asset_check(asset="image_metadata", partitions_def=prompt_sets)
def cost_is_within_plan(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """No purchase cost more than its price at the time of its intent."""
    ids = _requests(context, wan, ["request_id"])["request_id"].to_pylist()
    with wan.ledger() as ledger:
        purchases = [
            purchase for purchase in ledger.purchases(ids).values() if purchase.cost_usd is not None
        ]
    paid = sum((purchase.cost_usd or Decimal(0) for purchase in purchases), Decimal(0))
    planned = sum((purchase.price_usd * purchase.n for purchase in purchases), Decimal(0))
    dearer = [
        {
            "request_id": purchase.request_id,
            "cost_usd": str(purchase.cost_usd),
            "planned_usd": str(purchase.price_usd * purchase.n),
        }
        for purchase in purchases
        if (purchase.cost_usd or Decimal(0)) > purchase.price_usd * purchase.n
    ]
    return dg.AssetCheckResult(
        passed=not dearer,
        severity=ERROR,
        description=f"paid {paid} USD for what was planned at {planned} USD",
        metadata={
            "paid_usd": ui.money(paid),
            "planned_usd": ui.money(planned),
            "dearer": ui.table_rows(dearer),
        },
    )


@dg.asset_check(asset="image_metadata", partitions_def=prompt_sets)
def sizes_are_as_requested(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Every image has the size that its request asked for."""
    rows = _metadata(context, wan, ["image_id", "prompt_id", "size", "width", "height"])
    wrong = [row for row in rows.to_pylist() if row["size"] != f"{row['width']}*{row['height']}"]
    allowed, layout = wan.settings().wrong_size_allowed, wan.layout
    return dg.AssetCheckResult(
        passed=len(wrong) <= allowed * rows.num_rows,
        severity=ERROR,
        description=f"{len(wrong)} of {rows.num_rows} images have another size"
        f"{ui.share_allowed(wan, 'wrong_size_allowed')}",
        metadata={
            "wrong_size": len(wrong),
            "share": len(wrong) / rows.num_rows if rows.num_rows else 0.0,
            "images": ui.table_rows(wrong),
            # Both are written by `quality`, which comes later in a build.
            "page": ui.page_link(layout.quarantine(context.partition_key), wan, Flag.WRONG_SIZE),
            "table": dg.MetadataValue.path(str(layout.quality(context.partition_key))),
        },
    )


@dg.asset_check(asset="image_metadata", partitions_def=prompt_sets)
def no_duplicate_images(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """No two different requests brought the very same bytes."""
    rows = _metadata(context, wan, ["image_id", "request_id"])
    requests = rows.group_by("image_id").aggregate([("request_id", "count_distinct")])
    alike = requests.filter(pc.greater(requests["request_id_count_distinct"], 1))
    return dg.AssetCheckResult(
        passed=alike.num_rows == 0,
        severity=WARN,
        description=f"{counted(alike.num_rows, 'image')} came from more than one request",
        metadata={"images": ui.table_rows(alike.slice(0, 50).to_pylist())},
    )


@dg.asset_check(asset="gallery", partitions_def=prompt_sets, blocking=True)
def every_request_stored(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Every request of the set is complete; the ones that are not are listed with the reason.

    Last and blocking: it turns the run red after everything that succeeded is kept and shown.
    """
    requests = wan.layout.tables(context.partition_key) / REQUESTS_FILE
    with wan.ledger() as ledger:
        standing = standing_of(requests, ledger)
        missing = unfinished_of(requests, ledger)
    rows = [
        {
            "prompt_id": request.prompt_id,
            "state": request.state,
            "reason": request.reason,
            "next_step": request.next_step,
            "request_id": request.request_id,
        }
        for request in missing
    ]
    return dg.AssetCheckResult(
        passed=not missing,
        severity=ERROR,
        description=f"{standing.stored} of {standing.requests} requests are complete",
        metadata={
            "complete": standing.stored,
            "not_complete": len(missing),
            "unknown": standing.unknown,
            "requests": ui.table_rows(rows),
        },
    )


def _requests(
    context: dg.AssetCheckExecutionContext, wan: WanResource, columns: list[str]
) -> pa.Table:
    path = wan.layout.tables(context.partition_key) / REQUESTS_FILE
    return pq.read_table(path, columns=columns)


def _metadata(
    context: dg.AssetCheckExecutionContext, wan: WanResource, columns: list[str]
) -> pa.Table:
    return pq.read_table(wan.layout.metadata(context.partition_key), columns=columns)


checks = [
    no_rejects,
    seeds_are_reproducible,
    image_count_is_sum_of_n,
    cost_is_within_plan,
    sizes_are_as_requested,
    no_duplicate_images,
    every_request_stored,
]
