"""The `gallery` asset."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow as pa

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import UnfinishedRequest, standing_of, unfinished_of
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests
from wan_pipeline.report.gallery import AbsentRequest, GalleryRow, GallerySummary, write_gallery
from wan_pipeline.report.rows import gallery_rows

__all__ = ["gallery"]

FAILED = frozenset({PurchaseState.REFUSED, PurchaseState.FAILED, PurchaseState.EXPIRED})
SHOWN = {column.name for column in fields(GalleryRow)}
COLUMNS = pa.schema([column for column in METADATA if column.name in SHOWN])
LINEAGE = ui.same_columns(COLUMNS, source="image_metadata", origin=METADATA)


@dg.asset(
    deps=["image_metadata", "quality"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"jinja", "html"},
    owners=["team:wan-pipeline"],
    code_version="1",
    automation_condition=dg.AutomationCondition.eager(),
)
def gallery(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """A static HTML page that shows every image of the prompt set.

    Opens from disk with no network and no server: thumbnails, prompt, seed, size and cost, a
    filter by text, links to the full images, and a list of what is not there and why. Free to
    build; follows `image_metadata` by itself once its automation is switched on.
    """
    prompt_set, layout = context.partition_key, wan.layout
    requests = layout.tables(prompt_set) / REQUESTS_FILE
    rows, not_shown = gallery_rows(
        layout.metadata(prompt_set), data_root=layout.root, thumbnails=layout.thumbnails
    )
    with wan.ledger() as ledger:
        standing = standing_of(requests, ledger)
        absent = unfinished_of(requests, ledger)
    prompts = {row.request_id: row.request.prompt for row in iter_requests(requests)}
    report = write_gallery(
        rows,
        out_dir=layout.gallery(prompt_set),
        data_root=layout.root,
        summary=GallerySummary(
            prompt_set=prompt_set,
            profile=wan.profile,
            images=len(rows),
            requests=standing.requests,
            failed=Counter(each.reason for each in absent if each.state in FAILED),
            waiting={"not bought yet": standing.to_buy, "in flight": standing.in_flight},
            unknown=standing.unknown,
            missing=standing.lost,
            cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
            created=datetime.now(UTC),
            absent=[_absent(request, prompts[request.request_id]) for request in absent],
        ),
    )
    return dg.MaterializeResult(
        data_version=_data_version(layout.metadata(prompt_set), absent),
        metadata={
            "dagster/row_count": report.images,
            "dagster/column_schema": ui.column_schema(COLUMNS),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            "page": dg.MetadataValue.path(str(report.path)),
            "open": dg.MetadataValue.url(report.path.as_uri()),
            "page_bytes": report.bytes,
            "thumbnails_failed": len(not_shown),
            "cost_usd": ui.money(sum((row.cost_usd for row in rows), Decimal(0))),
        },
    )


def _data_version(metadata: Path, absent: Sequence[UnfinishedRequest]) -> dg.DataVersion:
    """A hash of what the page shows, but for the time at which it was made."""
    digest = hashlib.sha256(metadata.read_bytes())
    for request in absent:
        digest.update(f"{request.request_id} {request.state} {request.reason}\n".encode())
    return dg.DataVersion(digest.hexdigest())


def _absent(request: UnfinishedRequest, prompt: str) -> AbsentRequest:
    return AbsentRequest(
        request_id=request.request_id,
        prompt_id=request.prompt_id,
        prompt=prompt,
        state=request.state,
        reason=request.reason,
    )
