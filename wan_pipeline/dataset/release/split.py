"""Which side of the split a prompt is on: by a hash of its id, and of nothing else.

All images of one prompt are on one side, in every prompt set and every release, on any machine;
which other prompts there are does not matter. With x = the first 8 bytes of SHA-256 over
``wan_pipeline.split/1`` LF and the prompt id as UTF-8, read as a big-endian fraction of 2**64:
test when x is below the test ratio, validation when it is below test and validation together,
else train. So a larger test side keeps what was in it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import ceil

from wan_pipeline.dataset.release.errors import ReleaseUsageError

__all__ = ["DEFAULT_SPLIT", "Split", "SplitRatios"]

_SALT = b"wan_pipeline.split/1\n"
_RANGE = 2**64
DIGITS = 9
_RATIO = re.compile(rf"[0-9]{{1,{DIGITS}}}(?:\.[0-9]{{1,{DIGITS}}})?")
_TOO_LONG = re.compile(
    rf"[0-9]{{{DIGITS + 1},}}(?:\.[0-9]+)?|[0-9]+\.[0-9]{{{DIGITS + 1},}}", re.ASCII
)
DEFAULT_SPLIT = "0.9/0.05/0.05"


class Split(StrEnum):
    """The sides."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRatios:
    """Exact shares of the prompts, as they were written; only their proportion counts."""

    train: str
    validation: str
    test: str

    @classmethod
    def parse(cls, text: str) -> SplitRatios:
        """Read ``0.9/0.05/0.05`` or ``90/5/5``: train, validation, test.

        Raises:
            ReleaseUsageError: it is not three numbers, one has too many digits, or all are zero.
        """
        parts = [part.strip() for part in text.split("/")]
        if fine := [part for part in parts if _TOO_LONG.fullmatch(part)]:
            raise ReleaseUsageError(
                f"{fine[0][:40]!r} in {text[:80]!r} is no share of a split: at most {DIGITS} digits"
                " stand before and after the point. Write shares like 80.1/10/9.9. Nothing was made"
            )
        if len(parts) != len(Split) or not all(_RATIO.fullmatch(part) for part in parts):
            raise ReleaseUsageError(
                f"{text!r} is no split: write the shares of train, validation and test like"
                f" {DEFAULT_SPLIT} or 90/5/5. Nothing was made"
            )
        if not any(Fraction(part) for part in parts):
            raise ReleaseUsageError(
                f"{text!r} gives every side nothing: one share must be above zero. Nothing was made"
            )
        return cls(train=parts[0], validation=parts[1], test=parts[2])

    @property
    def proportion(self) -> tuple[Fraction, Fraction, Fraction]:
        """Exact shares of the whole: equal for 90/5/5 and 0.9/0.05/0.05."""
        shares = tuple(map(Fraction, (self.train, self.validation, self.test)))
        train, validation, test = (share / sum(shares) for share in shares)
        return train, validation, test

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.train}/{self.validation}/{self.test}"

    def as_dict(self) -> dict[str, str]:
        """Share by side, as written."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def of(self, prompt_id: str) -> Split:
        """The side of one prompt."""
        test, below = _limits(self)
        position = int.from_bytes(_digest(prompt_id)[:8], "big")
        if position < test:
            return Split.TEST
        return Split.VALIDATION if position < below else Split.TRAIN


@lru_cache(maxsize=16)
def _limits(ratios: SplitRatios) -> tuple[int, int]:
    """The first positions that are no longer test, and no longer test or validation."""
    train, validation, test = map(Fraction, (ratios.train, ratios.validation, ratios.test))
    scale = _RANGE / (train + validation + test)
    return ceil(test * scale), ceil((test + validation) * scale)


def _digest(prompt_id: str) -> bytes:
    return hashlib.sha256(_SALT + prompt_id.encode("utf-8", "surrogatepass")).digest()
