"""A shop to trace in: two sets, one bought again, two releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.trace.trace import trace
from wan_pipeline_tests.dataset.release.toys import KITES, TRAMS
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wan_pipeline.dataset.trace.story import Trace


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Two sets, one bought again, two releases; only looked at."""
    with Workshop(tmp_path_factory.mktemp("trace")) as made:
        made.build("kites", KITES)
        made.build("trams", TRAMS, leave=lambda row: row.prompt_id == "kite")
        made.release("toys", "kites")
        made.build(
            "kites",
            KITES,
            attempt=2,
            leave=lambda row: row.prompt_id != "kite",
            paint=lambda _, index: tiny_png(f"another {index}"),
        )
        made.release("toys", "kites", "trams")
        yield made


def of(shop: Workshop, asked: object) -> Trace:
    """Trace in the shop."""
    with shop.ledger() as ledger:
        return trace(str(asked), ledger=ledger, layout=shop.layout)


def rows(shop: Workshop, prompt_id: str, prompt_set: str = "kites") -> list[dict[str, object]]:
    """Metadata rows of a prompt."""
    table = pq.read_table(shop.layout.metadata(prompt_set)).to_pylist()
    return [row for row in table if row["prompt_id"] == prompt_id]
