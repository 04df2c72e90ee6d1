"""Matrix files for tests, and what becomes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wan_pipeline.prompts.read import open_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wan_pipeline.prompts.matrix.count import Ceiling, MatrixCount
    from wan_pipeline.prompts.prompt import RawRow


def write(folder: Path, text: str | Mapping[str, Any], name: str = "set.yaml") -> Path:
    """Write a matrix file; a mapping as JSON, which is YAML with every text in quotes."""
    file = folder / name
    file.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return file


def wildcards(folder: Path, name: str, text: str | bytes) -> Path:
    """Write a wildcard file."""
    file = folder / "wildcards" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def rows(file: Path, ceiling: Ceiling | None = None) -> list[RawRow]:
    """Every row of a matrix file."""
    return [row for chunk in open_rows(file, ceiling).chunks for row in chunk.rows]


def prompts(file: Path) -> list[str]:
    """Every prompt of a matrix file."""
    return [str(row.known["prompt"]) for row in rows(file)]


def count(file: Path, ceiling: Ceiling | None = None) -> MatrixCount:
    """What a matrix file makes, without making it."""
    found = open_rows(file, ceiling).matrix
    assert found is not None
    return found


def made(folder: Path, text: str | Mapping[str, Any]) -> list[str]:
    """The prompts of a matrix that is written here."""
    return prompts(write(folder, text))
