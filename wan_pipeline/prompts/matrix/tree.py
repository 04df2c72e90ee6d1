"""YAML text to texts, lists and mappings, and nothing else.

Every scalar is the text that stands in the file, as in a cell of a CSV: `no` is "no", `1.10` is
"1.10", `007` keeps its zeros and `16:9` is a size and not 969 seconds. Built from the parser's
events, so no YAML tag ever makes an object and nothing is expanded: anchors, aliases and tags are
errors, and so are keys that occur twice, which YAML's own loaders let the last one win.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from wan_pipeline.prompts.errors import EmptyPromptFileError
from wan_pipeline.prompts.matrix.problems import MatrixFileError, Problem, YamlPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Tree", "parse_tree"]

Tree = str | list["Tree"] | dict[str, "Tree"]

_MAX_DEPTH = 12
#: Some seconds' work for the parser.
_MAX_NODES = 50_000
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_QUOTE = (
    'Put texts in double quotes that begin with {, [, *, &, !, %, @ or a quote, or that have ": "'
    ' or " #" in them; and indent with spaces, not tabs'
)


def parse_tree(text: str, *, file: Path) -> tuple[Tree, dict[YamlPath, int]]:
    """Return what `text` says, and the line of each thing in it.

    Raises:
        EmptyPromptFileError: nothing but white space and comments.
        MatrixFileError: no YAML, more than one document, or something of YAML that is not used.
    """
    builder = _Builder()
    try:
        tree = builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except _Stop as stop:
        raise MatrixFileError.of(file, [stop.problem], builder.lines) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "something unexpected"
        problem = Problem(
            path=(),
            line=mark.line + 1 if mark else None,
            rule=f"the file is YAML, and the parser says: {what}",
            remedy=_QUOTE,
        )
        raise MatrixFileError.of(file, [problem]) from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        problem = Problem(
            path=(), rule=f"the file is YAML text ({reason})", remedy="Remove such characters"
        )
        raise MatrixFileError.of(file, [problem]) from error
    if tree is None:
        raise EmptyPromptFileError(
            file, "the file is empty", 'Write at least one template under "templates:"'
        )
    return tree, builder.lines


class _Stop(Exception):  # noqa: N818  carries a problem up to where the file is known
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class _Builder:
    """Turns events into a tree; `lines` is filled on the way."""

    lines: dict[YamlPath, int] = field(default_factory=dict[YamlPath, int])

    def document(self, events: Iterator[Any]) -> Tree | None:
        """The only document of the stream, or None when there is none."""
        next(events)  # the stream begins
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        first = next(events)
        if isinstance(first, yaml.ScalarEvent) and _is_nothing(first) and not first.anchor:
            return None
        tree = self._node(first, events, ())
        next(events)  # the document ends
        following = next(events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise _Stop(
                Problem(
                    path=(),
                    line=following.start_mark.line + 1,
                    rule="the file is one YAML document",
                    remedy="Remove the line ---, or make two files of it",
                )
            )
        return tree

    def _node(self, event: Any, events: Iterator[Any], path: YamlPath) -> Tree:
        self.lines.setdefault(path, event.start_mark.line + 1)
        if len(self.lines) > _MAX_NODES:
            raise _Stop(
                Problem(
                    path=path,
                    line=event.start_mark.line + 1,
                    rule=f"a matrix file has at most {_MAX_NODES:,} values",
                    remedy="Move long lists to wildcard files",
                )
            )
        _refuse_what_is_not_used(event, path)
        if isinstance(event, yaml.ScalarEvent):
            if _is_nothing(event):
                raise _Stop(
                    Problem(
                        path=path,
                        line=event.start_mark.line + 1,
                        value=event.value,
                        rule="a value stands here",
                        remedy='Write one; "" is an empty text, and a word such as null or a text'
                        " that begins with { needs double quotes",
                    )
                )
            return event.value
        if len(path) > _MAX_DEPTH:
            rule = f"nothing is nested deeper than {_MAX_DEPTH} levels"
            raise _Stop(
                Problem(path=path, line=event.start_mark.line + 1, rule=rule, remedy="Flatten it")
            )
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Tree] = []
            while not isinstance(each := next(events), yaml.SequenceEndEvent):
                items.append(self._node(each, events, (*path, len(items))))
            return items
        return self._mapping(events, path)

    def _mapping(self, events: Iterator[Any], path: YamlPath) -> dict[str, Tree]:
        mapping: dict[str, Tree] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = _key(event, path)
            if key in mapping:
                first = self.lines[(*path, key)]
                raise _Stop(
                    Problem(
                        path=(*path, key),
                        line=event.start_mark.line + 1,
                        rule=f"a key occurs once; this one is also in line {first}",
                        remedy="Rename or remove one of them",
                    )
                )
            self.lines[(*path, key)] = event.start_mark.line + 1
            mapping[key] = self._node(next(events), events, (*path, key))
        return mapping


def _key(event: Any, path: YamlPath) -> str:
    _refuse_what_is_not_used(event, path)
    if not isinstance(event, yaml.ScalarEvent) or _is_nothing(event):
        raise _Stop(
            Problem(
                path=path,
                line=event.start_mark.line + 1,
                rule="a key is a text",
                remedy="Write a name before the colon; put a text that begins with { or [ in double"
                " quotes",
            )
        )
    return event.value


def _is_nothing(event: Any) -> bool:
    """What YAML reads as null; in quotes it is a text."""
    return event.style is None and event.value in _NOTHING


def _refuse_what_is_not_used(event: Any, path: YamlPath) -> None:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise _Stop(
            Problem(
                path=path,
                line=line,
                rule="anchors (&name) and aliases (*name) are not used here",
                remedy='Write shared values once, as an axis under "axes:"; put a text that begins'
                " with & or * in double quotes",
            )
        )
    if event.tag is not None:
        raise _Stop(
            Problem(
                path=path,
                line=line,
                value=event.tag,
                rule="tags (!name) are not used here",
                remedy="Remove it; put a text that begins with ! in double quotes",
            )
        )
