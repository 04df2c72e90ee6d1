"""What the ledger tells a person to look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.cap_use import cap_uses
from wan_pipeline.ledger.review import price_differences, stored_files, unfinished, unknowns
from wan_pipeline.ledger.schema import UNREADABLE_COST
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline_tests.ledger.entries import MORNING, Book, event_row, image_row, purchase_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREIGN = {"profile": "vtrix"}
HOUR = timedelta(hours=1)
CENT = Decimal("0.01")


@pytest.fixture
def book(where: Path | str) -> Iterator[Book]:
    """A ledger to write into, on each database."""
    with Book(where) as book:
        yield book


def test_unknowns_are_told_with_what_is_known_of_them(book: Book) -> None:
    """Oldest first, with the prompt to look for and what holds the money back."""
    book.add(
        [
            purchase_row(
                "late",
                state="unknown",
                created_at=MORNING + HOUR,
                error_code="InternalError",
                error_message="status 500",
                request='{"prompt":"水墨画","n":1}',
            ),
            purchase_row("early", state="unknown", attempt=2, error_message="timeout"),
            purchase_row("other", state="unknown", **FOREIGN),
            purchase_row("done"),
        ]
    )
    with snapshot(book.reader) as view:
        early, late = unknowns(view)
    assert (early.request_id, early.attempt, early.reason) == ("early", 2, "timeout")
    assert early.since == MORNING
    assert (late.prompt, late.reason) == ("水墨画", "InternalError: status 500")
    assert (late.prompt_set, late.reserved_usd, late.task_id) == ("kites", 3 * CENT, None)


def test_what_dies_first_is_told_first(book: Book) -> None:
    """Everything in flight or to be fetched; what has no deadline yet comes last."""
    book.add(
        [
            purchase_row("sending", state="intent"),
            purchase_row("tomorrow", state="submitted", deadline_at=MORNING + 24 * HOUR),
            purchase_row("today", state="succeeded", deadline_at=MORNING + HOUR),
            purchase_row("doubtful", state="unknown"),
            purchase_row("done", deadline_at=MORNING),
            purchase_row("other", state="submitted", **FOREIGN),
        ]
    )
    with snapshot(book.reader) as view:
        found = unfinished(view)
    assert [each.request_id for each in found] == ["today", "tomorrow", "sending"]
    assert [each.deadline_at for each in found] == [MORNING + HOUR, MORNING + 24 * HOUR, None]


def test_a_reported_cost_is_held_against_the_images_received(book: Book) -> None:
    """Also where nothing came and something was billed; what the price table says is no report."""
    book.add(
        [
            purchase_row("right", n=2, cost_usd=6 * CENT),
            purchase_row("dear", cost_usd=4 * CENT, created_at=MORNING + HOUR),
            purchase_row("cheap", cost_usd=Decimal(0)),
            purchase_row("fewer", n=2, cost_usd=6 * CENT, created_at=MORNING + 2 * HOUR),
            purchase_row("billed", state="failed", created_at=MORNING + 3 * HOUR),
            purchase_row("table", cost_usd=5 * CENT, cost_source="price_table"),
            purchase_row("gone", state="written_off", cost_source="written_off"),
            purchase_row("flying", state="submitted"),
            purchase_row("other", cost_usd=9 * CENT, **FOREIGN),
            # The images of another attempt are another purchase's.
            purchase_row("twice", attempt=2, created_at=MORNING + 4 * HOUR),
        ],
        [
            image_row("right", 0),
            image_row("right", 1),
            image_row("dear"),
            image_row("cheap"),
            image_row("fewer"),
            image_row("table"),
            image_row("twice", attempt=1),
            image_row("billed", **FOREIGN),
        ],
    )
    with snapshot(book.reader) as view:
        found = price_differences(view)
    assert [(each.request_id, each.images, each.cost_usd, each.expected_usd) for each in found] == [
        ("cheap", 1, 0, 3 * CENT),
        ("dear", 1, 4 * CENT, 3 * CENT),
        ("fewer", 1, 6 * CENT, 3 * CENT),
        ("billed", 0, 3 * CENT, 0),
        ("twice", 0, 3 * CENT, 0),
    ]


def test_cost_that_cannot_be_read_is_told_as_it_was_reported(book: Book) -> None:
    """Among the differences, by nothing: the price is what counts."""
    book.add(
        [
            purchase_row("odd", cost_usd=3 * CENT, cost_source="unreadable"),
            purchase_row("right", created_at=MORNING + HOUR),
        ],
        [image_row("odd"), image_row("right")],
        [
            event_row("odd", detail="task-1", to_state="submitted"),
            event_row("odd", detail=f"1 images{UNREADABLE_COST}0,03", to_state="succeeded"),
            event_row("odd", detail="its file came again", to_state="succeeded"),
        ],
    )
    with snapshot(book.reader) as view:
        (odd,) = price_differences(view)
    assert (odd.request_id, odd.told, odd.surplus_usd) == ("odd", "0,03", 0)
    assert (odd.cost_usd, odd.expected_usd) == (3 * CENT, 3 * CENT)


def test_stored_files_are_told_with_their_length(book: Book) -> None:
    """And nothing that has not arrived or belongs to another account."""
    book.add(
        images=[
            image_row("a", path="images/a.png", bytes=7),
            image_row("b", state="lost"),
            image_row("c", path=None, bytes=None),
            image_row("d", **FOREIGN),
        ]
    )
    with snapshot(book.reader) as view:
        assert sorted(stored_files(view), key=str) == [("images/a.png", 7), (None, None)]


# --- the budget ---

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MIDNIGHT = NOON.replace(hour=0)
BOUGHT = [
    purchase_row("1", bought_by_set="kites", run_id="old", created_at=MIDNIGHT - HOUR),
    purchase_row("2", bought_by_set="kites", run_id="new", created_at=MIDNIGHT),
    purchase_row("3", bought_by_set="tea", run_id="new", state="unknown", created_at=NOON),
    purchase_row("4", bought_by_set="tea", run_id="new", created_at=NOON, **FOREIGN),
]


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        (Caps(), []),
        (Caps(total=10 * CENT), [("total", "", 6, 3, 1)]),
        (Caps(day=6 * CENT), [("day", "2026-11-22", 3, 3, 0)]),
        (Caps(run=5 * CENT), [("run", "new", 3, 3, -1)]),
        (
            Caps(prompt_set=4 * CENT),
            [("prompt_set", "kites", 6, 0, -2), ("prompt_set", "tea", 0, 3, 1)],
        ),
    ],
)
def test_what_is_left_under_each_cap(
    book: Book, caps: Caps, expected: list[tuple[str, str, int, int, int]]
) -> None:
    """By the day, set and run of the intent, paid and reserved together."""
    book.add(BOUGHT)
    with snapshot(book.reader) as view:
        found = cap_uses(view, caps, now=NOON)
    told = [(use.cap, use.of, use.spent_usd, use.reserved_usd, use.left_usd) for use in found]
    assert told == [
        (cap, of, spent * CENT, reserved * CENT, left * CENT)
        for cap, of, spent, reserved, left in expected
    ]


def test_an_empty_ledger_uses_nothing(book: Book) -> None:
    """The total and the day are told all the same; there is no set and no run to tell of."""
    caps = Caps(total=CENT, day=CENT, run=CENT, prompt_set=CENT)
    with snapshot(book.reader) as view:
        found = cap_uses(view, caps, now=NOON)
    assert [(use.cap, use.left_usd) for use in found] == [("total", CENT), ("day", CENT)]
