"""The items of a gallery as the JSON that its script reads: columns, each value written once.

Texts repeat a great deal from image to image, so a column is a list of numbers into its distinct
values wherever that is shorter. A link holds a space where the image's id belongs; quoting leaves
no other space in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from wan_pipeline.report.facets import facets, flags_of, plain
from wan_pipeline.report.items import GalleryRow, Outcome
from wan_pipeline.report.pages import relative_link, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wan_pipeline.report.facets import Facet, Item

__all__ = ["gallery_data", "json_for_html"]


def gallery_data(items: Sequence[Item], *, out_dir: Path, data_root: Path) -> dict[str, Any]:
    """What the page's script is told.

    Args:
        items: in the order of the page.
        out_dir: the page's folder.
        data_root: what the items' paths are relative to.

    Returns:
        ``prompts``, the distinct ones; ``columns``, each either a list with one value per item or
        ``{"v": distinct values, "c": one number per item}``; ``facets``, whose codes are one number
        where every item has the same, else a number or a list of them per item; none where the
        column of the facet's name has the values.
    """
    prompts, numbers = _prompts(items)
    columns: dict[str, Any] = {
        name: _column([read(item) if isinstance(item, GalleryRow) else None for item in items])
        for name, read in _OF_IMAGES.items()
    }
    columns |= {name: _column([read(item) for item in items]) for name, read in _OF_ITEMS.items()}
    for name in ("path", "thumb"):
        columns[name] = _column(
            [_link(item, name, out_dir=out_dir, data_root=data_root) for item in items]
        )
    return {
        "prompts": prompts,
        "columns": columns | {"prompt": numbers},
        "facets": [
            {
                "key": each.key,
                "label": each.label,
                "values": list(each.values),
                "codes": _codes(each),
                "shown": each.shown,
                "own": each.own,
                "typed": each.typed,
            }
            for each in facets(items)
        ],
    }


def json_for_html(value: object) -> Markup:
    """JSON that cannot end the script element it stands in, whatever its strings say."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  nothing in it is markup any more


def _prompts(items: Sequence[Item]) -> tuple[list[dict[str, Any]], list[int]]:
    """The distinct prompts, and which one each item has."""
    found: dict[tuple[str, ...], int] = {}
    prompts: list[dict[str, Any]] = []
    numbers: list[int] = []
    for item in items:
        columns = [[name, plain(value)] for name, value in item.prompt_columns.items()]
        key = (item.prompt_id, item.prompt, item.negative_prompt, repr(columns))
        if key not in found:
            found[key] = len(prompts)
            prompts.append(
                {
                    "id": item.prompt_id,
                    "text": item.prompt,
                    "negative": item.negative_prompt,
                    "columns": columns,
                }
            )
        numbers.append(found[key])
    return prompts, numbers


def _column(values: Sequence[Any]) -> Any:
    """The values, or each distinct one once where that is shorter."""
    number = {value: index for index, value in enumerate(dict.fromkeys(values))}
    if len(number) > len(values) / 2:
        return list(values)
    return {"v": list(number), "c": [number[value] for value in values]}


def _codes(facet: Facet) -> Any:
    codes = [each[0] if len(each) == 1 else list(each) for each in facet.codes]
    if facet.shown or not codes or any(each != codes[0] for each in codes):
        return codes
    return codes if isinstance(codes[0], list) else codes[0]


def _link(item: Item, name: str, *, out_dir: Path, data_root: Path) -> str | None:
    if not isinstance(item, GalleryRow):
        return None
    path = item.path if name == "path" else item.thumb
    if path is None:
        return None
    link = relative_link(data_root / path, out_dir)
    return link.replace(item.image_id, " ") if item.image_id else link


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _brief(seconds: float | None) -> float | None:
    """With three digits that count, so that a moment is no zero."""
    return None if seconds is None else float(f"{seconds:.3g}")


def _quality(name: str) -> Callable[[GalleryRow], Any]:
    return lambda row: getattr(row.quality, name, None)


_OF_IMAGES: dict[str, Callable[[GalleryRow], Any]] = {
    "image": lambda row: row.image_id,
    "width": lambda row: row.width,
    "height": lambda row: row.height,
    "index": lambda row: row.image_index,
    "cost": lambda row: usd(row.cost_usd),
    "costSource": lambda row: row.cost_source,
    "matches": lambda row: row.size_matches,
    "extend": lambda row: row.prompt_extend,
    "watermark": lambda row: row.watermark,
    "actual": lambda row: row.actual_prompt,
    "task": lambda row: row.task_id,
    "run": lambda row: row.run_id,
    "latency": lambda row: _brief(row.latency_s),
    "format": lambda row: row.format,
    "bytes": lambda row: row.bytes,
    "created": lambda row: row.created_at and row.created_at.isoformat(timespec="seconds"),
    "alike": _quality("near_duplicates"),
    "group": _quality("near_duplicate_group"),
    "nearest": _quality("nearest"),
    "phash": _quality("phash"),
    "contrast": lambda row: _rounded(row.quality.contrast if row.quality else None),
}
_OF_ITEMS: dict[str, Callable[[Item], Any]] = {
    "request": lambda item: item.request_id,
    "size": lambda item: item.size,
    # As text: a script's numbers are exact to 2**53 only.
    "seed": lambda item: None if item.seed is None else str(item.seed),
    "seedSource": lambda item: item.seed_source,
    "n": lambda item: item.n,
    "replica": lambda item: item.replica,
    "model": lambda item: item.model,
    "outcome": lambda item: (
        (Outcome.STORED if isinstance(item, GalleryRow) else item.outcome).value
    ),
    "flags": lambda item: None if (flags := flags_of(item)) is None else " ".join(flags),
    "state": lambda item: None if isinstance(item, GalleryRow) else item.state,
    "reason": lambda item: None if isinstance(item, GalleryRow) else item.reason,
    "notHere": lambda item: 0 if isinstance(item, GalleryRow) else item.not_here,
}
