"""The `image_metadata` asset."""

import hashlib
from collections.abc import Mapping

import dagster as dg

from wan_pipeline.dataset.metadata import METADATA, write_metadata
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.measuring import measure_images
from wan_pipeline.dataset.quality.phash import to_hex
from wan_pipeline.defs import ui
from wan_pipeline.defs.assets.images import COLUMNS
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.layout import DataLayout
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.tables import REQUESTS

__all__ = ["image_metadata"]

LINEAGE = {
    **ui.same_columns(METADATA, source="plan", origin=REQUESTS),
    # What both know is told as received, not as planned.
    **ui.same_columns(METADATA, source="images", origin=COLUMNS),
    "phash": ("images", "path"),
    "prompt_set": "the partition: the prompt file's name",
}


@dg.asset(
    deps=["plan", "images"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"pyarrow", "parquet"},
    owners=["team:wan-pipeline"],
    code_version="2",
)
def image_metadata(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """One row per stored image: where it came from, what it is, what it cost.

    Built from what is stored, whatever failed: request, prompt, seed, size, task, URL, file, hash
    and cost of every image, with one schema for all prompt sets. The rows are sorted, so the same
    content is the same file. Each image is decoded once in its life, for its perceptual hash; what
    is measured is kept for later runs and for `quality`. Loads with one line in pandas, DuckDB or
    `datasets`.
    """
    prompt_set, layout = context.partition_key, wan.layout
    out = layout.metadata(prompt_set)
    with wan.ledger() as ledger:
        summary = write_metadata(
            layout.tables(prompt_set) / REQUESTS_FILE,
            ledger=ledger,
            prompt_set=prompt_set,
            out=out,
            phashes=lambda paths: _phashes(paths, layout),
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hashlib.sha256(out.read_bytes()).hexdigest()),
        metadata={
            "dagster/row_count": summary.rows,
            "dagster/column_schema": ui.column_schema(METADATA, LINEAGE),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            "requests": summary.requests,
            "image_bytes": summary.bytes,
            "wrong_size": summary.wrong_size,
            "shared_images": summary.shared_images,
            "cost_usd": ui.money(summary.cost_usd),
            "table": dg.MetadataValue.path(str(out)),
        },
    )


def _phashes(paths: Mapping[str, str], layout: DataLayout) -> dict[str, str]:
    """Perceptual hash of every image that can be decoded, by its id."""
    files = {image_id: layout.root / path for image_id, path in paths.items()}
    measured = measure_images(files, MeasurementCache(layout.measurements))
    return {image_id: to_hex(each.phash) for image_id, each in measured.known.items()}
