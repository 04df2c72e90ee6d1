"""Small builders for prompt files and shorthand for reading the tables made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from wan_pipeline.prompts.plan_table import write_request_table
from wan_pipeline.prompts.table import build_prompt_table

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.prompts.plan_table import RequestTableSummary
    from wan_pipeline.prompts.table import PromptTableSummary

MODEL = "wan25_t2i_preview_intl"


@dataclass(frozen=True, kw_only=True)
class Built:
    """A prompt table with its rows in memory."""

    summary: PromptTableSummary
    prompts: list[dict[str, Any]]
    rejects: list[dict[str, Any]]

    @property
    def texts(self) -> list[str]:
        """The accepted prompts."""
        return [row["prompt"] for row in self.prompts]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """All rows of a Parquet file."""
    return pq.read_table(path).to_pylist()


def build(source: Path, *, truncate: bool = False) -> Built:
    """Build the prompt table of `source` in a folder beside it."""
    out = source.parent / f"{source.name}.out"
    summary = build_prompt_table(source, out_dir=out, set_name="set", truncate=truncate)
    return Built(
        summary=summary,
        prompts=rows_of(out / "prompts.parquet"),
        rejects=rows_of(out / "rejects.parquet"),
    )


def build_text(folder: Path, text: str | bytes, *, name: str = "set.csv") -> Built:
    """Write `text` as a prompt file and build its table."""
    source = folder / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    return build(source)


def plan(source: Path, *, base_seed: int = 0) -> tuple[RequestTableSummary, list[dict[str, Any]]]:
    """Build both tables of `source`; return the summary and the rows of the second."""
    build(source)
    out = source.parent / f"{source.name}.out"
    requests = out / "requests.parquet"
    summary = write_request_table(
        out / "prompts.parquet", out=requests, model=MODEL, base_seed=base_seed
    )
    return summary, rows_of(requests)
