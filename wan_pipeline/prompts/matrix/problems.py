"""What is wrong in a matrix file, and where: line, path in the YAML, value, rule, remedy."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.errors import PromptFileError
from wan_pipeline.prompts.prompt import display

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

__all__ = ["MatrixFileError", "Problem", "YamlPath", "did_you_mean"]

#: Keys and positions from the root of the file; `axes.season.sweep[2]`.
YamlPath = tuple[str | int, ...]
_SHOWN_PROBLEMS = 5
_SHOWN_VALUE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that breaks one rule.

    Attributes:
        path: where in the YAML; empty for the file as a whole.
        rule: the rule, as a statement about good files.
        remedy: what the author should do.
        value: what stands there, where it is a text.
        line: line in the file, from 1, where it is not that of `path`.
    """

    path: YamlPath
    rule: str
    remedy: str
    value: object = None
    line: int | None = None

    def told(self, lines: Mapping[YamlPath, int]) -> str:
        """Line, path, value and rule, in one sentence without its full stop."""
        line = self.line if self.line is not None else _line(self.path, lines)
        where = [f"line {line}"] if line is not None else []
        where += [_shown_path(self.path)] if self.path else []
        value = ""
        if isinstance(self.value, str):
            text = display(self.value) or ""
            value = f" = {text[:_SHOWN_VALUE] + ('…' if len(text) > _SHOWN_VALUE else '')!r}"
        place = ", ".join(where) + value
        return f"{place}: {self.rule}" if place else self.rule


class MatrixFileError(PromptFileError):
    """A prompt matrix that breaks the rules of its format."""

    @classmethod
    def of(
        cls, file: Path, problems: Sequence[Problem], lines: Mapping[YamlPath, int] | None = None
    ) -> Self:
        """The error that tells the first problems, one in a line, each with what to do."""
        *others, last = problems[:_SHOWN_PROBLEMS]
        told = [f"{each.told(lines or {})}. {each.remedy}.\n" for each in others]
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f".\nThere are {more} more problems" if more > 0 else ""
        return cls(file, "".join(told) + last.told(lines or {}), last.remedy + rest)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to do about a name that is none of `known`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"Perhaps {close[0]!r} is meant"
    return f"Known here: {', '.join(names) or 'none'}"


def _shown_path(path: YamlPath) -> str:
    """A path as people write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return display(text) or ""


def _line(path: YamlPath, lines: Mapping[YamlPath, int]) -> int | None:
    """Line of what stands at `path`, or of the nearest thing around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path) if path else None
