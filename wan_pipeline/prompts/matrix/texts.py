"""Texts with variables: `a {season} market`.

Plain substitution and nothing more, with Python's own parser of format strings. A template
language with loops and filters was considered (jinja2 is installed) and left out: what it renders
cannot be bounded before it has run, whether it uses a variable cannot be told for sure, and a new
version of it that treats white space differently would buy a whole set again.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_NAME", "Text", "TextError", "is_name", "parse_template"]

MAX_NAME = 64
_MAX_VARIABLES = 100
_NAME = re.compile(r"[^\W\d]\w*")
_DOUBLE = re.compile(r"(?<!\{)\{\{\s*([^\W\d]\w*)\s*\}\}(?!\})")


class TextError(ValueError):
    """A text that is no template; `rule` and `remedy` say why."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule = rule
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Text:
    """A parsed text.

    Attributes:
        parts: literal text and the name of the variable after it; None after the last literal.
        doubled: names between two pairs of braces, which stand in the literal text with one. Who
            knows other template languages may have meant variables.
    """

    parts: tuple[tuple[str, str | None], ...]
    doubled: frozenset[str] = frozenset()

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables in it."""
        return frozenset(name for _, name in self.parts if name is not None)

    @property
    def only_variable(self) -> str | None:
        """The variable, when the text is nothing else."""
        if len(self.parts) == 1 and not self.parts[0][0]:
            return self.parts[0][1]
        return None

    def render(self, values: Mapping[str, str]) -> str:
        """The text with each variable replaced; `values` has them all."""
        return "".join(
            literal if name is None else literal + values[name] for literal, name in self.parts
        )


def is_name(text: str) -> bool:
    """Whether a variable may be called so: letters, digits and underscores of any script."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def parse_template(text: str) -> Text:
    """Parse a text with ``{name}`` in it; ``{{`` and ``}}`` are braces.

    Raises:
        TextError: unbalanced braces, something else than a name in them, or too many variables.
    """
    parts: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if name is not None and (spec or conversion or not is_name(name)):
                raise _no_name(name)
            parts.append((literal, name))
    except TextError:
        raise
    except ValueError as error:
        raise TextError(
            f"braces come in pairs around a variable's name ({error})",
            "Close the brace, or write {{ and }} for braces in the prompt itself",
        ) from None
    if len(parts) > _MAX_VARIABLES:
        raise TextError(f"a text has at most {_MAX_VARIABLES} variables", "Use fewer")
    return Text(tuple(parts), frozenset(_DOUBLE.findall(text)))


def _no_name(found: str) -> TextError:
    remedy = (
        "Name an axis with these values under axes and write its name"
        if "|" in found
        else "Write the name of an axis, or {{ and }} for braces in the prompt itself"
    )
    return TextError(
        f"between braces stands the name of an axis: letters, digits and underscores, at most"
        f" {MAX_NAME}",
        remedy,
    )
