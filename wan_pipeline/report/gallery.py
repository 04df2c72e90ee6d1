"""One static page per prompt set that shows every stored image.

Opens from disk and needs nothing from elsewhere: style and script are inside, pictures are linked
relative to the page, so the data folder can be moved as a whole. Everything a user or a provider
wrote is escaped, and the page forbids itself any script but its own. What the figures mean is
decided by the callers; this module only shows them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from wan_pipeline.dataset.atomic import write_atomic
from wan_pipeline.report.pages import asset, environment, usd
from wan_pipeline.report.thumbnails import THUMBNAIL_WIDTH_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

__all__ = [
    "MAX_CARDS",
    "AbsentRequest",
    "GalleryReport",
    "GalleryRow",
    "GallerySummary",
    "write_gallery",
]

MAX_CARDS = 5000
"""Most images one page shows; browsers scroll this many well. The page says what it left out."""

_MAX_ABSENT = 500
_MAX_TALLNESS = 1.8  # 9:16 fits; taller pictures are cropped on their card, never when opened


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRow:
    """One stored image, as its row of the metadata table tells it.

    Attributes:
        request_id: the request that bought it.
        image_id: SHA-256 of the image.
        prompt_id: id of the prompt's row.
        prompt: positive prompt.
        negative_prompt: empty means none.
        size: size asked for, ``width*height``.
        width: pixels across, as received.
        height: pixels down, as received.
        seed: the seed sent.
        seed_source: ``given`` or ``derived``.
        n: images asked for by the request.
        image_index: which of them this is, from 0.
        cost_usd: this image's share of the bill.
        path: the image, relative to the data root, with forward slashes.
        thumb: its thumbnail likewise, or nothing when it cannot be decoded.
        size_matches: whether width and height are the ones asked for.
        prompt_columns: further columns of the prompt's row, untouched.
    """

    request_id: str
    image_id: str
    prompt_id: str
    prompt: str
    negative_prompt: str
    size: str
    width: int
    height: int
    seed: int
    seed_source: str
    n: int
    image_index: int
    cost_usd: Decimal
    path: str
    thumb: str | None
    size_matches: bool
    prompt_columns: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentRequest:
    """A request whose images are not, or not all, on the page.

    Attributes:
        request_id: the request.
        prompt_id: id of the prompt's row.
        prompt: positive prompt.
        state: its state in the ledger, ``failed`` or ``unknown`` for example.
        reason: why, and what to do, for a person.
    """

    request_id: str
    prompt_id: str
    prompt: str
    state: str
    reason: str


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
        missing: images paid for or expected that are not stored.
        cost_usd: cost of the images shown.
        created: when the page was made, timezone-aware.
        absent: the requests behind `failed`, `waiting`, `unknown` and `missing`.
    """

    prompt_set: str
    profile: str
    images: int
    requests: int
    failed: Mapping[str, int]
    unknown: int
    missing: int
    cost_usd: Decimal
    created: datetime
    waiting: Mapping[str, int] = field(default_factory=dict[str, int])
    absent: Sequence[AbsentRequest] = ()

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
        left_out: images beyond `MAX_CARDS`, mentioned but not shown.
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
    shown = list(islice(remaining, MAX_CARDS))
    left_out = sum(1 for _ in remaining)
    cards = [_card(row, out_dir=out_dir, data_root=data_root) for row in shown]
    page = _render(cards, left_out=left_out, summary=summary)
    # A lone surrogate, legal in JSON input, has no UTF-8 form: shown as a question mark.
    data = page.encode("utf-8", errors="replace")
    path = out_dir / "index.html"
    write_atomic(path, data)
    return GalleryReport(path=path, images=len(cards), left_out=left_out, bytes=len(data))


def _render(cards: list[dict[str, Any]], *, left_out: int, summary: GallerySummary) -> str:
    """Fill the template."""
    script = asset("gallery.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    sizes: dict[str, int] = {}
    for card in cards:
        sizes[card["size"]] = sizes.get(card["size"], 0) + 1
    return (
        environment()
        .get_template("gallery.html.j2")
        .render(
            cards=cards,
            left_out=left_out,
            sizes=sorted(sizes.items(), key=lambda item: (-item[1], item[0])),
            summary=summary,
            absent=summary.absent[:_MAX_ABSENT],
            absent_left_out=max(0, len(summary.absent) - _MAX_ABSENT),
            data=_json_for_html([card["details"] for card in cards]),
            style=Markup(asset("gallery.css")),  # noqa: S704  ours, from the package
            script=Markup(script),  # noqa: S704  ours, from the package
            script_digest=digest,
        )
    )


def _card(row: GalleryRow, *, out_dir: Path, data_root: Path) -> dict[str, Any]:
    """Return what the template shows of one image, and the details the script shows of it."""
    size = row.size.replace("*", "\N{MULTIPLICATION SIGN}")
    tallness = row.height / max(row.width, 1)
    return {
        "row": row,
        "size": size,
        "href": _link(row.path, out_dir=out_dir, data_root=data_root),
        "thumb": row.thumb and _link(row.thumb, out_dir=out_dir, data_root=data_root),
        "thumb_width": THUMBNAIL_WIDTH_PX,
        "thumb_height": round(THUMBNAIL_WIDTH_PX * tallness),
        "tallness": f"{min(tallness, _MAX_TALLNESS):.4f}",
        "details": {
            "size": size,
            "actual": f"{row.width}\N{MULTIPLICATION SIGN}{row.height}",
            "matches": row.size_matches,
            "negative": row.negative_prompt,
            "promptId": row.prompt_id,
            "requestId": row.request_id,
            "imageId": row.image_id,
            "seed": str(row.seed),
            "seedSource": row.seed_source,
            "place": f"{row.image_index + 1} of {row.n}",
            "cost": usd(row.cost_usd),
            "columns": [[name, _plain(value)] for name, value in row.prompt_columns.items()],
        },
    }


def _link(path: str, *, out_dir: Path, data_root: Path) -> str:
    """Return a relative URL from the page to `path`; quoting leaves it no scheme and no host."""
    relative = os.path.relpath(data_root / path, out_dir)
    return quote(relative.replace(os.sep, "/"))


def _plain(value: object) -> str:
    """Return a prompt column's value as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _json_for_html(value: object) -> Markup:
    """Return JSON that cannot end the script element it stands in, whatever its strings say."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  nothing in it is markup any more
