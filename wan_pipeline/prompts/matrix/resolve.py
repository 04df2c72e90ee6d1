"""A matrix file to templates that know their axes, values and columns; every name accounted for.

A template is multiplied by the axes it names between braces, and by those that are called like a
column of the prompt table (`size`, `n`, `seed`, ...), which fill that column. What a template says
comes before what the file says; two places that say the same thing in the same rank are an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wan_pipeline.prompts.columns import known_name
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.matrix.problems import MatrixFileError, Problem, did_you_mean
from wan_pipeline.prompts.matrix.sampling import sample_values
from wan_pipeline.prompts.matrix.texts import Text
from wan_pipeline.prompts.matrix.wildcards import Wildcards, read_wildcards
from wan_pipeline.prompts.prompt import KNOWN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wan_pipeline.prompts.matrix.problems import YamlPath
    from wan_pipeline.prompts.matrix.schema import Axis, MatrixFile, Template

__all__ = ["TEMPLATE_COLUMN", "ResolvedAxis", "ResolvedTemplate", "resolve"]

#: The column that has the template's name.
TEMPLATE_COLUMN = "template"
_SETTABLE = tuple(name for name in KNOWN_COLUMNS if name not in {"prompt", "prompt_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedAxis:
    """An axis with the values it contributes.

    Attributes:
        name: the variable.
        values: different ones, in the order of the file; after sampling.
        available: how many there are to draw from.
        repeated: how many further times values stand in its list or file.
        asked: how many a sample was to draw, or None for all.
        path: where the axis stands in the file.
    """

    name: str
    values: tuple[str, ...]
    available: int
    path: YamlPath
    repeated: int = 0
    asked: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTemplate:
    """A template with everything that its rows need.

    Attributes:
        name: its name.
        axes: those that multiply it, in the order of the file.
        known: columns with a meaning, by name.
        extra: further columns, by name; without the template's name and the variables.
        sample: how many combinations to draw, or None for all.
        sample_seed: what they are drawn by.
    """

    name: str
    axes: tuple[ResolvedAxis, ...]
    known: Mapping[str, Text]
    extra: Mapping[str, Text]
    sample: int | None
    sample_seed: int

    @property
    def product(self) -> int:
        """How many combinations there are."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def prompts(self) -> int:
        """How many of them become rows."""
        return self.product if self.sample is None else min(self.sample, self.product)


def resolve(
    matrix: MatrixFile, lines: Mapping[YamlPath, int], *, file: Path
) -> tuple[ResolvedTemplate, ...]:
    """Give every template its axes and columns; reads the wildcard files that are used.

    Raises:
        MatrixFileError: a name that is not defined, not used, or said twice, or a wildcard file
            that cannot be used.
    """
    resolver = _Resolver(matrix=matrix, prompts_dir=file.parent)
    resolver.check_names()
    templates = [resolver.template(name) for name in matrix.templates]
    if not resolver.problems:  # a misspelt name would be told twice
        resolver.check_use()
    if resolver.problems:
        raise MatrixFileError.of(file, resolver.problems, lines)
    return tuple(templates)


@dataclass(slots=True)
class _Resolver:
    matrix: MatrixFile
    prompts_dir: Path
    problems: list[Problem] = field(default_factory=list[Problem])
    used: set[YamlPath] = field(default_factory=set["YamlPath"])
    axes: dict[YamlPath, ResolvedAxis] = field(default_factory=dict["YamlPath", ResolvedAxis])
    files: dict[str, Wildcards] = field(default_factory=dict[str, Wildcards])

    def check_names(self) -> None:
        """No axis or further column is called like something else."""
        for path, names in self._all_names():
            for name in names:
                known = known_name(name)
                if name.casefold() == TEMPLATE_COLUMN:
                    self._say((*path, name), "template is the column of the template's name")
                elif path[-1] == "columns" and known is not None:
                    rule = "a column with a meaning has a key of its own"
                    self._say((*path, name), rule, f"Write it as {known}: beside columns")
                elif known in {"prompt", "prompt_id"} or (known is not None and name != known):
                    self._say((*path, name), f"an axis is not called {name}")

    def template(self, name: str) -> ResolvedTemplate:
        """One template with its axes and columns."""
        template = self.matrix.templates[name]
        path: YamlPath = ("templates", name)
        known = {"prompt": template.prompt}
        filled: set[str] = set()  # columns that an axis of their name fills
        for column in _SETTABLE:
            text = self._column(column, template, path)
            if text is not None:
                known[column] = text
                if text.only_variable == column:
                    filled.add(column)
        extra = {**self.matrix.defaults.columns, **template.columns}
        texts = [*known.values(), *extra.values()]
        named = {variable for text in texts for variable in text.variables}
        self._check_doubled(texts, template, path)
        axes = self._axes(named, template, path)
        for axis in axes:
            if axis.name in known and axis.name not in filled:
                self._say(
                    (*path, axis.name),
                    f"the axis {axis.name} fills the column of its name",
                    f"Remove this, or write {{{axis.name}}}, or rename the axis",
                )
        self._check_columns([*(axis.name for axis in axes), *extra], path)
        return ResolvedTemplate(
            name=name,
            axes=axes,
            known=known,
            extra=extra,
            sample=template.sample,
            sample_seed=self._seed(template),
        )

    def check_use(self) -> None:
        """Every axis multiplies something."""
        for path, axes in self._all_axes():
            for name in axes:
                if (*path, name) not in self.used:
                    self._say(
                        (*path, name),
                        "an axis must be used by a template",
                        f"Write {{{name}}} into a text, or remove the axis",
                    )

    def _check_doubled(self, texts: list[Text], template: Template, path: YamlPath) -> None:
        """Two pairs of braces make the text with one; around an axis' name it was hardly meant."""
        doubled = {name for text in texts for name in text.doubled}
        for name in sorted(doubled & {*self.matrix.axes, *template.axes}):
            self._say(
                path,
                f"a variable has one pair of braces, and {name} has two, which make the text"
                f" {{{name}}}",
                f"Write {{{name}}} instead for the axis, or rename the axis if the text is meant",
            )

    def _check_columns(self, names: list[str], path: YamlPath) -> None:
        """Axes and further columns become columns of one table."""
        seen: dict[str, str] = {}
        for name in names:
            other = seen.get(name.casefold())
            if other is not None:
                rule = f"axes and columns have different names; there are {other!r} and {name!r}"
                self._say(path, rule, "Rename or remove one of them; case does not matter")
            seen[name.casefold()] = name

    def _column(self, column: str, template: Template, path: YamlPath) -> Text | None:
        """Who fills a column: the template's text or axis, else the file's text or axis."""
        ranks: tuple[tuple[Any, Any, YamlPath], ...] = (
            (getattr(template, column), template.axes.get(column), path),
            (getattr(self.matrix.defaults, column), self.matrix.axes.get(column), ("defaults",)),
        )
        for text, axis, where in ranks:
            if text is not None and axis is not None and text.only_variable != column:
                self._say(
                    (*where, column),
                    f"{column} is said once; there is an axis {column} too",
                    "Remove one of the two",
                )
            if text is not None:
                return text
            if axis is not None:
                return Text((("", column),))
        return None

    def _axes(
        self, named: set[str], template: Template, path: YamlPath
    ) -> tuple[ResolvedAxis, ...]:
        """The axes behind the names, in the order of the file, its own last."""
        others = named - template.axes.keys()
        for name in sorted(others - self.matrix.axes.keys()):
            known = {*template.axes, *self.matrix.axes}
            self._say(
                path,
                f"{{{name}}} is the name of an axis, and there is none called so",
                did_you_mean(name, known),
            )
        shared = [name for name in self.matrix.axes if name in others]
        own = [name for name in template.axes if name in named]
        return (
            *(self._axis(("axes", name), self.matrix.axes[name]) for name in shared),
            *(self._axis((*path, "axes", name), template.axes[name]) for name in own),
        )

    def _axis(self, path: YamlPath, axis: Axis) -> ResolvedAxis:
        self.used.add(path)
        if path not in self.axes:
            self.axes[path] = self._resolved(path, axis)
        return self.axes[path]

    def _resolved(self, path: YamlPath, axis: Axis) -> ResolvedAxis:
        name = str(path[-1])
        listed = self._listed(path, axis)
        values = listed.values
        taken = values
        if axis.sample is not None:
            seed = self.matrix.sample_seed if axis.sample_seed is None else axis.sample_seed
            taken = sample_values(values, k=axis.sample, seed=seed, axis=name)
        return ResolvedAxis(
            name=name,
            values=taken,
            available=len(values),
            path=path,
            repeated=listed.repeated,
            asked=axis.sample,
        )

    def _listed(self, path: YamlPath, axis: Axis) -> Wildcards:
        """The values of an axis' list or file; one empty value of a file that cannot be used."""
        if not isinstance(axis.values, str):
            values = tuple(dict.fromkeys(axis.values))
            return Wildcards(values=values, repeated=len(axis.values) - len(values))
        try:
            return self._read(axis.values)
        except UnreadablePromptFileError as error:
            where = (*path, "sweep" if axis.sweep is not None else "from")
            self._say(where, f"{error.file}: {error.what}", error.remedy)
            return Wildcards(values=("",))

    def _read(self, path: str) -> Wildcards:
        if path not in self.files:
            self.files[path] = read_wildcards(path, prompts_dir=self.prompts_dir)
        return self.files[path]

    def _seed(self, template: Template) -> int:
        return self.matrix.sample_seed if template.sample_seed is None else template.sample_seed

    def _all_axes(self) -> list[tuple[YamlPath, Mapping[str, Axis]]]:
        templates = self.matrix.templates.items()
        own = [(("templates", name, "axes"), each.axes) for name, each in templates]
        return [(("axes",), self.matrix.axes), *own]

    def _all_names(self) -> list[tuple[YamlPath, list[str]]]:
        columns: list[tuple[YamlPath, list[str]]] = [
            (("defaults", "columns"), list(self.matrix.defaults.columns))
        ]
        for name, template in self.matrix.templates.items():
            columns.append((("templates", name, "columns"), list(template.columns)))
        return [*((path, list(axes)) for path, axes in self._all_axes()), *columns]

    def _say(self, path: YamlPath, rule: str, remedy: str = "Rename it") -> None:
        self.problems.append(Problem(path=path, rule=rule, remedy=remedy))
