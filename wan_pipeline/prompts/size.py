"""Image sizes: what may be written in the ``size`` column and what it means.

The rule is the API page's: between 1280*1280 and 1440*1440 pixels in total, ratio between 1:4 and
4:1. Four of the five sizes which that page itself recommends lie up to one percent under its own
minimum, so these five are valid by name and the rule holds for every other size.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from wan_pipeline.prompts.errors import RuleViolation

__all__ = ["DEFAULT_SIZE", "MAX_PIXELS", "MAX_RATIO", "MIN_PIXELS", "PRESETS", "parse_size"]

MIN_PIXELS = 1280 * 1280
MAX_PIXELS = 1440 * 1440
MAX_RATIO = 4
DEFAULT_SIZE = "1280*1280"

#: Ratio to the size the API page recommends for it.
PRESETS = {
    "1:1": "1280*1280",
    "3:4": "1104*1472",
    "4:3": "1472*1104",
    "9:16": "960*1696",
    "16:9": "1696*960",
}

_PRESET_SIZES = frozenset(PRESETS.values())
_SIZE = re.compile(r"0*([0-9]{1,6})\s*[*xX×]\s*0*([0-9]{1,6})")
_RATIO = re.compile(r"([0-9]{1,4})\s*:\s*([0-9]{1,4})")
_USUAL = ", ".join(PRESETS.values())


@lru_cache(maxsize=1024)
def parse_size(text: str) -> str:
    """Return the canonical ``width*height`` for one cell of the ``size`` column.

    Accepted: ``1280*1280``, ``1280x1280``, the same with a multiplication sign, spaces or
    full-width characters, and the ratios of `PRESETS`.

    Raises:
        RuleViolation: not a size, or outside the pixel and ratio limits of the API page.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    ratio = _RATIO.fullmatch(plain)
    if ratio:
        return _preset(f"{int(ratio[1])}:{int(ratio[2])}")
    match = _SIZE.fullmatch(plain)
    if not match:
        raise RuleViolation(
            "size is width*height in pixels or a ratio",
            f"write for example 1280*1280 or 16:9 (usual sizes: {_USUAL})",
        )
    width, height = int(match[1]), int(match[2])
    size = f"{width}*{height}"
    if size not in _PRESET_SIZES:
        _check_limits(width, height)
    return size


def _preset(ratio: str) -> str:
    size = PRESETS.get(ratio)
    if size is None:
        raise RuleViolation(
            f"a ratio is one of {', '.join(PRESETS)}",
            "use one of these ratios or write the size in pixels, for example 768*2700",
        )
    return size


def _check_limits(width: int, height: int) -> None:
    pixels = width * height
    if not MIN_PIXELS <= pixels <= MAX_PIXELS:
        raise RuleViolation(
            f"width*height is between 1280*1280 and 1440*1440 = {MIN_PIXELS} to {MAX_PIXELS} "
            f"pixels in total; this is {pixels}",
            f"choose a {'larger' if pixels < MIN_PIXELS else 'smaller'} size, "
            f"for example one of {_USUAL}",
        )
    if width > MAX_RATIO * height or height > MAX_RATIO * width:
        raise RuleViolation(
            "the ratio of width to height is between 1:4 and 4:1",
            f"choose a less narrow size, for example 768*2700 or one of {_USUAL}",
        )
