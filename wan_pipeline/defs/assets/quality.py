"""The `quality` asset."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.elsewhere import write_elsewhere
from wan_pipeline.dataset.quality.measuring import Measured, measure_images
from wan_pipeline.dataset.quality.table import QUALITY, write_quality
from wan_pipeline.dataset.quality.troubles import Troubles, troubles_of
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.report.quarantine import Quarantine, write_quarantine
from wan_pipeline.settings import DataLayout

__all__ = ["quality"]

LINEAGE = {
    **ui.same_columns(QUALITY, source="image_metadata", origin=METADATA),
    "contrast": ("image_metadata", "path"),
    "near_duplicates": ("image_metadata", "phash"),
    "near_duplicate_group": ("image_metadata", "phash"),
    "flags": ("image_metadata", "path"),
    "labels": ("image_metadata", "path"),
    "problem": ("image_metadata", "path"),
}


@dg.asset(
    deps=["image_metadata"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"numpy", "parquet", "html"},
    owners=["team:wan-pipeline"],
    code_version="1",
    automation_condition=dg.AutomationCondition.eager(),
)
def quality(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """What is noticed about every image: near duplicates, blank, of another size, undecodable.

    One row per image with its flags, and the pairs of near duplicates, exact for any number of
    images; and a page that shows everything flagged, with moderated prompts and prompts without an
    image. Nothing is removed: flags are words in a column, and whoever trains decides. Free;
    follows `image_metadata` by itself once its automation is switched on.

    Pairs with images of other prompt sets lie in a table of their own, which is no part of the
    data version: it says what was measured by now.
    """
    prompt_set, layout = context.partition_key, wan.layout
    settings = wan.settings()
    measured = _measured(layout, prompt_set)
    table, pairs = layout.quality(prompt_set), layout.quality_pairs(prompt_set)
    summary = write_quality(
        layout.metadata(prompt_set),
        measured=measured,
        thresholds=settings.thresholds,
        out=table,
        pairs_out=pairs,
    )
    elsewhere = write_elsewhere(
        table,
        _other_sets(context, layout),
        distance=settings.near_duplicate_distance,
        out=layout.quality_elsewhere(prompt_set),
    )
    with wan.ledger() as ledger:
        troubles = troubles_of(layout.tables(prompt_set) / REQUESTS_FILE, ledger)
    page = write_quarantine(
        Quarantine(
            prompt_set=prompt_set,
            profile=wan.profile,
            created=datetime.now(UTC),
            thresholds=settings.thresholds,
            summary=summary,
            troubles=troubles,
            elsewhere=elsewhere,
        ),
        layout=layout,
    )
    return dg.MaterializeResult(
        data_version=_data_version((table, pairs), troubles),
        metadata={
            "dagster/row_count": summary.rows,
            "dagster/column_schema": ui.column_schema(QUALITY),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            "images": summary.images,
            "flagged_images": summary.any_flag,
            **{flag.value: count for flag, count in summary.flagged.items()},
            "near_duplicate_groups": summary.groups,
            "near_duplicate_pairs": summary.pairs,
            "pairs_listed": summary.pairs_listed,
            "pairs_listed_across_prompts": summary.pairs_across,
            "pairs_with_other_sets": elsewhere.pairs,
            "other_sets_compared": elsewhere.sets,
            "other_sets_unreadable": ", ".join(elsewhere.unreadable) or "none",
            "moderated_requests": len(troubles.moderated),
            "prompts_without_image": troubles.prompts_without_image,
            "decoded_now": measured.decoded,
            "page": dg.MetadataValue.path(str(page)),
            "open": dg.MetadataValue.url(page.as_uri()),
            "table": dg.MetadataValue.path(str(table)),
            "pairs": dg.MetadataValue.path(str(pairs)),
        },
    )


def _measured(layout: DataLayout, prompt_set: str) -> Measured:
    """What is known of the set's images; `image_metadata` has measured them."""
    rows = pq.read_table(layout.metadata(prompt_set), columns=["image_id", "path"])
    files = {
        image_id: layout.root / path
        for image_id, path in zip(
            rows["image_id"].to_pylist(), rows["path"].to_pylist(), strict=True
        )
    }
    return measure_images(files, MeasurementCache(layout.measurements))


def _other_sets(context: dg.AssetExecutionContext, layout: DataLayout) -> Mapping[str, Path]:
    """Quality tables of the other prompt sets, by name."""
    known = context.instance.get_dynamic_partitions("prompt_set")
    tables = {name: layout.quality(name) for name in known if name != context.partition_key}
    return {name: table for name, table in tables.items() if table.exists()}


def _data_version(tables: tuple[Path, ...], troubles: Troubles) -> dg.DataVersion:
    """A hash of what is told about the set itself."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(hashlib.sha256(table.read_bytes()).digest())
    for kind, found in (("m", troubles.moderated), ("w", troubles.without_image)):
        for each in found:
            digest.update(f"{kind} {each.request_id} {each.state} {each.reason}\n".encode())
    return dg.DataVersion(digest.hexdigest())
