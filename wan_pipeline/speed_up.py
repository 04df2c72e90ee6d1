"""How much faster than the real service the emulator works, as far as a client must know it.

The emulator reads the whole plan by itself; the client needs only this of it, for its limits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_SPEED_UP", "MAX_SPEED_UP", "speed_up_in", "unusable_plan"]

DEFAULT_SPEED_UP = 20.0
MAX_SPEED_UP = 1000.0
SHOWN_PROBLEMS = 5


def unusable_plan(path: Path, error: Exception, *, given_as: str) -> ConfigurationError:
    """What is wrong with an emulator's plan, under the name by which the user gave it."""
    if isinstance(error, ValidationError):
        problems = [
            f"{'.'.join(str(part) for part in each['loc']) or 'the file'}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        what = "; ".join(problems[:SHOWN_PROBLEMS])
    elif isinstance(error, OSError):
        what = error.strerror or type(error).__name__
    elif isinstance(error, UnicodeDecodeError):
        what = "it is no text"
    else:
        what = str(error)
    return ConfigurationError(
        f"{given_as}: {path.absolute()} cannot be used as the emulator's plan: {what}. Name a JSON"
        ' file that holds an object, such as {"speed_up": 100}, or name none. Nothing was sent'
    )


def speed_up_in(path: Path) -> float:
    """The speed-up that a plan asks for; 1 when it says nothing about it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON object, or its speed-up is no number from 1 to `MAX_SPEED_UP`.
    """
    found: object = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004  a wrong value in a file
    speed: object = cast("dict[str, object]", found).get("speed_up", 1.0)
    if isinstance(speed, bool) or not isinstance(speed, int | float):
        raise ValueError("speed_up is not a number")  # noqa: TRY004  same
    if not 1 <= speed <= MAX_SPEED_UP:
        raise ValueError(f"speed_up is not between 1 and {MAX_SPEED_UP:.0f}")
    return float(speed)
