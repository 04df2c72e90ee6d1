"""The plots of the pages about money and runs. Each takes figures and returns one SVG element.

Floats will do here: exact amounts stand beside the plots. A plot has a bounded number of elements,
however long the ledger is.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from wan_pipeline.report.svg import HEIGHT, WIDTH, Words, ink, paint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from markupsafe import Markup
    from matplotlib.axes import Axes

__all__ = ["bars_by_name", "histogram", "ranges", "stacked_bars"]

MOST_BINS = 36
ROW_HEIGHT = 29.0
LABEL_COLUMNS = 34  # of a name above its bar, in the width of Latin letters
X_LABELS = 4
MIN_SLOTS = 7  # so that a single day is a bar and no wall
_CORNERS = ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))
_CODES = (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)

Box = tuple[float, float, float, float]  # left, bottom, width, height


def stacked_bars(
    label: str,
    slots: Sequence[str],
    layers: Sequence[tuple[str, Sequence[float]]],
    *,
    name: str = "over-time",
    money: bool = True,
) -> Markup:
    """USD, or a number of things, over time: one bar per slot, its layers on top of each other.

    Args:
        label: what it shows.
        slots: names of the periods, in order, without gaps.
        layers: colour and one amount per slot, the lowest first.
        name: of the plot, unlike every other on the page.
        money: whether the amounts are USD; else they are whole numbers.
    """

    def draw(axes: Axes, _words: Words) -> None:
        _place(axes)
        tops = np.zeros(len(slots))
        for colour, amounts in layers:
            boxes = [
                (slot - 0.39, bottom, 0.78, amount)
                for slot, (bottom, amount) in enumerate(zip(tops, amounts, strict=True))
                if amount > 0
            ]
            _fill(axes, boxes, colour)
            tops = tops + np.asarray(amounts)
        _slot_axis(axes, slots)
        if money:
            _money_axis(axes, float(tops.max()))
        else:
            _count_axis(axes, max(int(tops.max()), 1))

    return paint(name, label, draw)


def ranges(
    label: str, slots: Sequence[str], spans: Sequence[tuple[float, float, float] | None]
) -> Markup:
    """Seconds over time: one bar per slot from the least to the most, with a mark between.

    Args:
        label: what it shows.
        slots: names of the periods, in order, without gaps.
        spans: least, middle and most of each slot; nothing where there was none. At least one.
    """

    def draw(axes: Axes, _words: Words) -> None:
        _place(axes)
        told = [(slot, span) for slot, span in enumerate(spans) if span is not None]
        highest = max(most for _, (_, _, most) in told) or 1e-3
        thin = highest / 60  # what is there is seen, however alike all were
        _fill(
            axes,
            [(slot - 0.3, low, 0.6, max(most - low, thin)) for slot, (low, _, most) in told],
            "range",
        )
        _fill(
            axes,
            [(slot - 0.39, middle - thin / 2, 0.78, thin) for slot, (_, middle, _) in told],
            "series-0",
        )
        _slot_axis(axes, slots)
        ticks = _ticks(highest)
        _lines(axes, ticks, [_duration(at, ticks[-1]) for at in ticks], highest)

    return paint("ranges", label, draw)


def histogram(
    label: str, seconds: npt.NDArray[np.float64], marks: Sequence[tuple[str, float]]
) -> Markup:
    """How many tasks took how long; the slowest half percent is in the last bar.

    Args:
        label: what it shows.
        seconds: one value per task; at least one.
        marks: colour and position of vertical lines.
    """

    def draw(axes: Axes, _words: Words) -> None:
        _place(axes)
        end = max(float(np.quantile(seconds, 0.995)), *(at for _, at in marks), 1e-3) * 1.02
        bins = int(np.clip(2 * np.sqrt(seconds.size), 8, MOST_BINS))
        counts, edges = np.histogram(np.minimum(seconds, end), bins=bins, range=(0, end))
        boxes = [
            (low, 0.0, (high - low) * 0.88, float(count))
            for (low, high), count in zip(pairwise(edges.tolist()), counts, strict=True)
            if count
        ]
        _fill(axes, boxes, "series-0")
        for colour, at in marks:
            axes.axvline(at, color=ink(colour), linewidth=1.6)
        axes.set_xlim(0, end)
        ticks = _ticks(end)
        axes.set_xticks(ticks, [_duration(at, ticks[-1]) for at in ticks])
        _count_axis(axes, int(counts.max()))

    return paint("latency", label, draw)


def bars_by_name(
    name: str, label: str, rows: Sequence[tuple[str, str, Sequence[tuple[str, float]]]]
) -> Markup:
    """One horizontal bar per name, with the name and what it comes to above it.

    Args:
        name: of the plot, unlike every other on the page.
        label: what it shows.
        rows: name, amount as text, and the bar's parts as (colour, length), from the top.
    """

    def draw(axes: Axes, words: Words) -> None:
        axes.set_position((0, 0, 1, 1))
        longest = max(sum(length for _, length in parts) for _, _, parts in rows) or 1.0
        thin = longest / 300  # what is there is seen, however little it is
        for row, (named, amount, parts) in enumerate(rows):
            at = 0.0
            for colour, length in parts:
                if length > 0:
                    _fill(axes, [(at, row + 0.58, max(length, thin), 0.26)], colour)
                    at += max(length, thin)
            axes.text(0, row + 0.47, words.stand_in(_shortened(named)))
            axes.text(longest, row + 0.47, amount, ha="right", color=ink("muted"))
        axes.set_xlim(0, longest * 1.01)
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([])
        axes.set_yticks([])

    return paint(name, label, draw, height=ROW_HEIGHT * len(rows))


def _place(axes: Axes) -> None:
    """Margins in the plot's units: what is measured differs from machine to machine."""
    left, right, bottom, top = 46.0, 8.0, 28.0, 8.0
    axes.set_position(
        (
            left / WIDTH,
            bottom / HEIGHT,
            (WIDTH - left - right) / WIDTH,
            (HEIGHT - bottom - top) / HEIGHT,
        )
    )


def _slot_axis(axes: Axes, slots: Sequence[str]) -> None:
    """As many names of slots as there is room for."""
    width = max(len(slots), MIN_SLOTS)
    middle = (len(slots) - 1) / 2
    axes.set_xlim(middle - width / 2, middle + width / 2)
    step = max(1, -(-len(slots) // X_LABELS))
    axes.set_xticks(range(0, len(slots), step), slots[::step])


def _fill(axes: Axes, boxes: Iterable[Box], colour: str) -> None:
    """Draw rectangles as one element."""
    corners = [
        (left + width * x, bottom + height * y)
        for left, bottom, width, height in boxes
        for x, y in _CORNERS
    ]
    if corners:
        path = Path(corners, list(_CODES) * (len(corners) // len(_CORNERS)))
        axes.add_patch(PathPatch(path, facecolor=ink(colour), linewidth=0))


def _money_axis(axes: Axes, highest: float) -> None:
    ticks = _ticks(highest or 0.01)
    step = ticks[1] - ticks[0]
    decimals = 0 if step >= 1 else 2 if step >= 0.01 else 4
    _lines(axes, ticks, [f"${at:,.{decimals}f}" for at in ticks], highest or 0.01)


def _count_axis(axes: Axes, highest: int) -> None:
    ticks = _ticks(highest, integer=True)
    _lines(axes, ticks, [f"{at:,.0f}" for at in ticks], highest)


def _lines(axes: Axes, ticks: Sequence[float], labels: Sequence[str], highest: float) -> None:
    """Horizontal lines behind the bars, with what they stand for."""
    axes.set_ylim(0, max(highest, ticks[-1]) * 1.02)
    axes.set_yticks(list(ticks), list(labels))
    axes.grid(axis="y", color=ink("line"), linewidth=1)
    axes.set_axisbelow(True)


def _ticks(highest: float, *, integer: bool = False) -> list[float]:
    """Round values from nothing to about `highest`."""
    locator = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=integer, min_n_ticks=2)
    return [float(at) for at in locator.tick_values(0, highest) if 0 <= at <= highest * 1.0001] or [
        0.0
    ]


def _duration(seconds: float, longest: float) -> str:
    if longest < 300:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if longest < 3 * 3600 else f"{seconds / 3600:g} h"


def _shortened(name: str) -> str:
    """The name on one line, cut to the room there is; wide characters take two columns."""
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    columns = 0
    for end, letter in enumerate(line):
        columns += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if columns > LABEL_COLUMNS:
            return line[:end].rstrip() + "…"
    return line
