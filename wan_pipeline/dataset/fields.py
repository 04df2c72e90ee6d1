"""How a table's columns are written down: a name, a type, and a sentence that others read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = ["description_of", "known", "optional"]


def known(name: str, kind: Any, description: str) -> Any:
    """A column that every row has a value for."""
    return pa.field(name, kind, nullable=False, metadata={"description": description})


def optional(name: str, kind: Any, description: str) -> Any:
    """A column that may be null; its description says when."""
    return pa.field(name, kind, metadata={"description": description})


def description_of(column: Any) -> str:
    """The sentence of a column, in whatever schema it is; empty when it has none."""
    return (column.metadata or {}).get(b"description", b"").decode()
