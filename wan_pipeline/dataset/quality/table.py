"""The quality tables of a prompt set: a row per image with its flags, and its near-duplicate pairs.

Both follow from the metadata table, the images and the thresholds alone: the same set is the same
two files on any machine, whatever else was bought.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.atomic import atomic_path
from wan_pipeline.dataset.fields import known, optional
from wan_pipeline.dataset.quality.flags import Flag
from wan_pipeline.dataset.quality.labels import Label
from wan_pipeline.dataset.quality.near import LISTED_OF_ONE_HASH, MAX_LISTED, near_duplicates
from wan_pipeline.dataset.quality.phash import to_hex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from wan_pipeline.dataset.quality.flags import Thresholds
    from wan_pipeline.dataset.quality.measure import Measurement
    from wan_pipeline.dataset.quality.measuring import Measured
    from wan_pipeline.dataset.quality.near import NearDuplicates

__all__ = [
    "PAIRS",
    "QUALITY",
    "READ",
    "QualitySummary",
    "near_by_image",
    "quality_rows",
    "write_quality",
]

#: Columns of the metadata table that quality is told from.
READ = (
    "request_id",
    "image_index",
    "image_id",
    "prompt_id",
    "size",
    "width",
    "height",
    "watermark",
    "provider_metadata",
)


#: One row per row of the metadata table, in its order.
QUALITY: Any = pa.schema(
    [
        known("request_id", pa.string(), "SHA-256 of the request's canonical JSON"),
        known("image_index", pa.int32(), "which of the request's images, from 0"),
        known("image_id", pa.string(), "SHA-256 of the image's bytes as received"),
        known("prompt_id", pa.string(), "id of the prompt's row"),
        optional(
            "phash",
            pa.string(),
            "perceptual hash (64 lowest DCT frequencies against their median), 16 hex digits; null"
            " when the file cannot be decoded",
        ),
        optional(
            "contrast",
            pa.float64(),
            "standard deviation of luma, 0 to 127.5; null when the file cannot be decoded",
        ),
        known(
            "near_duplicates",
            pa.int32(),
            "other image ids of the set whose hash is within the distance; exact",
        ),
        optional(
            "near_duplicate_group",
            pa.string(),
            "smallest image id of those that hang together by near duplicates; null when alone",
        ),
        known("flags", pa.list_(pa.string()), f"any of: {', '.join(Flag)}"),
        known(
            "labels",
            pa.list_(pa.string()),
            f"machine-readable labels in the file that say a model made it: {', '.join(Label)}",
        ),
        optional("problem", pa.string(), "why the file cannot be decoded"),
    ]
)

#: One row per listed pair, sorted by distance and ids.
PAIRS: Any = pa.schema(
    [
        known("image_a", pa.string(), "the smaller image id"),
        known("image_b", pa.string(), "the larger image id"),
        known("distance", pa.int32(), "bits in which their hashes differ"),
        known("same_prompt", pa.bool_(), "whether one prompt has both"),
    ],
    metadata={
        "description": f"the nearest {MAX_LISTED} pairs at most; of images that share one hash the"
        f" first {LISTED_OF_ONE_HASH} stand for all. `pairs_left_out` counts what is not listed;"
        " near_duplicates and near_duplicate_group of the quality table are exact all the same"
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySummary:
    """What the tables hold; each image id counts once.

    Attributes:
        rows: rows of the quality table.
        images: distinct image ids.
        flagged: images by flag.
        any_flag: images with at least one flag.
        groups: groups of near duplicates.
        pairs: pairs of near duplicates there are.
        pairs_listed: pairs in the pair table.
        pairs_across: listed pairs of different prompts.
    """

    rows: int
    images: int
    flagged: Mapping[Flag, int]
    any_flag: int
    groups: int
    pairs: int
    pairs_listed: int
    pairs_across: int


def write_quality(
    metadata: Path, *, measured: Measured, thresholds: Thresholds, out: Path, pairs_out: Path
) -> QualitySummary:
    """Write both tables of a prompt set, atomically.

    Args:
        metadata: the set's metadata table.
        measured: what is known of its images.
        thresholds: where flags begin to hold.
        out: the quality table.
        pairs_out: the pair table.

    Raises:
        OSError: a table cannot be read or written.
    """
    rows = pq.read_table(metadata, columns=list(READ))
    ids: list[str] = sorted(set(rows["image_id"].to_pylist()))
    near, seen = _near(ids, measured, thresholds, max_listed=MAX_LISTED)
    table = quality_rows(rows.to_pylist(), measured, _counted(near, seen), thresholds)
    pairs = _pair_table(near, seen, rows)
    for path, each in ((pairs_out, pairs), (out, table)):
        with atomic_path(path) as temp:
            pq.write_table(each, temp, compression="zstd")
    return _summary(table, pairs, total=near.total)


def near_by_image(
    image_ids: Iterable[str], measured: Measured, thresholds: Thresholds
) -> dict[str, tuple[int, str | None]]:
    """How many near duplicates each image of a set has, and its group; see `QUALITY`.

    Args:
        image_ids: all images of the set.
        measured: what is known of them.
        thresholds: where flags begin to hold.
    """
    near, seen = _near(sorted(set(image_ids)), measured, thresholds, max_listed=0)
    return _counted(near, seen)


def _near(
    ids: Sequence[str], measured: Measured, thresholds: Thresholds, *, max_listed: int
) -> tuple[NearDuplicates, list[str]]:
    """Near duplicates among sorted ids, and the ids that their positions stand for."""
    # Whoever cannot be decoded looks like nobody.
    seen = [image_id for image_id in ids if image_id in measured.known]
    hashes = np.array([measured.known[each].phash for each in seen], dtype=np.uint64)
    distance = thresholds.near_duplicate_distance
    return near_duplicates(hashes, distance=distance, max_listed=max_listed), seen


def _counted(near: NearDuplicates, seen: list[str]) -> dict[str, tuple[int, str | None]]:
    return {
        image_id: (count, None if group < 0 else seen[group])
        for image_id, count, group in zip(
            seen, near.counts.tolist(), near.groups.tolist(), strict=True
        )
    }


def quality_rows(
    rows: Sequence[dict[str, Any]],
    measured: Measured,
    found: Mapping[str, tuple[int, str | None]],
    thresholds: Thresholds,
) -> Any:
    """The quality table's rows for rows of the metadata table, as an Arrow table.

    Args:
        rows: with the columns `READ`.
        measured: what is known of their images.
        found: by `near_by_image`, of the whole set.
        thresholds: where flags begin to hold.
    """
    columns: dict[str, list[Any]] = {name: [] for name in QUALITY.names}
    for row in rows:
        measurement = measured.known.get(row["image_id"])
        count, group = found.get(row["image_id"], (0, None))
        told = {
            **{name: row[name] for name in ("request_id", "image_index", "image_id", "prompt_id")},
            "phash": None if measurement is None else to_hex(measurement.phash),
            "contrast": None if measurement is None else measurement.contrast,
            "near_duplicates": count,
            "near_duplicate_group": group,
            "flags": _flags(row, measurement, thresholds, has_near_duplicate=count > 0),
            "labels": [] if measurement is None else list(measurement.labels),
            "problem": measured.problems.get(row["image_id"]),
        }
        for name, value in told.items():
            columns[name].append(value)
    return pa.Table.from_pydict(columns, schema=QUALITY)


def _flags(
    row: dict[str, Any],
    measurement: Measurement | None,
    thresholds: Thresholds,
    *,
    has_near_duplicate: bool,
) -> list[Flag]:
    """The flags of one image, in the enum's order."""
    wrong_size = row["size"] != f"{row['width']}*{row['height']}"
    if measurement is None:
        return [Flag.UNDECODABLE, *([Flag.WRONG_SIZE] if wrong_size else [])]
    holds = {
        Flag.NEAR_DUPLICATE: has_near_duplicate,
        Flag.BLANK: measurement.contrast < thresholds.blank_contrast,
        Flag.WRONG_SIZE: wrong_size,
        Flag.NO_WATERMARK_INFORMATION: row["watermark"]
        and not _tells_watermark(row["provider_metadata"], measurement, thresholds),
    }
    return [flag for flag, is_so in holds.items() if is_so]


def _tells_watermark(
    provider_metadata: str | None, measurement: Measurement, thresholds: Thresholds
) -> bool:
    """Whether anything speaks for the watermark that was asked for.

    The protocol confirms none. What can speak for it: a label in the file, a word of the provider,
    or that something is drawn in the corner where the text belongs. Only its absence is certain:
    a plain corner has no text in it.
    """
    if measurement.labels or measurement.corner_contrast >= thresholds.blank_contrast:
        return True
    said = json.loads(provider_metadata) if provider_metadata else {}
    return isinstance(said, dict) and any("watermark" in str(key).casefold() for key in said)


def _pair_table(near: NearDuplicates, ids: Sequence[str], rows: Any) -> Any:
    listed = near.pairs
    concerned = {position for pair in listed for position in pair[:2]}
    wanted = pa.array(sorted(ids[each] for each in concerned), pa.string())
    of_image: dict[str, set[str]] = {}
    some = rows.select(["image_id", "prompt_id"])
    for row in some.filter(pc.is_in(some["image_id"], value_set=wanted)).to_pylist():
        of_image.setdefault(row["image_id"], set()).add(row["prompt_id"])
    columns = {
        "image_a": [ids[one] for one, _, _ in listed],
        "image_b": [ids[other] for _, other, _ in listed],
        "distance": [distance for _, _, distance in listed],
        "same_prompt": [
            not of_image[ids[one]].isdisjoint(of_image[ids[other]]) for one, other, _ in listed
        ],
    }
    left_out = {"pairs_left_out": str(near.total - len(listed))}
    schema = PAIRS.with_metadata({**(PAIRS.metadata or {}), **left_out})
    return pa.Table.from_pydict(columns, schema=schema)


def _summary(table: Any, pairs: Any, *, total: int) -> QualitySummary:
    by_image = dict(zip(table["image_id"].to_pylist(), table["flags"].to_pylist(), strict=True))
    flagged = Counter(flag for flags in by_image.values() for flag in flags)
    across = pc.sum(pc.invert(pairs["same_prompt"])).as_py() or 0
    return QualitySummary(
        rows=table.num_rows,
        images=len(by_image),
        flagged={flag: flagged[flag.value] for flag in Flag},
        any_flag=sum(1 for flags in by_image.values() if flags),
        groups=pc.count_distinct(table["near_duplicate_group"], mode="only_valid").as_py(),
        pairs=total,
        pairs_listed=pairs.num_rows,
        pairs_across=across,
    )
