"""JSON lines: one object per line, values with their JSON types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from wan_pipeline.prompts.chunk import CHUNK_CHARACTERS, CHUNK_ROWS, Chunk, broken_row
from wan_pipeline.prompts.columns import known_name, missing_prompt_column
from wan_pipeline.prompts.errors import RuleViolation
from wan_pipeline.prompts.prompt import RawRow
from wan_pipeline.prompts.text_source import LongLine, is_clean, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.prompts.prompt import Rejection

__all__ = ["read_jsonl"]

_SHOWN_COLUMNS = 20


def read_jsonl(file: Path, *, gzipped: bool) -> Iterator[Chunk]:
    """Yield the rows of a JSON lines file; a line that is no JSON object is a broken row.

    Raises:
        MissingPromptColumnError: objects, but not one of them with a ``prompt``.
        PromptFileError: see `wan_pipeline.prompts.errors`.
    """
    rows: list[RawRow] = []
    broken: list[Rejection] = []
    size = 0
    has_prompt = False
    found: dict[str, None] = {}
    with open_lines(file, gzipped=gzipped) as lines:
        for row, line in enumerate((line for line in lines if line.strip()), start=1):
            text = line if isinstance(line, LongLine) else line.strip()
            size += len(text)
            try:
                parsed = _parse(text, row)
            except RuleViolation as violation:
                broken.append(broken_row(file, row, text, violation))
            else:
                rows.append(parsed)
                has_prompt = has_prompt or "prompt" in parsed.known
                if not has_prompt and len(found) < _SHOWN_COLUMNS:
                    found.update(dict.fromkeys((*parsed.known, *parsed.extra)))
            if len(rows) + len(broken) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                yield Chunk(rows=rows, broken=broken)
                rows, broken, size = [], [], 0
    if found and not has_prompt:
        raise missing_prompt_column(file, list(found))
    if rows or broken:
        yield Chunk(rows=rows, broken=broken)


def _parse(text: str, row: int) -> RawRow:
    if isinstance(text, LongLine):
        raise RuleViolation(text.rule, "shorten its values, or remove the row")
    if not is_clean(text):
        raise RuleViolation(
            "a line is valid text in the encoding of its file", "save the file as UTF-8"
        )
    try:
        # Our reader of constants turns NaN, which data frames write for "no value", into null.
        value: object = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise RuleViolation("a line has no deeply nested values", "flatten them") from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise RuleViolation(
            f"a line is one complete JSON object ({reason})",
            "write each prompt as one object on one line",
        ) from None
    if not isinstance(value, dict):
        raise RuleViolation(
            "a line is one complete JSON object", 'write for example {"prompt": "a red kite"}'
        )
    return _raw_row(cast("dict[str, object]", value), row)


def _raw_row(values: dict[str, object], row: int) -> RawRow:
    known: dict[str, object] = {}
    extra: dict[str, object] = {}
    seen: dict[str, str] = {}
    for name, value in values.items():
        folded = name.strip().casefold()
        if folded in seen:
            raise _twice(seen[folded], name)
        seen[folded] = name
        column = known_name(name)
        if column is None:
            extra[name.strip() or name] = value
        else:
            known[column] = value
    return RawRow(row=row, known=known, extra=extra)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _twice(name, name)
        values[name] = value
    return values


def _twice(first: str, second: str) -> RuleViolation:
    if not second.strip():
        found = f"{first!a} and {second!a} both have no name"
    elif first == second:
        found = f"{second!a} is there twice"
    else:
        found = f"{first!a} and {second!a} are the same"
    return RuleViolation(
        f"an object has each key once, and neither case nor outer spaces matter; {found}",
        "remove or rename one of them",
    )


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)
