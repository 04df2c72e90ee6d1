"""The `plan` asset."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow.parquet as pq

from wan_pipeline.dataset.atomic import write_atomic
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import PLAN_FILE, make_plan, standing_of
from wan_pipeline.prompts.changes import changed_at_ns
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, write_request_table
from wan_pipeline.prompts.table import PROMPTS_FILE, REJECTS_FILE, matrix_of
from wan_pipeline.prompts.tables import PROMPTS, REQUESTS

__all__ = ["plan"]

# Plans are refreshed daily; one that is older no longer tells the price of the next build.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)
)
SEED_FROM = ("seed", "prompt_id", "replicas")
IDENTITY_FROM = ("prompt", "negative_prompt", "size", "n", *SEED_FROM, "prompt_extend", "watermark")
LINEAGE = {
    **ui.same_columns(REQUESTS, source="prompts", origin=PROMPTS),
    "request_id": [("prompts", column) for column in IDENTITY_FROM],
    "seed": [("prompts", column) for column in SEED_FROM],
    "width": ("prompts", "size"),
    "height": ("prompts", "size"),
    "seed_source": ("prompts", "seed"),
    "replica": ("prompts", "replicas"),
    "model": "the settings: the one model that is bought",
}


@dg.asset(
    deps=["prompts"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"pyarrow", "parquet"},
    owners=["team:wan-pipeline"],
    code_version="1",
    freshness_policy=FRESHNESS,
)
def plan(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """What a build of this prompt set would buy, and its exact price.

    Every prompt becomes one or more requests with all defaults resolved and the seed known; equal
    requests are one purchase. The ledger tells which of them are stored, in flight or still to be
    bought. Planning buys nothing, sends nothing and needs no API key.

    The plan's summary is kept beside the request table, where schedules read it.
    """
    prompt_set = context.partition_key
    folder, account = wan.layout.tables(prompt_set), wan.account
    source = wan.prompt_file(prompt_set)
    requests = folder / REQUESTS_FILE
    summary = write_request_table(
        folder / PROMPTS_FILE, out=requests, model=account.model, base_seed=wan.base_seed
    )
    with wan.ledger() as ledger:
        standing = standing_of(requests, ledger)
    made = make_plan(
        summary,
        standing=standing,
        prompt_set=prompt_set,
        profile=account.name.value,
        planned_at=datetime.now(UTC),
        source_file=source.name,
        # A file that changed after its rows were read counts as changed.
        source_mtime_ns=min(changed_at_ns(source), (folder / PROMPTS_FILE).stat().st_mtime_ns),
        rejections=pq.read_metadata(folder / REJECTS_FILE).num_rows,
        price_usd=account.price_usd,
        price_source=account.price_source,
        matrix=matrix_of(folder / PROMPTS_FILE),
    )
    write_atomic(folder / PLAN_FILE, made.to_json().encode())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.data_version),
        metadata={
            "dagster/row_count": made.rows,
            "dagster/column_schema": ui.column_schema(REQUESTS, LINEAGE),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            "requests": made.requests,
            "images": made.images,
            "shared_rows": summary.shared,
            **asdict(standing),
            "price_per_image_usd": ui.money(made.price_usd),
            "price_source": made.price_source,
            "cost_to_buy_usd": ui.money(made.cost_to_buy_usd),
            "table": dg.MetadataValue.path(str(requests)),
        },
    )
