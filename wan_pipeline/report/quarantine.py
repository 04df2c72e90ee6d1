"""A static page of what is flagged in a prompt set: a section per flag, whose word is its anchor.

Opens from disk and needs nothing from elsewhere, not even a script; everything a user or a provider
wrote is escaped. What is flagged and why is decided by `dataset.quality`; nothing here removes
anything.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from wan_pipeline.dataset.quality.flags import Flag, RequestFlag
from wan_pipeline.report.gallery import GALLERY_FILE
from wan_pipeline.report.pages import asset, environment, relative_link, write_page
from wan_pipeline.report.thumbnails import ThumbnailItem, ensure_thumbnails

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.dataset.quality.elsewhere import ElsewhereSummary
    from wan_pipeline.dataset.quality.flags import Thresholds
    from wan_pipeline.dataset.quality.outcomes import RequestOutcomes
    from wan_pipeline.dataset.quality.table import QualitySummary
    from wan_pipeline.layout import DataLayout

__all__ = ["Quarantine", "write_quarantine"]

_MOST_CARDS = 200
_MOST_GROUPS = 100
_MOST_OF_GROUP = 12
_MOST_PAIRS = 60
_MOST_REQUESTS = 500
_SHOWN_COLUMNS = ["image_id", "prompt", "size", "width", "height", "seed", "path"]

Card = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """What the page tells beside the tables' rows.

    Attributes:
        prompt_set: name of the prompt set.
        profile: account that bought its images.
        created: when the page was made, timezone-aware.
        thresholds: where the flags begin to hold.
        summary: the counts of the quality table.
        outcomes: what became of the requests.
        elsewhere: what the comparison with other sets brought.
    """

    prompt_set: str
    profile: str
    created: datetime
    thresholds: Thresholds
    summary: QualitySummary
    outcomes: RequestOutcomes
    elsewhere: ElsewhereSummary


def write_quarantine(quarantine: Quarantine, *, layout: DataLayout) -> Path:
    """Write the page of a prompt set from its tables, replacing an older one at once.

    Args:
        quarantine: the figures, and what became of the requests.
        layout: where tables, images and thumbnails lie; the page goes to `layout.quarantine`.

    Raises:
        OSError: a table cannot be read, or the page not written.
    """
    prompt_set = quarantine.prompt_set
    flagged = _flagged(layout, prompt_set)
    by_flag = {flag: [row for row in flagged if flag in row["flags"]] for flag in Flag}
    groups = _groups(by_flag[Flag.NEAR_DUPLICATE])
    lists = {
        flag: _once(rows)[:_MOST_CARDS]
        for flag, rows in by_flag.items()
        if flag is not Flag.NEAR_DUPLICATE
    }
    pairs = pq.read_table(layout.quality_elsewhere(prompt_set)).slice(0, _MOST_PAIRS).to_pylist()
    there = _images_elsewhere(layout, pairs)
    here = _images(layout, prompt_set, [pair["image_here"] for pair in pairs])
    shown = [
        *(row for group in groups for row in group["rows"]),
        *(row for rows in lists.values() for row in rows),
        *there.values(),
        *here.values(),
    ]
    path = layout.quarantine(prompt_set)
    _add_pictures(shown, layout, path.parent)
    page = _render(
        quarantine,
        gallery=relative_link(layout.gallery(prompt_set) / GALLERY_FILE, path.parent),
        groups=groups,
        lists=lists,
        tables=_tables(layout, prompt_set),
        pairs=[
            {**pair, "here": here[pair["image_here"]], "there": there[pair["image_there"]]}
            for pair in pairs
            if pair["image_here"] in here and pair["image_there"] in there
        ],
    )
    write_page(path, page)
    return path


def _render(quarantine: Quarantine, **shown: Any) -> str:
    outcomes = quarantine.outcomes
    return (
        environment()
        .get_template("quarantine.html.j2")
        .render(
            quarantine=quarantine,
            summary=quarantine.summary,
            flags=Flag,
            requests=[(flag, outcomes.flagged(flag), outcomes.count(flag)) for flag in RequestFlag],
            most_requests=_MOST_REQUESTS,
            style=Markup(asset("gallery.css") + asset("quarantine.css")),  # noqa: S704  ours
            **shown,
        )
    )


def _tables(layout: DataLayout, prompt_set: str) -> list[str]:
    """Where everything stands that the page may cut short, for a person to type."""
    tables = (
        layout.quality(prompt_set),
        layout.quality_pairs(prompt_set),
        layout.quality_elsewhere(prompt_set),
        layout.quality_outcomes(prompt_set),
    )
    return [os.path.relpath(table, layout.root) for table in tables]


def _flagged(layout: DataLayout, prompt_set: str) -> list[Card]:
    """The flagged rows of the set, with what the metadata table knows of them."""
    quality = pq.read_table(layout.quality(prompt_set))
    # Both tables have the same rows in the same order.
    positions = pc.indices_nonzero(pc.greater(pc.list_value_length(quality["flags"]), 0))
    metadata = pq.read_table(layout.metadata(prompt_set), columns=_SHOWN_COLUMNS)
    return [
        {**known, **told}
        for known, told in zip(
            metadata.take(positions).to_pylist(), quality.take(positions).to_pylist(), strict=True
        )
    ]


def _groups(rows: Iterable[Card]) -> list[dict[str, Any]]:
    """Near duplicates by group, the largest group first."""
    groups: dict[str, list[Card]] = {}
    for row in rows:
        groups.setdefault(row["near_duplicate_group"], []).append(row)
    distinct = [(name, _once(members)) for name, members in groups.items()]
    distinct.sort(key=lambda group: (-len(group[1]), group[0]))
    return [
        {
            "name": name,
            "rows": members[:_MOST_OF_GROUP],
            "size": len(members),
            "prompts": len({row["prompt_id"] for row in members}),
        }
        for name, members in distinct[:_MOST_GROUPS]
    ]


def _once(rows: Iterable[Card]) -> list[Card]:
    """Each image once, whatever many rows have it."""
    return list({row["image_id"]: row for row in rows}.values())


def _images(layout: DataLayout, prompt_set: str, image_ids: Sequence[str]) -> dict[str, Card]:
    """Some images of a set, by id; those its metadata table does not have are absent."""
    table = layout.metadata(prompt_set)
    if not image_ids or not table.exists():
        return {}
    wanted = pa.array(sorted(set(image_ids)), pa.string())
    columns = [*_SHOWN_COLUMNS, "prompt_id", "request_id", "image_index"]
    rows = pq.read_table(table, columns=columns, filters=pc.field("image_id").isin(wanted))
    return {row["image_id"]: row for row in rows.to_pylist()}


def _images_elsewhere(layout: DataLayout, pairs: Iterable[Mapping[str, Any]]) -> dict[str, Card]:
    by_set: dict[str, list[str]] = {}
    for pair in pairs:
        by_set.setdefault(pair["prompt_set"], []).append(pair["image_there"])
    found: dict[str, Card] = {}
    for prompt_set, image_ids in by_set.items():
        found |= _images(layout, prompt_set, image_ids)
    return found


def _add_pictures(rows: Sequence[Card], layout: DataLayout, folder: Path) -> None:
    """Give every row links from `folder` to its image, and to its thumbnail where there is one."""
    root = layout.root
    painted = ensure_thumbnails(
        (ThumbnailItem(image_id=row["image_id"], image_path=root / row["path"]) for row in rows),
        layout.thumbnails,
    )
    for row in rows:
        thumb = painted.paths.get(row["image_id"])
        row["href"] = relative_link(root / row["path"], folder)
        row["thumb"] = None if thumb is None else relative_link(thumb, folder)
