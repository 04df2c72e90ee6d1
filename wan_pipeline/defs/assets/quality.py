"""The `quality` asset."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.elsewhere import ELSEWHERE, write_elsewhere
from wan_pipeline.dataset.quality.flags import RequestFlag
from wan_pipeline.dataset.quality.measuring import Measured, measure_images
from wan_pipeline.dataset.quality.outcomes import OUTCOMES, outcomes_of, write_outcomes
from wan_pipeline.dataset.quality.table import PAIRS, QUALITY, write_quality
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.layout import DataLayout
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.tables import REQUESTS
from wan_pipeline.report.quarantine import Quarantine, write_quarantine

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
PAIRS_LINEAGE = {
    "image_a": ("image_metadata", "image_id"),
    "image_b": ("image_metadata", "image_id"),
    "distance": ("image_metadata", "phash"),
    "same_prompt": ("image_metadata", "prompt_id"),
}
ELSEWHERE_LINEAGE = {
    "image_here": ("image_metadata", "image_id"),
    "image_there": ("image_metadata", "image_id"),
    "prompt_set": ("image_metadata", "prompt_set"),
    "distance": ("image_metadata", "phash"),
}
OUTCOMES_LINEAGE = {
    **ui.from_words("the ledger", ["attempt", "state", "reason", "next_step"]),
    **ui.from_words("the provider's answer", ["error_kind", "error_code", "error_message"]),
    **ui.same_columns(OUTCOMES, source="plan", origin=REQUESTS),
    "images_stored": ("images", "path"),
    "flags": [("plan", "n"), ("images", "path")],
}
# It reads what `plan` and `images` wrote as well, but what it tells is due with new metadata only:
# plans are made anew every day.
FOLLOWS = dg.AutomationCondition.eager().ignore(dg.AssetSelection.assets("plan", "images"))


@dg.asset(
    deps=["plan", "images", "image_metadata"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"numpy", "parquet", "html"},
    owners=["team:wan-pipeline"],
    code_version="3",
    automation_condition=FOLLOWS,
)
def quality(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """What is noticed about every image and every request, in tables and on a page.

    One row per image with its flags: near duplicates, blank, of another size, undecodable; the
    pairs of near duplicates, exact for any number of images; and one row per request, for those
    that moderation rejected, prompts that never produced an image, and requests with fewer images
    than asked for. The page shows everything flagged. Nothing is removed: flags are words in a
    column, and whoever trains decides. Free; follows `image_metadata` by itself once its automation
    is switched on.

    Pairs with images of other prompt sets lie in a table of their own, which is no part of the
    data version: it says what was measured by now.
    """
    prompt_set, layout = context.partition_key, wan.layout
    settings = wan.settings()
    measured = _measured(layout, prompt_set)
    summary = write_quality(
        layout.metadata(prompt_set),
        measured=measured,
        thresholds=settings.thresholds,
        out=layout.quality(prompt_set),
        pairs_out=layout.quality_pairs(prompt_set),
    )
    elsewhere = write_elsewhere(
        layout.quality(prompt_set),
        _other_sets(context, layout),
        distance=settings.near_duplicate_distance,
        out=layout.quality_elsewhere(prompt_set),
    )
    with wan.ledger() as ledger:
        outcomes = outcomes_of(layout.tables(prompt_set) / REQUESTS_FILE, ledger)
    write_outcomes(outcomes, layout.quality_outcomes(prompt_set))
    shown = Quarantine(
        prompt_set=prompt_set,
        profile=wan.profile,
        created=datetime.now(UTC),
        thresholds=settings.thresholds,
        summary=summary,
        outcomes=outcomes,
        elsewhere=elsewhere,
    )
    page = write_quarantine(shown, layout=layout)
    return dg.MaterializeResult(
        data_version=_data_version(layout, prompt_set),
        metadata={
            **_figures(shown),
            **_tables(layout, prompt_set),
            "decoded_now": measured.decoded,
            **ui.page_told(page, wan),
        },
    )


def _figures(shown: Quarantine) -> dict[str, object]:
    """The counts on the page, for the UI, which plots numbers."""
    summary, outcomes, elsewhere = shown.summary, shown.outcomes, shown.elsewhere
    return {
        "dagster/row_count": summary.rows,
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
        "requests": outcomes.requests,
        "moderated_requests": outcomes.count(RequestFlag.MODERATION_FAILED),
        "prompts_without_image": outcomes.count(RequestFlag.NEVER_PRODUCED),
        "requests_with_fewer_than_n": outcomes.count(RequestFlag.FEWER_THAN_N),
    }


def _tables(layout: DataLayout, prompt_set: str) -> dict[str, object]:
    """Every table with its columns and where they come from."""
    return {
        "dagster/column_schema": ui.column_schema(QUALITY, LINEAGE),
        "dagster/column_lineage": ui.column_lineage(LINEAGE),
        "table": dg.MetadataValue.path(str(layout.quality(prompt_set))),
        **ui.further_table(
            "pairs", layout.quality_pairs(prompt_set), schema=PAIRS, sources=PAIRS_LINEAGE
        ),
        **ui.further_table(
            "elsewhere",
            layout.quality_elsewhere(prompt_set),
            schema=ELSEWHERE,
            sources=ELSEWHERE_LINEAGE,
        ),
        **ui.further_table(
            "outcomes",
            layout.quality_outcomes(prompt_set),
            schema=OUTCOMES,
            sources=OUTCOMES_LINEAGE,
        ),
    }


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


def _data_version(layout: DataLayout, prompt_set: str) -> dg.DataVersion:
    """A hash of the tables that tell about the set itself."""
    digest = hashlib.sha256()
    for table in (layout.quality, layout.quality_pairs, layout.quality_outcomes):
        digest.update(hashlib.sha256(table(prompt_set).read_bytes()).digest())
    return dg.DataVersion(digest.hexdigest())
