"""Rows behind some purchases, and what an image or a task leads to, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger import extract
from wan_pipeline.ledger.extract import purchase_rows
from wan_pipeline.ledger.origins import (
    attempts_at,
    image_ids_beginning,
    request_ids_beginning,
    requests_of_image,
    requests_of_task,
)
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline_tests.ledger.entries import Book, event_row, image_row, purchase_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = "a" * 64, "b" * 64, "c" * 64
STRANGER = {"profile": "vtrix"}


@pytest.fixture
def book(where: Path | str) -> Iterator[Book]:
    """Three requests, one bought twice, and another account's purchase of one of them."""
    with Book(where) as book:
        book.add(
            [
                purchase_row(B),
                purchase_row(A, attempt=2, task_id="again"),
                purchase_row(A),
                purchase_row(C, task_id="again"),
                purchase_row(A, **STRANGER),
            ],
            [
                image_row(A),
                image_row(A, attempt=2, image_id=image_row(A)["image_id"]),
                image_row(B, image_id=image_row(A)["image_id"]),
                image_row(A, **STRANGER),
            ],
            [
                event_row(B),
                event_row(A),
                event_row(A, to_state="stored"),
                event_row(A, attempt=2),
                event_row(A, **STRANGER),
            ],
        )
        yield book


def rows_of(book: Book, table: str, attempts: dict[str, int]) -> list[dict[str, Any]]:
    """All rows of all parts."""
    with snapshot(book.reader) as view:
        return [
            dict(zip(columns, values, strict=True))
            for columns in purchase_rows(view, table, attempts)
            for values in zip(*columns.values(), strict=True)
        ]


@pytest.mark.parametrize("chunk", [1, 500])
def test_rows_are_those_of_the_attempts_in_a_fixed_order(
    book: Book, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order in which they were written, and however many are asked for at once."""
    monkeypatch.setattr(extract, "CHUNK", chunk)
    wanted = {B: 1, A: 1, "d" * 64: 1}
    purchases = rows_of(book, "purchases", wanted)
    assert [(row["request_id"], row["attempt"], row["profile"]) for row in purchases] == [
        (A, 1, "emulator"),
        (B, 1, "emulator"),
    ]
    events = rows_of(book, "events", wanted)
    assert [(row["request_id"], row["to_state"]) for row in events] == [
        (A, "intent"),
        (A, "stored"),
        (B, "intent"),
    ]
    assert [row["attempt"] for row in rows_of(book, "events", {A: 2})] == [2]
    assert rows_of(book, "events", {}) == []


def test_an_image_leads_to_every_request_that_brought_it(book: Book) -> None:
    """Of this account."""
    image_id = image_row(A)["image_id"]
    assert image_ids_beginning(book.reader, image_id[:6]) == [image_id]
    assert requests_of_image(book.reader, image_id) == [A, B]
    assert requests_of_image(book.reader, "nothing") == []


def test_beginnings_and_tasks(book: Book) -> None:
    """A percent sign is no pattern, and a task that two purchases have names both."""
    assert request_ids_beginning(book.reader, "aaaaaa") == [A]
    assert request_ids_beginning(book.reader, "%") == []
    assert requests_of_task(book.reader, "again") == [A, C]
    attempts = attempts_at(book.reader, [A, "nothing"])
    assert [each.attempt for each in attempts[A]] == [1, 2]
    assert attempts["nothing"] == []
