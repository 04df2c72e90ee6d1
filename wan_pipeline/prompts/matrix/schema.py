"""The form of a matrix file, typed: which keys there are and what stands behind them.

Every scalar arrives as text (see `wan_pipeline.prompts.matrix.tree`). What depends on more than
one place of the file, or on other files, is the business of `resolve`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from wan_pipeline.prompts.matrix.problems import MatrixFileError, Problem, YamlPath, did_you_mean
from wan_pipeline.prompts.matrix.texts import MAX_NAME, Text, TextError, is_name, parse_template
from wan_pipeline.prompts.sets import WILDCARDS
from wan_pipeline.prompts.validate import MAX_PROMPT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wan_pipeline.prompts.matrix.tree import Tree

__all__ = ["Axis", "Columns", "MatrixFile", "Template", "parse_matrix"]

_MAX_TEXT = 10 * MAX_PROMPT
_LIST, _FILE = "<list>", "<file>"
_PATH = f"{WILDCARDS}/NAME.txt"


def _broken(rule: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("matrix", "{rule}", {"rule": rule, "remedy": remedy})


def _number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value) and value.isascii():
        return int(value)
    raise _broken("must be a whole number", "Write it in plain digits")


def _at_least_one(value: object) -> object:
    number = _number(value)
    if number == 0:
        raise _broken("must be at least 1", "Write 1 or more, or remove the key")
    return number


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise _broken("must be one text", "Put a text with special signs in it in double quotes")
    if len(value) > _MAX_TEXT:
        raise _broken(f"must have at most {_MAX_TEXT} characters", "Shorten it")
    try:
        return parse_template(value)
    except TextError as error:
        raise _broken(error.rule, error.remedy) from None


def _value(value: object) -> object:
    if isinstance(value, str) and value.startswith(f"{WILDCARDS}/") and value.endswith(".txt"):
        raise _broken(
            "a wildcard file is not one of several values",
            f"Write its path in place of the whole list, as in sweep: {value}",
        )
    if isinstance(value, str) and len(value) > MAX_PROMPT:
        raise _broken(f"a value has at most {MAX_PROMPT} characters", "Shorten it")
    if not isinstance(value, str):
        raise _broken(
            "a value is one text",
            'Put a value with ": " in it, or one that begins with [ or {, in double quotes',
        )
    return value


def _path(value: object) -> object:
    parts = str(value).split("/")
    plain = all(part not in {"", ".", ".."} and "\\" not in part for part in parts)
    if not (plain and parts[0] == WILDCARDS and len(parts) > 1 and parts[-1].endswith(".txt")):
        raise _broken(
            f"a text in place of a list is the path of a wildcard file, {_PATH}, beside the prompt"
            " files and never outside that folder",
            f"Move the file there and write its path, or write [{value}] for that one value",
        )
    return value


def _name(value: object) -> object:
    if isinstance(value, str) and is_name(value):
        return value
    raise _broken(
        f"a name has letters, digits and underscores, no digit first, at most {MAX_NAME}",
        "Rename it, and where it stands between braces",
    )


def _template_name(value: object) -> object:
    text = value if isinstance(value, str) else ""
    if text and text.isprintable() and text == text.strip() and len(text) <= MAX_NAME:
        return text
    raise _broken(
        f"a template's name has 1 to {MAX_NAME} printable characters, no spaces around them",
        "Choose a plainer name",
    )


def _list_or_file(value: object) -> str:
    return _FILE if isinstance(value, str) else _LIST


Count = Annotated[int, BeforeValidator(_at_least_one)]
Seed = Annotated[int, BeforeValidator(_number)]
TextValue = Annotated[Text, PlainValidator(_text)]
Values = Annotated[
    Annotated[tuple[Annotated[str, BeforeValidator(_value)], ...], Field(min_length=1), Tag(_LIST)]
    | Annotated[str, BeforeValidator(_path), Tag(_FILE)],
    Discriminator(_list_or_file),
]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=False
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: object) -> object:
        """An unknown key is told together with the known ones."""
        if not isinstance(value, dict):
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in cast("dict[str, object]", value):
            if key not in known:
                remedy = did_you_mean(key, known)
                if key == "prompt_id":
                    remedy = "Remove it: a prompt without one is known by its content"
                raise PydanticCustomError(
                    "matrix", "{rule}", {"rule": "no such key here", "remedy": remedy, "key": key}
                )
        return cast("object", value)


class Axis(_Strict):
    """Values of one variable: all of them, or some drawn by seed.

    Attributes:
        sweep: all of these, a list or the path of a wildcard file.
        sample: how many of `source` to draw.
        source: what is drawn from, as in `sweep`; in the file its key is ``from``.
        sample_seed: draws others; the file's when it is not given.
    """

    sweep: Values | None = None
    sample: Count | None = None
    source: Values | None = Field(default=None, alias="from")
    sample_seed: Seed | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.sweep is not None and (self.sample, self.source, self.sample_seed) == (None,) * 3:
            return self
        if self.sweep is None and self.sample is not None and self.source is not None:
            return self
        raise _broken(
            "an axis has either sweep or sample and from",
            "Write {sweep: [a, b]} for all values, or {sample: 2, from: [a, b, c]} to draw some",
        )

    @property
    def values(self) -> tuple[str, ...] | str:
        """The list, or the path of the file that has it."""
        return cast("tuple[str, ...] | str", self.source if self.sweep is None else self.sweep)


class Columns(_Strict):
    """Columns of the prompt table; each may have variables in it. Any other goes to `columns`."""

    negative_prompt: TextValue | None = None
    size: TextValue | None = None
    n: TextValue | None = None
    seed: TextValue | None = None
    replicas: TextValue | None = None
    prompt_extend: TextValue | None = None
    watermark: TextValue | None = None
    columns: dict[Annotated[str, BeforeValidator(_name)], TextValue] = Field(
        default_factory=dict[str, Text]
    )


class Template(Columns):
    """A prompt with variables, and the axes that only it has.

    Attributes:
        prompt: the text.
        axes: hide those of the file with the same name.
        sample: how many of all combinations to draw; all when it is not given.
        sample_seed: draws others; the file's when it is not given.
    """

    prompt: TextValue
    axes: dict[Annotated[str, BeforeValidator(_name)], Axis] = Field(
        default_factory=dict[str, Axis]
    )
    sample: Count | None = None
    sample_seed: Seed | None = None


def _as_template(value: object) -> object:
    return {"prompt": value} if isinstance(value, str) else value


class MatrixFile(_Strict):
    """A whole file.

    Attributes:
        axes: variables that every template may use.
        defaults: columns of templates that do not say otherwise.
        templates: by name; a text alone is its prompt.
        sample_seed: what samples are drawn by.
        max_prompts: a lower ceiling than the setting's.
    """

    axes: dict[Annotated[str, BeforeValidator(_name)], Axis] = Field(
        default_factory=dict[str, Axis]
    )
    defaults: Columns = Columns()
    templates: dict[
        Annotated[str, BeforeValidator(_template_name)],
        Annotated[Template, BeforeValidator(_as_template)],
    ] = Field(min_length=1)
    sample_seed: Seed = 0
    max_prompts: Count | None = None


def parse_matrix(tree: Tree, lines: Mapping[YamlPath, int], *, file: Path) -> MatrixFile:
    """Return what a tree says as a matrix file.

    Raises:
        MatrixFileError: it has another form.
    """
    if not isinstance(tree, dict):
        problem = Problem(
            path=(),
            rule="the file is a mapping with the key templates",
            remedy='Write for example templates: {kite: "a red kite over {place}"}',
        )
        raise MatrixFileError.of(file, [problem], lines)
    try:
        return MatrixFile.model_validate(tree)
    except ValidationError as error:
        found = [cast("dict[str, Any]", each) for each in error.errors()]
        # A list whose only item is wrong counts as empty, too.
        items = {each["loc"][:-1] for each in found}
        problems = [
            _problem(each)
            for each in found
            if not (each["type"] == "too_short" and each["loc"] in items)
        ]
        raise MatrixFileError.of(file, problems, lines) from None


_RULES = {
    "missing": ("this key is needed", "Add it"),
    "tuple_type": (
        "must be a list of values, or the path of a wildcard file",
        f"Write [a, b] or {_PATH}",
    ),
    "dict_type": ("must be a mapping of names", "Write each name, a colon, and what belongs to it"),
    "model_type": ("must be a mapping of keys", "Write each key, a colon, and what belongs to it"),
    "too_short": ("must not be empty", "Add at least one"),
}


def _problem(error: dict[str, Any]) -> Problem:
    """What pydantic found, in the words of the file's author."""
    context: dict[str, Any] = error.get("ctx", {})
    own = (_LIST, _FILE, "[key]")
    path = tuple(part for part in error["loc"] if part not in own)
    if "key" in context:
        path = (*path, context["key"])
    rule, remedy = _RULES.get(error["type"], (error["msg"], "Correct it"))
    return Problem(
        path=path,
        value=error["input"] if isinstance(error["input"], str) else None,
        rule=context.get("rule", rule),
        remedy=context.get("remedy", remedy),
    )
