"""The values of this package: a row as read, a prompt, and a rejection. No rules, no files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KNOWN_COLUMNS", "Prompt", "RawRow", "Rejection", "derive_prompt_id", "display"]

_DISPLAYED = 200

#: The columns with a meaning; any other column is carried along untouched.
KNOWN_COLUMNS = (
    "prompt",
    "prompt_id",
    "negative_prompt",
    "size",
    "n",
    "seed",
    "replicas",
    "prompt_extend",
    "watermark",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A row as the file has it.

    Attributes:
        row: number of the data row in the file, from 1; header and blank lines do not count.
        known: cells of `KNOWN_COLUMNS`, by column name.
        extra: all other cells, by the name the file gives them.
        place: what a person finds the row by where the file has no rows to count: template and
            values of a prompt matrix.
    """

    row: int
    known: Mapping[str, object]
    extra: Mapping[str, object]
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One valid row with every default filled in.

    Attributes:
        prompt_id: as given, or the hash of the two texts (see `derive_prompt_id`).
        prompt: positive prompt, 1 to 2000 characters, exactly as written.
        negative_prompt: up to 500 characters; empty means none.
        size: ``width*height`` in pixels.
        n: images per request, 1 to 4; each is billed.
        seed: as given, or None when it is to be derived.
        replicas: how many requests with different seeds this prompt makes.
        prompt_extend: whether the provider rewrites the prompt.
        watermark: whether "AI Generated" is drawn bottom right.
        prompt_columns: the other columns of the row as canonical JSON.
        row: number of the data row in the file, from 1; not part of the prompt's identity.
    """

    prompt_id: str
    prompt: str
    negative_prompt: str
    size: str
    n: int
    seed: int | None
    replicas: int
    prompt_extend: bool
    watermark: bool
    prompt_columns: str
    row: int

    def content_digest(self) -> bytes:
        """32 bytes that are equal for two prompts exactly when they say the same."""
        content = [
            self.prompt_id,
            self.prompt,
            self.negative_prompt,
            self.size,
            self.n,
            self.seed,
            self.replicas,
            self.prompt_extend,
            self.watermark,
            self.prompt_columns,
        ]
        return hashlib.sha256(canonical_json(content).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a row was not taken.

    Attributes:
        file: name of the prompt file.
        row: number of the data row, from 1.
        column: the column concerned, or None when it is the row as a whole.
        value: what the file says there, shortened for display, or None when nothing is there.
        rule: the rule the row breaks.
        remedy: what to do about it.
        place: the row's, where it has one (see `RawRow`).
    """

    file: str
    row: int
    column: str | None
    value: str | None
    rule: str
    remedy: str
    place: str | None = None


def derive_prompt_id(prompt: str, negative_prompt: str) -> str:
    """Return the id of a prompt without one: 16 hex digits, a hash of the two texts only.

    Moving, sorting or inserting rows, or renaming the file, therefore changes no id and no seed.
    """
    text = canonical_json([prompt, negative_prompt])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def display(value: object) -> str | None:
    """Return `value` as printable text of at most 200 characters, None for nothing."""
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    shown = text[:_DISPLAYED].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return shown if len(text) <= _DISPLAYED else shown[: _DISPLAYED - 1] + "…"
