"""A matrix file as a prompt file: opened and counted first, then its rows, streamed in chunks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.chunk import CHUNK_CHARACTERS, CHUNK_ROWS, Chunk
from wan_pipeline.prompts.matrix.count import MatrixCount, check_ceiling
from wan_pipeline.prompts.matrix.resolve import TEMPLATE_COLUMN, ResolvedTemplate, resolve
from wan_pipeline.prompts.matrix.sampling import sample_combinations
from wan_pipeline.prompts.matrix.schema import parse_matrix
from wan_pipeline.prompts.matrix.tree import parse_tree
from wan_pipeline.prompts.prompt import KNOWN_COLUMNS, RawRow
from wan_pipeline.prompts.sets import WILDCARDS
from wan_pipeline.prompts.text_source import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.prompts.matrix.count import Ceiling

__all__ = ["Matrix", "open_matrix"]

_MAX_BYTES = 1_000_000
_KNOWN = frozenset(KNOWN_COLUMNS)
_SHOWN_VALUE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """An opened matrix file.

    Attributes:
        count: how many rows it makes, and of what.
    """

    count: MatrixCount
    _templates: tuple[ResolvedTemplate, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows, template by template in the order of the file.

        All combinations come in the order of the values, drawn ones in the order of drawing.
        """
        rows: list[RawRow] = []
        size = 0
        for number, (template, values) in enumerate(self._combinations(), start=1):
            row = _row(number, template, values)
            rows.append(row)
            size += sum(len(str(text)) for text in (*row.known.values(), *row.extra.values()))
            if len(rows) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                yield Chunk(rows=rows, broken=[])
                rows, size = [], 0
        if rows:
            yield Chunk(rows=rows, broken=[])

    def _combinations(self) -> Iterator[tuple[ResolvedTemplate, dict[str, str]]]:
        for template in self._templates:
            names = [axis.name for axis in template.axes]
            if template.sample is not None:
                axes = {axis.name: axis.values for axis in template.axes}
                drawn = sample_combinations(axes, k=template.sample, seed=template.sample_seed)
                yield from ((template, values) for values in drawn)
            else:
                every = itertools.product(*(axis.values for axis in template.axes))
                yield from ((template, dict(zip(names, each, strict=True))) for each in every)


def open_matrix(file: Path, ceiling: Ceiling) -> Matrix:
    """Read a matrix file and its wildcard files, and count what it makes.

    Raises:
        EmptyPromptFileError: nothing in it.
        MatrixFileError: it breaks a rule of the format.
        MatrixTooLargeError: it makes more prompts than the ceiling allows; none was made.
        UnreadablePromptFileError: missing, forbidden, too long, or no text.
    """
    text = read_bounded(
        file,
        _MAX_BYTES,
        too_long=f"Move long lists of values to files in {WILDCARDS}/, or make several files of it",
    )
    tree, lines = parse_tree(text, file=file)
    parsed = parse_matrix(tree, lines, file=file)
    templates = resolve(parsed, lines, file=file)
    count = check_ceiling(templates, ceiling, tightened=parsed.max_prompts, file=file)
    return Matrix(count=count, _templates=templates)


def _row(number: int, template: ResolvedTemplate, values: dict[str, str]) -> RawRow:
    variables = {name: value for name, value in values.items() if name not in _KNOWN}
    further = {name: text.render(values) for name, text in template.extra.items()}
    return RawRow(
        row=number,
        known={name: text.render(values) for name, text in template.known.items()},
        extra={TEMPLATE_COLUMN: template.name, **variables, **further},
        place=_place(template, values),
    )


def _place(template: ResolvedTemplate, values: dict[str, str]) -> str:
    """What a person finds the row by: ``harbour: season=spring, animal=owl``."""
    told = ", ".join(f"{axis.name}={_short(values[axis.name])}" for axis in template.axes)
    return f"{template.name}: {told}" if told else template.name


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN_VALUE else value[: _SHOWN_VALUE - 1] + "…"
