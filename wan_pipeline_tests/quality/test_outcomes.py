"""What became of each request, in the order in which a person reads it, also without an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.quality.flags import RequestFlag
from wan_pipeline.dataset.quality.outcomes import (
    OUTCOMES,
    RequestOutcome,
    RequestOutcomes,
    outcomes_of,
    read_outcomes,
    write_outcomes,
)
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, write_request_table
from wan_pipeline.prompts.table import PROMPTS_FILE, build_prompt_table
from wan_pipeline_tests.ledger.entries import Book, image_row, purchase_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODERATED, NEVER, FEWER = RequestFlag
FORBIDDEN = {
    "state": "failed",
    "error_kind": "moderation",
    "error_code": "110001",
    "error_message": "input may contain sensitive information",
}


class Bench:
    """A prompt file's requests, and a ledger written by hand.

    Args:
        folder: for both.
        csv: the prompt file; `replicas` and `n` as in any.
    """

    def __init__(self, folder: Path, book: Book, csv: str) -> None:
        self.book, self.requests = book, folder / REQUESTS_FILE
        source = folder / "set.csv"
        source.write_text(csv)
        build_prompt_table(source, out_dir=folder, set_name="set")
        write_request_table(
            folder / PROMPTS_FILE, out=self.requests, model="wan25_t2i_preview_intl", base_seed=0
        )

    def ids(self, prompt_id: str) -> list[str]:
        """Request ids of a prompt, in order."""
        rows = pq.read_table(self.requests).to_pylist()
        return sorted(row["request_id"] for row in rows if row["prompt_id"] == prompt_id)

    def bought(self, request_id: str, *images: str, attempt: int = 1, **values: Any) -> None:
        """Write a purchase, and its images by their states."""
        self.book.add(
            [purchase_row(request_id, attempt=attempt, **values)],
            [
                image_row(request_id, index, attempt=attempt, state=state)
                for index, state in enumerate(images)
            ],
        )

    def told(self) -> list[RequestOutcome]:
        """What is told of all requests."""
        return list(outcomes_of(self.requests, self.book.reader).rows)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """Makes one of a prompt file."""
    with Book(tmp_path / "ledger.sqlite") as book:
        yield lambda csv: Bench(tmp_path, book, csv)


@pytest.mark.parametrize(
    ("images", "values", "told"),
    [
        ((), None, ("planned", 0, "not bought yet", [NEVER])),
        (("stored", "stored"), {}, ("stored", 2, "", [])),
        (("stored",), {}, ("stored", 1, "fewer images than it asked for: 1 of 2", [FEWER])),
        (("stored", "lost"), {}, ("lost", 1, "can no longer be fetched", [FEWER])),
        (("lost", "lost"), {}, ("lost", 0, "can no longer be fetched", [NEVER, FEWER])),
        (
            ("stored", "expected"),
            {"state": "succeeded"},
            ("succeeded", 1, "paid 0.03 USD and done at the provider", []),
        ),
        ((), {"state": "unknown"}, ("unknown", 0, "unknown", [NEVER])),
        ((), FORBIDDEN, ("failed", 0, "110001: input may contain", [MODERATED, NEVER])),
    ],
)
def test_each_state_is_told_with_its_flags(
    bench: Callable[[str], Bench],
    images: tuple[str, ...],
    values: dict[str, Any] | None,
    told: tuple[str, int, str, list[RequestFlag]],
) -> None:
    """A request of two images, by what the ledger says of it."""
    made = bench("prompt_id,prompt,n\na,a kite,2\n")
    if values is not None:
        made.bought(made.ids("a")[0], *images, n=2, **values)
    (row,) = made.told()
    state, stored, reason, flags = told
    assert (row.state, row.images_stored, list(row.flags)) == (state, stored, flags)
    assert reason in row.reason
    assert (row.n, row.attempt) == (2, None if values is None else 1)
    assert row.waiting == (state in {"planned", "succeeded"})


def test_one_image_of_any_replica_is_enough_for_a_prompt(bench: Callable[[str], Bench]) -> None:
    """The other request bears only what is wrong with itself."""
    made = bench("prompt_id,prompt,replicas\na,a kite,2\n")
    first, second = made.ids("a")
    made.bought(first, "stored")
    made.bought(second, **FORBIDDEN)
    assert [list(row.flags) for row in made.told()] == [[], [MODERATED]]


def test_what_an_older_attempt_brought_still_counts(bench: Callable[[str], Bench]) -> None:
    """The newest purchase failed; one of two images is there all the same."""
    made = bench("prompt_id,prompt,n\na,a kite,2\n")
    made.bought(made.ids("a")[0], "stored", n=2)
    made.bought(made.ids("a")[0], n=2, attempt=2, **FORBIDDEN)
    (row,) = made.told()
    assert (row.attempt, row.state, row.images_stored) == (2, "failed", 1)
    assert list(row.flags) == [MODERATED, FEWER]


def test_prompts_that_share_a_request_have_a_row_each(bench: Callable[[str], Bench]) -> None:
    """Counted once where requests are counted, and sorted by prompt."""
    made = bench("prompt_id,prompt,seed\nb,a kite,7\na,a kite,7\n")
    made.bought(made.ids("a")[0], **FORBIDDEN)
    outcomes = outcomes_of(made.requests, made.book.reader)
    assert [row.prompt_id for row in outcomes.rows] == ["a", "b"]
    assert (outcomes.prompts, outcomes.requests) == (2, 1)
    assert (outcomes.count(MODERATED), outcomes.count(NEVER), outcomes.given_up) == (1, 2, 2)


def test_a_prompt_is_given_up_only_when_nothing_waits(bench: Callable[[str], Bench]) -> None:
    """Its other replica may still bring an image."""
    made = bench("prompt_id,prompt,replicas\na,a kite,2\n")
    made.bought(made.ids("a")[0], **FORBIDDEN)
    outcomes = outcomes_of(made.requests, made.book.reader)
    assert (outcomes.count(NEVER), outcomes.given_up) == (1, 0)


def test_the_table_is_the_same_file_for_the_same_outcomes(
    bench: Callable[[str], Bench], tmp_path: Path
) -> None:
    """And gives back what was written, under the schema that is written down once."""
    made = bench("prompt_id,prompt,n\na,a kite,2\nb,a boat,1\n")
    made.bought(made.ids("a")[0], "stored", n=2)
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    outcomes = outcomes_of(made.requests, made.book.reader)
    write_outcomes(outcomes, one)
    write_outcomes(outcomes_of(made.requests, made.book.reader), other)
    assert one.read_bytes() == other.read_bytes()
    assert pq.read_schema(one).equals(OUTCOMES, check_metadata=True)
    assert read_outcomes(one) == outcomes


def test_a_missing_table_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A check may be run before the asset."""
    with pytest.raises(UnreadablePromptFileError, match=r"set\.parquet.*Materialize.*quality"):
        read_outcomes(tmp_path / "set.parquet")


def test_a_set_without_requests_has_an_empty_table(tmp_path: Path) -> None:
    """With its columns."""
    write_outcomes(RequestOutcomes(rows=[]), tmp_path / "none.parquet")
    assert read_outcomes(tmp_path / "none.parquet").rows == []
    assert pq.read_schema(tmp_path / "none.parquet").names == OUTCOMES.names
