"""A static page of one reproduction: what the release has beside what came now, worst first.

Opens from disk and needs nothing from elsewhere, not even a script; everything a user or a provider
wrote is escaped. What counts as drift is decided by `dataset.reproduction`; this only shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from wan_pipeline.dataset.reproduction.compare import Outcome
from wan_pipeline.dataset.reproduction.table import DRIFT_FILE
from wan_pipeline.dataset.reproduction.verdict import REPORT_FILE, Verdict, worst_first
from wan_pipeline.report.pages import asset, environment, relative_link, write_page
from wan_pipeline.report.thumbnails import ThumbnailItem, ensure_thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wan_pipeline.dataset.reproduction.compare import DriftRow
    from wan_pipeline.dataset.reproduction.verdict import DriftReport
    from wan_pipeline.layout import DataLayout

__all__ = ["PAGE_FILE", "write_drift_page"]

PAGE_FILE = "index.html"
_MOST_PAIRS = 200  # of each section; the table has all
_MOST_COSTS = 200
_NOTHING = {"href": None, "thumb": None}
_NO_PICTURE = (Outcome.NOT_BROUGHT, Outcome.UNDECODABLE, Outcome.EXTRA)
_SECTIONS: tuple[tuple[str, Callable[[DriftRow], bool]], ...] = (
    ("drifted", lambda row: row.drifted),
    ("open", lambda row: row.outcome in _NO_PICTURE),
    ("rewritten", lambda row: row.rewritten and not row.counted),
    ("kept", lambda _: True),
)


def write_drift_page(
    report: DriftReport, rows: Sequence[DriftRow], *, layout: DataLayout, out_dir: Path
) -> Path:
    """Write ``index.html`` in `out_dir`, replacing an older one at once.

    Args:
        report: the figures.
        rows: images of either side, in any order.
        layout: where images and thumbnails lie.
        out_dir: the page's folder, below `layout.root`; the two must move together.

    Raises:
        OSError: the disk refused.
    """
    sections = _sections(rows)
    shown = [row for found in sections.values() for row in found[:_MOST_PAIRS]]
    pictures = _pictures(shown, layout, out_dir)
    page = (
        environment()
        .get_template("drift.html.j2")
        .render(
            report=report,
            good=report.verdict is Verdict.NO_DRIFT,
            sections=[
                {
                    "name": name,
                    "rows": [_card(row, pictures) for row in found[:_MOST_PAIRS]],
                    "all": len(found),
                }
                for name, found in sections.items()
            ],
            costs=report.cost_differences[:_MOST_COSTS],
            files=[DRIFT_FILE, REPORT_FILE],
            style=Markup(asset("gallery.css") + asset("drift.css")),  # noqa: S704  ours
        )
    )
    path = out_dir / PAGE_FILE
    write_page(path, page)
    return path


def _sections(rows: Sequence[DriftRow]) -> dict[str, list[DriftRow]]:
    """Every row in the first section that it fits, the worst first."""
    found: dict[str, list[DriftRow]] = {name: [] for name, _ in _SECTIONS}
    for row in worst_first(rows):
        found[next(name for name, fits in _SECTIONS if fits(row))].append(row)
    return found


def _card(row: DriftRow, pictures: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
    sides = (("as released", row.old_image_id), ("as brought now", row.new_image_id))
    return {
        "row": row,
        "why": _why(row),
        "sides": [{"title": title, **pictures.get(each, _NOTHING)} for title, each in sides],
    }


def _why(row: DriftRow) -> str:
    """What is to be said of a pair."""
    match row.outcome:
        case Outcome.IDENTICAL:
            return "the same bytes"
        case Outcome.ALIKE | Outcome.CHANGED:
            return f"{row.distance} of 64 bits apart"
        case Outcome.RESIZED:
            was, now = f"{row.old_width}×{row.old_height}", f"{row.new_width}×{row.new_height}"
            return f"{now} instead of {was}"
        case Outcome.MISSING:
            return "the request brought fewer images"
        case Outcome.EXTRA:
            return "not in the release"
        case Outcome.UNDECODABLE | Outcome.NOT_BROUGHT:
            state = row.state.replace("_", " ")
            return f"{state}: {row.problem}" if row.problem else state


def _pictures(
    rows: Sequence[DriftRow], layout: DataLayout, out_dir: Path
) -> dict[str | None, dict[str, Any]]:
    """Links to image and thumbnail by image id; the latter None where it cannot be shown."""
    files = {
        image_id: layout.root / path
        for row in rows
        for image_id, path in (
            (row.old_image_id, row.old_path),
            (row.new_image_id, row.new_path),
        )
        if image_id is not None and path is not None
    }
    painted = ensure_thumbnails(
        (ThumbnailItem(image_id=name, image_path=path) for name, path in files.items()),
        layout.thumbnails,
    )
    return {
        image_id: {
            "href": relative_link(path, out_dir),
            "thumb": relative_link(painted.paths[image_id], out_dir)
            if image_id in painted.paths
            else None,
        }
        for image_id, path in files.items()
    }
