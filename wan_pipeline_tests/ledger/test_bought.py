"""What the ledger tells of the runs of one prompt set."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from wan_pipeline.ledger.bought import BOUGHT, bought_by
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline_tests.ledger.entries import MORNING, Book, image_row, purchase_row

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


def test_every_attempt_of_a_set_is_told_with_its_images(where: Path | str) -> None:
    """By time, on each database; not what other sets or other profiles bought."""
    with Book(where) as book:
        book.add(
            purchases=[
                purchase_row("a", created_at=MORNING + HOUR, attempt=2),
                purchase_row("a", state="failed", error_code="InternalError"),
                purchase_row("b", bought_by_set="boats"),
                purchase_row("c", created_at=MORNING + 2 * HOUR, n=2),
                purchase_row("d", profile="vtrix"),
            ],
            images=[
                image_row("a", attempt=2),
                image_row("b"),
                image_row("c"),
                image_row("c", 1, state="lost"),
                image_row("c", 0, profile="vtrix"),
            ],
        )
        with snapshot(book.reader) as view:
            table = bought_by(view, "kites")
            nothing = bought_by(view, "no such set")
    assert table.schema == nothing.schema == BOUGHT
    rows = table.to_pylist()
    told = [(row["request_id"], row["attempt"], row["images_stored"]) for row in rows]
    assert told == [("a", 1, 0), ("a", 2, 1), ("c", 1, 1)]
    assert [row["created_at"] for row in rows] == [MORNING, MORNING + HOUR, MORNING + 2 * HOUR]
    assert rows[0]["error_code"] == "InternalError"
    assert nothing.num_rows == 0
