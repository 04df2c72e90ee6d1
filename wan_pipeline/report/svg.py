"""Matplotlib figures as SVG that stands inside a page: small, repeatable, in the page's colours.

Colours are named and become CSS variables, so that a plot follows the page's light and dark. Words
that a user wrote never go through Matplotlib, which would measure them in a font without their
glyphs: a stand-in is drawn, and replaced in the finished SVG. Nothing here keeps global state; what
importing Matplotlib costs (most of a second) is paid by who imports this module.
"""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

__all__ = ["HEIGHT", "WIDTH", "Words", "ink", "paint"]

# Where it keeps its font cache is nothing that the user of a pipeline must read about.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

WIDTH, HEIGHT = 420.0, 250.0
"""Usual size of a plot in its own units; the page scales it to the room there is."""

FONT_SIZE = 9.5
NAMESPACE = "http://www.w3.org/2000/svg"
INKS = (
    "text",
    "muted",
    "line",
    "good",
    "bad",
    "doubt",
    "range",
    *(f"series-{n}" for n in range(8)),
)
_INK = re.compile(r"#0000([0-9a-f]{2})")
_TEXT_STYLE = re.compile(r"(?:text-anchor|fill): [^;]+")
_UNWANTED = ("metadata", "style")


class Words:
    """Words of users, and what stands for them while a figure is drawn."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def stand_in(self, word: str) -> str:
        """What to draw instead."""
        self._words.append(word)
        return f"@{len(self._words) - 1}@"

    def word(self, drawn: str | None) -> str | None:
        """What was meant, when it is a stand-in."""
        found = re.fullmatch(r"@(\d+)@", drawn or "")
        return self._words[int(found[1])] if found else None


def ink(name: str) -> str:
    """A colour for Matplotlib that becomes the CSS variable ``--name``."""
    return f"#0000{INKS.index(name) + 1:02x}"


def paint(
    name: str, label: str, draw: Callable[[Axes, Words], None], *, height: float = HEIGHT
) -> Markup:
    """Let `draw` fill the axes of a new figure, and return it as an SVG element.

    Args:
        name: of the plot, unlike every other on the page.
        label: what it shows, for those who do not see it.
        draw: draws with colours from `ink`, and words of users by their stand-ins.
        height: in the units of `WIDTH`.
    """
    words, buffer = Words(), io.StringIO()
    with rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": name,
            "text.parse_math": False,
            "font.size": FONT_SIZE,
            "text.color": ink("text"),
        }
    ):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, colors=ink("muted"), pad=5)
        axes.tick_params(axis="x", pad=9)
        draw(axes, words)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    return _inline(buffer.getvalue(), label, words)


def _inline(drawn: str, label: str, words: Words) -> Markup:
    """The drawing as part of a page: no size, no ids but those it refers to, colours by name."""
    root = ET.fromstring(drawn)  # noqa: S314  written by Matplotlib just now
    for parent in root.iter():
        for child in [each for each in parent if each.tag.rpartition("}")[2] in _UNWANTED]:
            parent.remove(child)
    referred = set(
        re.findall(r"#(\w+)", " ".join(v for e in root.iter() for v in e.attrib.values()))
    )
    for element in root.iter():
        if element.get("id") not in referred:
            element.attrib.pop("id", None)
        if element.tag == f"{{{NAMESPACE}}}text":
            _set_text(element, words)
        if "style" in element.attrib:
            element.set("style", _INK.sub(_variable, element.attrib["style"]))
        element.tag = element.tag.rpartition("}")[2]
    view = root.get("viewBox", "")
    root.attrib = {"viewBox": view, "role": "img", "aria-label": label}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  escaped by the serialiser


def _set_text(element: ET.Element, words: Words) -> None:
    """Leave the font to the page, and put the user's word where its stand-in is."""
    element.set("style", "; ".join(_TEXT_STYLE.findall(element.get("style", ""))))
    word = words.word(element.text)
    if word is not None:
        element.text = word


def _variable(found: re.Match[str]) -> str:
    return f"var(--{INKS[int(found[1], 16) - 1]})"
