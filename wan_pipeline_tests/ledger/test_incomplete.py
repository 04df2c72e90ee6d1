"""Why a request has not all its images, and what brings it further, from what the ledger holds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger.incomplete import Explanation, explain, state_told
from wan_pipeline_tests.ledger.entries import MORNING, Book, image_row, purchase_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

DIES = MORNING + timedelta(days=1)
GONE = "the result's URL answers 404: it has expired. Run again: while the provider keeps the task"
RETRY_LOST = "`wan run --retry lost` buys the request again, for its price"
UNPAID = {"cost_usd": None, "cost_source": None}
RETRY_FAILED = (
    "`wan run --retry failed` buys the request again, up to WAN_MAX_ATTEMPTS times in all"
)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """An empty ledger."""
    with Book(tmp_path / "ledger.sqlite") as made:
        yield made


def told(book: Book, *, now: datetime = MORNING) -> tuple[str, Explanation]:
    """State and explanation of the request `r1`."""
    purchase = book.reader.purchases(["r1"]).get("r1")
    images = book.reader.images(["r1"]).get("r1", [])
    return state_told(purchase, images), explain(purchase, images, now=now)


def bought(book: Book, *images: dict[str, Any], **values: Any) -> None:
    """One purchase and its images."""
    book.add(
        [purchase_row(n=max(len(images), 1), **values)],
        [image_row(image_index=index, **each) for index, each in enumerate(images)],
    )


@pytest.mark.parametrize(
    ("state", "values", "reason", "next_step"),
    [
        ("intent", {}, "its create is on its way", "the next run finds out what became of it"),
        ("submitted", {}, "at the provider", "the next run fetches it"),
        ("unknown", {"error_message": "it was reset"}, "it was reset", ""),
        ("expired", {"error_message": "the task is gone"}, "the task is gone", RETRY_LOST),
        ("written_off", {}, "written_off", RETRY_LOST),
        ("failed", {"error_message": "a bad day", **UNPAID}, "a bad day", RETRY_FAILED),
        (
            "failed",
            {"error_message": "a bad day"},
            "a bad day; paid 0.03 USD all the same",
            RETRY_FAILED,
        ),
        ("refused", {"error_kind": "invalid"}, "refused", "change the row's values"),
        (
            "failed",
            {"error_kind": "moderation", "error_code": "7", "error_message": "no", **UNPAID},
            "7: no",
            "change the row's prompt",
        ),
    ],
)
def test_each_state_without_images_has_its_reason_and_its_next_step(
    book: Book, state: str, values: dict[str, Any], reason: str, next_step: str
) -> None:
    """What went wrong comes before what the state alone says."""
    bought(book, state=state, **values)
    book.add([purchase_row("other")])
    assert told(book) == (state, Explanation(reason, next_step))


def test_what_was_never_bought_and_what_is_complete(book: Book) -> None:
    """Nothing is left to explain of the latter."""
    assert told(book) == ("planned", Explanation("not bought yet", "`wan run` buys it"))
    bought(book, {}, {})
    assert told(book) == ("stored", Explanation())
    assert not str(told(book)[1])


def test_fewer_images_than_asked_for(book: Book) -> None:
    """A fact that nothing mends by itself."""
    book.add([purchase_row(n=3)], [image_row()])
    state, why = told(book)
    assert (state, why.next_step) == ("stored", "")
    assert why.reason == "its task brought fewer images than it asked for: 1 of 3"


def test_images_that_nobody_tried_for_are_fetched_by_the_next_run(book: Book) -> None:
    """The run was ended before it came to them."""
    bought(book, {"state": "expected"}, state="succeeded")
    assert told(book) == (
        "succeeded",
        Explanation("paid 0.03 USD and done at the provider", "the next run fetches its images"),
    )


def test_a_deadline_is_part_of_the_next_step_and_told_only_while_it_is_to_come(
    book: Book,
) -> None:
    """The reason stays true for ever; it names no time and gives no advice."""
    never = {"state": "expected", "problem": GONE, "path": None}
    bought(book, never, {"state": "stored"}, state="succeeded")
    reason = (
        "paid 0.03 USD; 1 of 2 images could not be fetched so far: the result's URL answers 404: it"
        " has expired"
    )
    until = f"{DIES:%Y-%m-%d %H:%M} UTC"
    step = f"each run and `wan reconcile` try again until {until}, then it is lost"
    assert told(book) == ("succeeded", Explanation(reason, step))
    late = "the next run or `wan reconcile` tries once more, then it is lost"
    assert told(book, now=DIES) == ("succeeded", Explanation(reason, late))


def test_a_lost_image_is_told_with_how_to_buy_it_again(book: Book) -> None:
    """In place of the advice that its URL could be renewed."""
    bought(book, {"state": "lost", "problem": GONE, "path": None})
    state, why = told(book)
    assert state == "lost"
    assert str(why) == (
        "paid 0.03 USD; its image can no longer be fetched: the result's URL answers 404: it has"
        f" expired; {RETRY_LOST}"
    )


def test_a_file_that_was_there_is_named_and_to_be_put_back(book: Book) -> None:
    """Which is free; only without it the request is bought again."""
    bought(book, {"state": "lost", "problem": GONE}, {"state": "lost", "problem": GONE})
    _, why = told(book)
    path = image_row()["path"]
    assert f"; {path} and 1 other file, stored before, are gone or damaged on our" in why.reason
    assert why.next_step == (
        f"put the file back where it was, which is free: the next run finds it; or {RETRY_LOST}"
    )


def test_lost_images_of_an_earlier_attempt_do_not_count(book: Book) -> None:
    """It was bought again, and came."""
    book.add(
        [purchase_row(), purchase_row(attempt=2)],
        [image_row(state="lost", problem=GONE), image_row(attempt=2)],
    )
    assert told(book) == ("stored", Explanation())


def test_words_of_a_host_are_bounded_and_cannot_steer(book: Book) -> None:
    """A reason may quote what a host sent."""
    hostile = "\x1b[31m" + "long words " * 1000
    bought(book, {"state": "damaged", "problem": hostile, "path": None}, state="succeeded")
    text = str(told(book)[1])
    assert text.isprintable()
    assert len(text) < 400
    assert "long words" in text
