"""Facets: by which values the items of a gallery can be chosen, and which item has which.

Bounded whatever is in the data: a user's column with a value of its own in every row is no facet,
and of many values only the most frequent are told apart. The rest is ``other``, and can be chosen
as such. Of many seeds none is listed: one is typed. The page counts; here is only decided what is
counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.report.items import GalleryRow, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wan_pipeline.report.items import AbsentRequest

    Item = GalleryRow | AbsentRequest

__all__ = [
    "MAX_COLUMNS",
    "MAX_VALUES",
    "NONE",
    "OTHER",
    "Facet",
    "facets",
    "flags_of",
    "plain",
]

MAX_VALUES = 50
"""Values of a facet that are told apart."""

MAX_COLUMNS = 12
"""Columns of the user's that become facets, in their order in the prompt file."""

MAX_LENGTH = 120  # a longer value is a text, and found by the filter
NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
NONE, OTHER = -1, -2
COLUMN_PREFIX = "col."
"""Before the names of the user's columns in a link, so that none is taken for one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """One facet.

    Attributes:
        key: its name in a link.
        label: its name on the page.
        values: what is told apart, the most frequent first; numbers in their order.
        codes: for each item the numbers of its values; `OTHER` for one that is not told apart,
            `NONE` for an item without a value, nothing for one that the facet is not about.
        shown: whether there is anything to choose.
        own: whether it is a column of the user's, whose values are shown as they are.
        typed: whether there are too many values for a list; then `values` and `codes` are empty,
            since the items' own column of that name has them.
    """

    key: str
    label: str
    values: Sequence[str]
    codes: Sequence[Sequence[int]]
    shown: bool = True
    own: bool = False
    typed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A facet of every gallery; an item's values are texts, None when it is not about the item."""

    key: str
    label: str
    values: Callable[[Item], Sequence[str] | None] = field(repr=False)
    typed: bool = False  # where there are too many to list; the key is that of the items' column


def facets(items: Sequence[Item]) -> list[Facet]:
    """The facets of a gallery's items; those that links may name are there with nothing to choose.

    Args:
        items: in the order of the page.
    """
    first, last = (
        [
            _facet(each.key, each.label, [each.values(item) for item in items], is_typed=each.typed)
            for each in fields
        ]
        for fields in (_FIRST, _LAST)
    )
    return [*first, *_of_columns(items), *last]


def plain(value: object) -> str:
    """A value of a user's column as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def flags_of(item: Item) -> Sequence[str] | None:
    """The flags of an image or of a request without one; None where nothing was measured.

    A request without an image and without a flag is no item that one can be free of flags.
    """
    if isinstance(item, GalleryRow):
        return None if item.quality is None else tuple(dict.fromkeys(item.quality.flags))
    return tuple(dict.fromkeys(item.flags)) or None


def _facet(
    key: str,
    label: str,
    values: Sequence[Sequence[str] | None],
    *,
    own: bool = False,
    is_typed: bool = False,
) -> Facet:
    counts = Counter(value for each in values for value in each or ())
    if is_typed and len(counts) > MAX_VALUES:
        return Facet(key=key, label=label, values=[], codes=[], typed=True)
    short = [
        value
        for value, _ in sorted(counts.items(), key=lambda pair: (-pair[1], _order(pair[0])))
        if len(value) <= MAX_LENGTH
    ][:MAX_VALUES]
    if all(NUMBER.fullmatch(value) for value in short):
        short.sort(key=Decimal)
    number = {value: index for index, value in enumerate(short)}
    codes = [
        [] if each is None else [number.get(value, OTHER) for value in each] or [NONE]
        for each in values
    ]
    kinds = {code for each in codes for code in each}
    return Facet(key=key, label=label, values=short, codes=codes, shown=len(kinds) > 1, own=own)


def _order(value: str) -> tuple[Decimal, str]:
    """Of two values that are as frequent: numbers by size, before texts."""
    return (Decimal(value) if NUMBER.fullmatch(value) else Decimal("Infinity"), value)


def _of_columns(items: Sequence[Item]) -> list[Facet]:
    """Facets of the user's columns."""
    names = dict.fromkeys(name for item in items for name in item.prompt_columns)
    found: list[Facet] = []
    for name in names:
        values = [
            _texts([item.prompt_columns[name]] if name in item.prompt_columns else [])
            for item in items
        ]
        made = _facet(COLUMN_PREFIX + name, name, values, own=True)
        others = sum(code == OTHER for codes in made.codes for code in codes)
        if made.shown and others <= len(items) / 2:
            found.append(made)
        if len(found) == MAX_COLUMNS:
            break
    return found


def _texts(values: Iterable[object]) -> list[str]:
    """Values as texts; what says nothing is left out."""
    return [plain(value) for value in values if value is not None and value != ""]


def _of_image(read: Callable[[GalleryRow], object]) -> Callable[[Item], Sequence[str]]:
    return lambda item: _texts([read(item)] if isinstance(item, GalleryRow) else [])


_FIRST = (
    _Field(
        key="outcome",
        label="outcome",
        values=lambda item: [
            (Outcome.STORED if isinstance(item, GalleryRow) else item.outcome).value
        ],
    ),
    _Field(key="flag", label="flags", values=flags_of),
    _Field(key="size", label="size", values=lambda item: _texts([item.size])),
    _Field(key="seed_source", label="seed source", values=lambda item: _texts([item.seed_source])),
    _Field(key="seed", label="seed", values=lambda item: _texts([item.seed]), typed=True),
)
_LAST = (
    _Field(key="replica", label="replica", values=lambda item: [str(item.replica)]),
    _Field(key="n", label="images per request", values=lambda item: [str(item.n)]),
    _Field(key="model", label="model", values=lambda item: _texts([item.model])),
    _Field(
        key="prompt_extend",
        label="prompt rewritten",
        values=_of_image(lambda row: row.prompt_extend),
    ),
    _Field(key="watermark", label="watermark", values=_of_image(lambda row: row.watermark)),
    _Field(key="format", label="format", values=_of_image(lambda row: row.format)),
    _Field(key="run", label="run", values=_of_image(lambda row: row.run_id)),
)
