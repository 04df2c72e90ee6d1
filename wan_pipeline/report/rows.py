"""From the metadata table to the gallery's rows: reads Parquet, paints thumbnails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from wan_pipeline.report.gallery import GalleryRow
from wan_pipeline.report.thumbnails import ThumbnailItem, ensure_thumbnails

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["gallery_rows"]


def gallery_rows(
    metadata: Path, *, data_root: Path, thumbnails: Path
) -> tuple[list[GalleryRow], dict[str, str]]:
    """The rows of a metadata table, and what is wrong by image id where none can be shown.

    Args:
        metadata: the Parquet file.
        data_root: folder that the table's paths are relative to.
        thumbnails: folder of thumbnails, below `data_root`; missing ones are painted.
    """
    records = pq.read_table(metadata).to_pylist()
    painted = ensure_thumbnails(
        (
            ThumbnailItem(image_id=row["image_id"], image_path=data_root / row["path"])
            for row in records
        ),
        thumbnails,
    )
    rows = [
        GalleryRow(
            request_id=row["request_id"],
            image_id=row["image_id"],
            prompt_id=row["prompt_id"],
            prompt=row["prompt"],
            negative_prompt=row["negative_prompt"],
            size=row["size"],
            width=row["width"],
            height=row["height"],
            seed=row["seed"],
            seed_source=row["seed_source"],
            n=row["n"],
            image_index=row["image_index"],
            cost_usd=row["cost_usd"],
            path=row["path"],
            thumb=painted.paths[row["image_id"]].relative_to(data_root).as_posix()
            if row["image_id"] in painted.paths
            else None,
            size_matches=row["size"] == f"{row['width']}*{row['height']}",
            prompt_columns=json.loads(row["prompt_columns"]),
        )
        for row in records
    ]
    return rows, painted.failed
