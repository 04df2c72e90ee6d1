"""From the metadata table to the gallery's rows: reads Parquet, paints thumbnails."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.report.items import GalleryRow, ImageQuality
from wan_pipeline.report.thumbnails import ThumbnailItem, ensure_thumbnails

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["gallery_rows"]

Key = tuple[str, int, str, str]
KEY = ("request_id", "image_index", "image_id", "prompt_id")
MEASURED = ("flags", "near_duplicates", "near_duplicate_group", "phash", "contrast")
MADE_HERE = {"thumb", "size_matches", "prompt_columns", "quality"}
UNCHANGED = tuple(each.name for each in fields(GalleryRow) if each.name not in MADE_HERE)


def gallery_rows(
    metadata: Path,
    *,
    data_root: Path,
    thumbnails: Path,
    quality: Path | None = None,
    pairs: Path | None = None,
) -> tuple[list[GalleryRow], dict[str, str]]:
    """The rows of a metadata table, and what is wrong by image id where none can be shown.

    Args:
        metadata: the Parquet file.
        data_root: folder that the table's paths are relative to.
        thumbnails: folder of thumbnails, below `data_root`; missing ones are painted.
        quality: the quality table; where it is not there, or tells of another image, nothing is
            known of an image's quality.
        pairs: its near-duplicate pairs.

    Raises:
        UnreadablePromptFileError: a table is damaged.
    """
    records = _read(metadata, [*UNCHANGED, "prompt_columns"])
    measured = _quality(quality, pairs)
    painted = ensure_thumbnails(
        (
            ThumbnailItem(image_id=row["image_id"], image_path=data_root / row["path"])
            for row in records
        ),
        thumbnails,
    )
    thumbs = {
        image_id: path.relative_to(data_root).as_posix() for image_id, path in painted.paths.items()
    }
    return [_row(record, thumbs, measured) for record in records], painted.failed


def _row(
    record: dict[str, Any], thumbs: Mapping[str, str], measured: Mapping[Key, ImageQuality]
) -> GalleryRow:
    return GalleryRow(
        **{name: record[name] for name in UNCHANGED},
        thumb=thumbs.get(record["image_id"]),
        size_matches=record["size"] == f"{record['width']}*{record['height']}",
        prompt_columns=json.loads(record["prompt_columns"]),
        quality=measured.get(_key(record)),
    )


def _key(record: dict[str, Any]) -> Key:
    request_id, image_index, image_id, prompt_id = (record[name] for name in KEY)
    return (request_id, image_index, image_id, prompt_id)


def _quality(quality: Path | None, pairs: Path | None) -> dict[Key, ImageQuality]:
    """What was measured, by the image's row."""
    if quality is None or not quality.exists():
        return {}
    nearest = _nearest(pairs)
    return {
        _key(record): ImageQuality(
            **{name: record[name] for name in MEASURED}, nearest=nearest.get(record["image_id"])
        )
        for record in _read(quality, [*KEY, *MEASURED])
    }


def _nearest(pairs: Path | None) -> dict[str, int]:
    """Distance to the nearest other image, by image id, over the pairs that are listed."""
    found: dict[str, int] = {}
    if pairs is None or not pairs.exists():
        return found
    for record in _read(pairs, ["image_a", "image_b", "distance"]):
        for image_id in (record["image_a"], record["image_b"]):
            found[image_id] = min(found.get(image_id, 64), record["distance"])
    return found


def _read(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UnreadablePromptFileError(
            path,
            f"cannot be read as a table ({str(error).splitlines()[0]})",
            "Materialize the asset that writes it again",
        ) from error
