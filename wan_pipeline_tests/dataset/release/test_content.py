"""The content hash: a fixed form, blind to the order of rows and to the machine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.dataset.release.content import CONTENT_COLUMNS, ContentHash
from wan_pipeline.dataset.release.tables import RELEASE_IMAGES
from wan_pipeline_tests.dataset.release.toys import KITES, TRAMS
from wan_pipeline_tests.dataset.release.workshop import Workshop
from wan_pipeline_tests.ledger.entries import MORNING

if TYPE_CHECKING:
    from pathlib import Path

ROW: dict[str, Any] = {
    "image_id": "ab" * 32,
    "request_id": "cd" * 32,
    "image_index": 0,
    "model": "wan25_t2i_preview_intl",
    "prompt": "清晨 “tea” \\ \u2028",
    "negative_prompt": "",
    "size": "1280*1280",
    "width": 1280,
    "height": 1280,
    "n": 1,
    "seed": 2147483647,
    "prompt_extend": True,
    "watermark": False,
    "actual_prompt": None,
    "prompt_set": "kites",
    "prompt_id": "kite",
    "seed_source": "given",
    "replica": 0,
    "prompt_columns": '{"sku":"0071"}',
    "split": "train",
}
OUTSIDE = {
    "profile",
    "dialect",
    "task_id",
    "job_id",
    "submitted_at",
    "completed_at",
    "latency_s",
    "url",
    "url_expires_at",
    "path",
    "format",
    "bytes",
    "phash",
    "cost_usd",
    "discount",
    "cost_source",
    "bought_by_set",
    "run_id",
    "code_version",
    "created_at",
    "provider_metadata",
    "quality_flags",
}


def content_of(rows: list[dict[str, Any]]) -> str:
    """The hash of some rows."""
    content = ContentHash()
    content.add(rows)
    return content.hexdigest()


def test_golden() -> None:
    """The canonical form is an interface: releases of different versions are compared by it."""
    assert content_of([]) == GOLDEN_EMPTY
    assert content_of([ROW]) == GOLDEN_ROW
    assert content_of([ROW, {**ROW, "image_index": 1}]) == GOLDEN_TWO


GOLDEN_EMPTY = "82dac6eb78824631fb55496e87ad90684be8aa17544d43c22701de5357c174b3"
GOLDEN_ROW = "bbbcef193136c6da9781ef7b531d026a59c5fa29c3fc467986fad702d415243a"
GOLDEN_TWO = "20e96f8572f4089451253ce4f8855aafece88254b80676c7f6239888fbee615d"


def test_every_column_is_inside_or_outside() -> None:
    """A new column is a decision."""
    assert set(CONTENT_COLUMNS) | OUTSIDE == set(RELEASE_IMAGES.names)
    assert not set(CONTENT_COLUMNS) & OUTSIDE


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "image_index": st.integers(0, 3),
                "prompt": st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8),
                "actual_prompt": st.none() | st.just("x"),
            }
        ),
        max_size=6,
    ),
    data=st.data(),
)
def test_order_and_batches_do_not_matter_but_repetition_does(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    """A hash of the rows as a heap."""
    full = [{**ROW, **row} for row in rows]
    shuffled = data.draw(st.permutations(full))
    cut = data.draw(st.integers(0, len(full)))
    content = ContentHash()
    content.add(shuffled[:cut])
    content.add(iter(shuffled[cut:]))
    assert content.hexdigest() == content_of(full)
    assert content_of([*full, ROW]) != content_of(full)


@given(column=st.sampled_from(CONTENT_COLUMNS))
def test_every_column_inside_counts(column: str) -> None:
    """Another value, another hash."""
    other = 7 if isinstance(ROW[column], int) else "other"
    assert content_of([{**ROW, column: other}]) != content_of([ROW])


def test_another_machine_day_and_account_give_the_same_hash(tmp_path: Path) -> None:
    """The same images for the same prompts, in another order of rows and sets."""
    lines = KITES.splitlines(keepends=True)
    with (
        Workshop(tmp_path / "one") as one,
        Workshop(tmp_path / "other", day=MORNING + timedelta(days=40), tasks="job") as other,
    ):
        one.build("kites", KITES)
        one.build("trams", TRAMS)
        other.build("trams", TRAMS)
        other.build("kites", "".join([lines[0], *reversed(lines[1:])]))
        first = one.release("toys", "kites", "trams").manifest
        second = other.release("other-name", "trams", "kites").manifest
    assert first.hashes.content == second.hashes.content
    assert first.hashes.manifest != second.hashes.manifest
    assert [each.rows_version for each in first.prompt_sets] == [
        each.rows_version for each in second.prompt_sets
    ]
