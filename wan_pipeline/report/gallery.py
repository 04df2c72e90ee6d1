"""One static page per prompt set that shows every stored image, and every request without one.

Opens from disk and needs nothing from elsewhere: style, script and data are inside, pictures are
linked relative to the page, so the data folder can be moved as a whole. Everything a user or a
provider wrote is escaped, and the page forbids itself any script but its own. The first images are
plain HTML; the script draws only those in view, so that thousands cost a browser no more than a
few. What the figures mean is decided by the callers; this module only shows them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from wan_pipeline.report.gallery_data import gallery_data, json_for_html
from wan_pipeline.report.pages import asset, environment, relative_link, write_page
from wan_pipeline.report.thumbnails import THUMBNAIL_WIDTH_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from wan_pipeline.report.items import AbsentRequest, GalleryRow

__all__ = ["GALLERY_FILE", "MAX_IMAGES", "GalleryReport", "GallerySummary", "write_gallery"]

GALLERY_FILE = "index.html"

MAX_IMAGES = 20_000
"""Most images one page shows; the page, of 7 MB then, says what it left out."""

FIRST = 48
"""Images that are there before the script runs, and without it."""

MAX_ABSENT = 500
MAX_TALLNESS = 1.8  # 9:16 fits; taller pictures are cropped on their card, never when opened
SCRIPTS = ("data", "choose", "layout", "cards", "filters", "viewer", "keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySummary:
    """The figures at the top of the page.

    Attributes:
        prompt_set: name of the prompt set.
        profile: account that bought the images.
        images: images stored.
        requests: requests in the plan.
        failed: requests that bring no image, counted by reason.
        waiting: requests that a later run may still bring, counted by what they wait for.
        unknown: requests nobody knows the fate of; they may have been billed.
        missing: images that requests brought fewer than they asked for, or lost.
        cost_usd: what the set's runs have paid, as in the report about them.
        shown_usd: cost of the images shown; what was paid without an image to show, or was bought
            by another set, makes the difference.
        created: when the page was made, timezone-aware.
        absent: the requests behind `failed`, `waiting`, `unknown` and `missing`.
        report: link from the page to the report about the set's runs; empty when there is none.
        quarantine: link to the page of what is flagged in the set; likewise.
    """

    prompt_set: str
    profile: str
    images: int
    requests: int
    failed: Mapping[str, int]
    unknown: int
    missing: int
    cost_usd: Decimal
    shown_usd: Decimal
    created: datetime
    waiting: Mapping[str, int] = field(default_factory=dict[str, int])
    absent: Sequence[AbsentRequest] = ()
    report: str = ""
    quarantine: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to explain."""
        counts = (*self.failed.values(), *self.waiting.values(), self.unknown, self.missing)
        return not (any(counts) or self.absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryReport:
    """What `write_gallery` wrote.

    Attributes:
        path: the page.
        images: images on it.
        left_out: images beyond `MAX_IMAGES`, mentioned but not shown.
        bytes: length of the page.
    """

    path: Path
    images: int
    left_out: int
    bytes: int


def write_gallery(
    rows: Iterable[GalleryRow], *, out_dir: Path, data_root: Path, summary: GallerySummary
) -> GalleryReport:
    """Write ``index.html`` in `out_dir`, replacing an older one at once.

    Args:
        rows: the images in the order to show them.
        out_dir: the page's folder; made if missing.
        data_root: what the rows' paths are relative to; the page must move together with it.
        summary: the figures and the requests that are not there.

    Raises:
        OSError: the disk refused.
    """
    remaining = iter(rows)
    shown = list(islice(remaining, MAX_IMAGES))
    left_out = sum(1 for _ in remaining)
    absent = summary.absent[:MAX_ABSENT]
    page = _render(
        summary=summary,
        cards=[_card(row, out_dir=out_dir, data_root=data_root) for row in shown[:FIRST]],
        data=gallery_data([*shown, *absent], out_dir=out_dir, data_root=data_root),
        images=len(shown),
        left_out=left_out,
        absent=absent,
        absent_left_out=len(summary.absent) - len(absent),
    )
    path = out_dir / GALLERY_FILE
    return GalleryReport(
        path=path, images=len(shown), left_out=left_out, bytes=write_page(path, page)
    )


def _render(*, data: dict[str, Any], **shown: Any) -> str:
    """Fill the template."""
    parts = "".join(asset(f"gallery/{name}.js") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        environment()
        .get_template("gallery.html.j2")
        .render(
            **shown,
            data=json_for_html(data),
            style=Markup(asset("gallery.css") + asset("gallery_page.css")),  # noqa: S704  ours
            script=Markup(script),  # noqa: S704  ours, from the package
            script_digest=digest,
        )
    )


def _card(row: GalleryRow, *, out_dir: Path, data_root: Path) -> dict[str, Any]:
    """What the template shows of one image; the script draws the same card."""
    tallness = row.height / max(row.width, 1)
    return {
        "row": row,
        "size": row.size.replace("*", "\N{MULTIPLICATION SIGN}"),
        "href": relative_link(data_root / row.path, out_dir),
        "thumb": row.thumb and relative_link(data_root / row.thumb, out_dir),
        "thumb_width": THUMBNAIL_WIDTH_PX,
        "thumb_height": round(THUMBNAIL_WIDTH_PX * tallness),
        "tallness": f"{min(tallness, MAX_TALLNESS):.4f}",
    }
