"""Rows to prompts: every rule about one row, and nothing about files or other rows.

The limits are the API page's; the texts are checked against them because the provider cuts longer
ones without saying so. A row that breaks several rules yields one `Rejection` for each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from wan_pipeline.prompts.errors import RuleViolation
from wan_pipeline.prompts.fields import (
    is_blank,
    is_missing,
    is_not_given,
    parse_boolean,
    parse_integer,
    parse_text,
)
from wan_pipeline.prompts.json_values import columns_json
from wan_pipeline.prompts.prompt import Prompt, RawRow, Rejection, derive_prompt_id, display
from wan_pipeline.prompts.seeds import MAX_SEED
from wan_pipeline.prompts.size import DEFAULT_SIZE, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_IMAGES",
    "MAX_NEGATIVE_PROMPT",
    "MAX_PROMPT",
    "MAX_REPLICAS",
    "AcceptedRow",
    "Prompt",
    "RawRow",
    "Rejection",
    "validate_row",
]

T = TypeVar("T")

MAX_PROMPT = 2000
MAX_NEGATIVE_PROMPT = 500
MAX_IMAGES = 4
#: Ours, not the provider's: a slip of the pen should not cost thousands.
MAX_REPLICAS = 1000
MAX_PROMPT_ID = 200


_n = partial(parse_integer, name="n", low=1, high=MAX_IMAGES)
_seed = partial(parse_integer, name="seed", low=0, high=MAX_SEED)
_replicas = partial(parse_integer, name="replicas", low=1, high=MAX_REPLICAS)
_prompt_extend = partial(parse_boolean, name="prompt_extend")
_watermark = partial(parse_boolean, name="watermark")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRow:
    """A row that breaks no rule.

    Attributes:
        prompt: what it says.
        id_given: whether it has a ``prompt_id`` of its own.
        truncated: the columns whose text was cut to its limit.
    """

    prompt: Prompt
    id_given: bool
    truncated: tuple[str, ...]


def validate_row(
    row: RawRow, *, file: str, truncate: bool = False
) -> AcceptedRow | tuple[Rejection, ...]:
    """Return what `row` describes, or a rejection for each rule it breaks.

    Args:
        row: the row as read.
        file: name of its file, for the rejections.
        truncate: cut texts over the limit, as the provider would, instead of rejecting the row.
    """
    checker = _Checker(row=row, file=file)
    check = checker.check
    prompt = check("prompt", partial(_prompt, truncate=truncate)) or ""
    negative_prompt = check("negative_prompt", partial(_negative_prompt, truncate=truncate)) or ""
    given_id = check("prompt_id", _prompt_id)
    size = check("size", _size) or DEFAULT_SIZE
    n = check("n", _n)
    seed = check("seed", _seed)
    replicas = check("replicas", _replicas)
    prompt_extend = check("prompt_extend", _prompt_extend)
    watermark = check("watermark", _watermark)
    prompt_columns = checker.extra_columns()
    if checker.rejections:
        return tuple(checker.rejections)
    accepted = Prompt(
        prompt_id=given_id or derive_prompt_id(prompt, negative_prompt),
        prompt=prompt,
        negative_prompt=negative_prompt,
        size=size,
        n=1 if n is None else n,
        seed=seed,
        replicas=1 if replicas is None else replicas,
        prompt_extend=True if prompt_extend is None else prompt_extend,
        watermark=False if watermark is None else watermark,
        prompt_columns=prompt_columns,
        row=row.row,
    )
    return AcceptedRow(
        prompt=accepted,
        id_given=given_id is not None,
        truncated=_cut(row, prompt=prompt, negative_prompt=negative_prompt) if truncate else (),
    )


@dataclass(slots=True)
class _Checker:
    """Applies rules to one row and collects every violation."""

    row: RawRow
    file: str
    rejections: list[Rejection] = field(default_factory=list[Rejection])

    def check(self, column: str, parse: Callable[[object], T]) -> T | None:
        value = self.row.known.get(column)
        if not value and (value is None or value == "") and column != "prompt":
            return None
        try:
            return parse(value)
        except RuleViolation as violation:
            self._reject(column, value, violation)
            return None

    def extra_columns(self) -> str:
        """The other columns as JSON; what JSON cannot hold is a violation of its column."""
        try:
            return columns_json(self.row.extra)
        except RuleViolation:
            for column, value in self.row.extra.items():
                try:
                    columns_json({column: value})
                except RuleViolation as violation:
                    self._reject(column, value, violation)
            return ""

    def _reject(self, column: str, value: object, violation: RuleViolation) -> None:
        self.rejections.append(
            Rejection(
                file=self.file,
                row=self.row.row,
                column=display(column),
                value=display(value),
                rule=violation.rule,
                remedy=violation.remedy,
                place=display(self.row.place),
            )
        )


def _prompt(value: object, *, truncate: bool) -> str:
    text = parse_text(value, name="prompt", limit=MAX_PROMPT, truncate=truncate)
    if text is None or is_blank(text):
        raise RuleViolation("prompt is not empty", "describe the image, or remove the row")
    return text


def _negative_prompt(value: object, *, truncate: bool) -> str | None:
    return parse_text(value, name="negative_prompt", limit=MAX_NEGATIVE_PROMPT, truncate=truncate)


def _prompt_id(value: object) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = (
        str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    )
    if not 1 <= len(text) <= MAX_PROMPT_ID or not text.isprintable():
        raise RuleViolation(
            f"prompt_id is 1 to {MAX_PROMPT_ID} printable characters",
            "choose a shorter or plainer id, or leave it empty to have one derived",
        )
    return text


def _size(value: object) -> str | None:
    if is_not_given(value):
        return None
    if not isinstance(value, str):
        raise RuleViolation("size is text", 'write it as text, for example "1280*1280"')
    return parse_size(value)


def _cut(row: RawRow, **texts: str) -> tuple[str, ...]:
    return tuple(name for name, text in texts.items() if text and text != row.known.get(name))
