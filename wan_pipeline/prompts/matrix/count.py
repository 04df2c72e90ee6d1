"""How many prompts a matrix makes, told before it makes any, and the ceiling that stops it.

Everything here follows from the sizes of the axes; a matrix of more combinations than there are
atoms is counted as fast as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from wan_pipeline.prompts.errors import MatrixTooLargeError
from wan_pipeline.prompts.validate import MAX_IMAGES, MAX_REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wan_pipeline.prompts.matrix.resolve import ResolvedTemplate

__all__ = [
    "DEFAULT_MAX_PROMPTS",
    "AxisCount",
    "Ceiling",
    "MatrixCount",
    "TemplateCount",
    "check_ceiling",
    "shown",
]

DEFAULT_MAX_PROMPTS = 10_000
_SHOWN_TEMPLATES = 8
_PLAIN_DIGITS = 15
_SUGGESTED_SAMPLE, _SUGGESTED_VALUES = 100, 5
#: Values looked at for one drawn sample: some seconds' work.
_MAX_DRAW_WORK = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What stops an explosion.

    Attributes:
        max_prompts: most prompts that one matrix file may make.
        price_usd: price per image for the message, or None where it is not known.
    """

    max_prompts: int = DEFAULT_MAX_PROMPTS
    price_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisCount:
    """How much an axis multiplies.

    Attributes:
        axis: its name.
        values: how many values it contributes.
        available: how many it draws them from; the same as `values` for a sweep.
        repeated: how many further times values stand in its list or file; each counts once.
        asked: how many a sample was to draw, or None for all.
    """

    axis: str
    values: int
    available: int
    repeated: int = 0
    asked: int | None = None

    def notes(self) -> Iterator[str]:
        """What makes it smaller than its author may think."""
        if self.repeated:
            times = "once" if self.repeated == 1 else f"{shown(self.repeated)} times"
            yield f"{self.axis} repeats a value {times}: each value counts once"
        if self.asked is not None and self.asked > self.available:
            yield (
                f"{self.axis} is to draw {shown(self.asked)} and has {shown(self.available)} to"
                " draw from: all are taken"
            )

    def __str__(self) -> str:
        """``animal 3 of 40``."""
        drawn = f" of {shown(self.available)}" if self.available != self.values else ""
        return f"{self.axis} {shown(self.values)}{drawn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateCount:
    """How many prompts a template makes, and of what.

    Attributes:
        template: its name.
        axes: what multiplies it.
        combinations: the product of the axes.
        prompts: how many of them become prompts; fewer for a sample.
        asked: how many combinations a sample was to draw, or None for all.
    """

    template: str
    axes: tuple[AxisCount, ...]
    combinations: int
    prompts: int
    asked: int | None = None

    def notes(self) -> Iterator[str]:
        """What makes it smaller than its author may think."""
        for axis in self.axes:
            yield from axis.notes()
        if self.asked is not None and self.asked > self.combinations:
            yield (
                f"{self.template} is to draw {shown(self.asked)} combinations and has"
                f" {shown(self.combinations)}: all are taken"
            )

    def __str__(self) -> str:
        """``harbour: season 4 × animal 3 of 40 = 12``."""
        product = " × ".join(map(str, self.axes)) or "no axis"
        drawn = "" if self.prompts == self.combinations else f", {shown(self.prompts)} drawn"
        return f"{self.template}: {product} = {shown(self.combinations)}{drawn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCount:
    """How many prompts a matrix file makes, by template in the order of the file."""

    templates: tuple[TemplateCount, ...]

    @property
    def prompts(self) -> int:
        """All of them."""
        return sum(each.prompts for each in self.templates)

    def lines(self, limit: int = _SHOWN_TEMPLATES) -> Iterator[str]:
        """One line for each of the largest templates, the largest first."""
        largest = sorted(self.templates, key=lambda each: -each.prompts)
        yield from map(str, largest[:limit])
        if more := largest[limit:]:
            rest = sum(each.prompts for each in more)
            yield f"and {shown(rest)} from {len(more)} more"

    def notes(self) -> list[str]:
        """What makes it smaller than its author may think, each told once."""
        told = dict.fromkeys(note for each in self.templates for note in each.notes())
        return [f"note: {each}" for each in told]

    def to_json(self) -> str:
        """As text, kept with the prompt table."""
        return _JSON.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> MatrixCount:
        """Back from `to_json`.

        Raises:
            ValueError: it is something else.
        """
        return _JSON.validate_json(text)

    @classmethod
    def from_plain(cls, value: object) -> MatrixCount:
        """Back from `dataclasses.asdict`, also after a journey through JSON.

        Raises:
            ValueError: it is something else.
        """
        return _JSON.validate_python(value)


_JSON = TypeAdapter(MatrixCount)


def _count_of(templates: Sequence[ResolvedTemplate]) -> MatrixCount:
    """Count from the sizes of the axes; makes no combination."""
    return MatrixCount(
        templates=tuple(
            TemplateCount(
                template=each.name,
                axes=tuple(
                    AxisCount(
                        axis=axis.name,
                        values=len(axis.values),
                        available=axis.available,
                        repeated=axis.repeated,
                        asked=axis.asked,
                    )
                    for axis in each.axes
                ),
                combinations=each.product,
                prompts=each.prompts,
                asked=each.sample,
            )
            for each in templates
        )
    )


def check_ceiling(
    templates: Sequence[ResolvedTemplate], ceiling: Ceiling, *, tightened: int | None, file: Path
) -> MatrixCount:
    """Count, and refuse what is over the ceiling, before any combination is made.

    Args:
        templates: what would be made.
        ceiling: the setting's.
        tightened: the file's own limit, which can only be lower.
        file: for the message.

    Raises:
        MatrixTooLargeError: with the count, its price, which axis multiplies how much, and what
            to do.
    """
    count = _count_of(templates)
    limit, whose = ceiling.max_prompts, "WAN_MATRIX_MAX_PROMPTS"
    if tightened is not None and tightened < limit:
        limit, whose = tightened, "max_prompts in the file"
    if count.prompts > limit:
        raise MatrixTooLargeError(
            file,
            f"makes {shown(count.prompts)} prompts,{_price(templates, ceiling.price_usd)} more than"
            f" the {limit:,} that {whose} allows. " + "; ".join(count.lines()),
            f"{_advice(templates, limit)}, remove values, or raise {whose}. Nothing was made of it",
        )
    for each in templates:
        values = sum(len(axis.values) for axis in each.axes)
        if each.prompts < each.product and each.prompts * values > _MAX_DRAW_WORK:
            raise MatrixTooLargeError(
                file,
                f"draws {shown(each.prompts)} combinations for the template {each.name} out of axes"
                f" with {shown(values)} values, which takes too long",
                f"{_advice([each], limit)} first, or draw fewer",
            )
    return count


def _advice(templates: Sequence[ResolvedTemplate], limit: int) -> str:
    """How to sample what multiplies most, with numbers that would help."""
    largest = max(templates, key=lambda each: each.prompts)
    if not largest.axes:
        return "Split the file"
    fewer = max(1, min(_SUGGESTED_SAMPLE, limit // len(templates)))
    axis = max(largest.axes, key=lambda each: len(each.values))
    some = max(1, min(_SUGGESTED_VALUES, len(axis.values) // 2))
    return (
        f"Draw some of its combinations (sample: {fewer} beside the prompt of {largest.name}) or of"
        f" its largest axis ({axis.name}: {{sample: {some}, from: ...}})"
    )


def _price(templates: Sequence[ResolvedTemplate], price_usd: Decimal | None) -> str:
    """What they cost at most, as far as that is known before the rows exist."""
    images, exact = 0, True
    for each in templates:
        n, n_exact = _most(each, "n", MAX_IMAGES)
        replicas, replicas_exact = _most(each, "replicas", MAX_REPLICAS)
        images += each.prompts * n * replicas
        exact = exact and n_exact and replicas_exact
    most = "" if exact else "at most "
    if price_usd is None:
        return f" {most}{shown(images)} images at a price that is not known,"
    return f" {most}{shown(images)} images for ${_dollars(images * price_usd)},"


def _most(template: ResolvedTemplate, column: str, highest: int) -> tuple[int, bool]:
    """The largest number in a column, and whether every row has it."""
    text = template.known.get(column)
    if text is None:
        return 1, True
    values = [text.render({})] if not text.variables else []
    if name := text.only_variable:
        values = next(list(axis.values) for axis in template.axes if axis.name == name)
    numbers = [int(value) for value in values if value.isascii() and value.isdecimal()]
    fitting = [number for number in numbers if 1 <= number <= highest]
    return max(fitting, default=highest), len(values) == len(fitting) == 1


def shown(number: int) -> str:
    """A count for people: all digits, or its size when they would not be read."""
    if number < 10**_PLAIN_DIGITS:
        return f"{number:,}"
    return f"about 10^{_digits(number) - 1}"


def _digits(number: int) -> int:
    """How many decimal digits; `str` refuses very large numbers."""
    digits = 1
    while number >= 10**_PLAIN_DIGITS:
        number //= 10**_PLAIN_DIGITS
        digits += _PLAIN_DIGITS
    return digits + len(str(number)) - 1


def _dollars(amount: Decimal) -> str:
    return f"{amount:,.2f}" if amount < Decimal(10) ** _PLAIN_DIGITS else shown(int(amount))
