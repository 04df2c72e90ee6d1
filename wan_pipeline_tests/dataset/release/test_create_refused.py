"""What does not fit together is no release: it is refused, named, and nothing is made."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from wan_pipeline.dataset.release.errors import (
    IncompleteSetError,
    ReleaseUsageError,
    StaleTableError,
)
from wan_pipeline.dataset.release.facts import MissingRequest
from wan_pipeline.dataset.release.reference import versions_of
from wan_pipeline.ledger import schema
from wan_pipeline.prompts.errors import PromptError
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.dataset.release.toys import KITES
from wan_pipeline_tests.dataset.release.workshop import Workshop

if TYPE_CHECKING:
    from pathlib import Path

MISSING = MissingRequest(request_id="ab" * 32, prompt_id="kite", state="failed", reason="moderated")


def test_an_incomplete_set_is_released_only_knowingly(workshop: Workshop) -> None:
    """And then the manifest says what is missing."""
    sources = [workshop.source("kites", missing=[MISSING])]
    with pytest.raises(IncompleteSetError, match=r"prompt kite: failed .moderated.*--incomplete"):
        workshop.release("toys", sources=sources)
    assert versions_of(workshop.layout.releases, "toys") == []
    manifest = workshop.release("toys", sources=sources, incomplete=True).manifest
    assert manifest.prompt_sets[0].missing == (MISSING,)
    assert not manifest.complete


def lacking(state: str, *, of: int = 1) -> list[MissingRequest]:
    """Requests in one state."""
    return [
        MissingRequest(
            request_id=hashlib.sha256(f"{state} {at}".encode()).hexdigest(),
            prompt_id=f"{state}-{at}",
            state=state,
            reason="so it is",
        )
        for at in range(of)
    ]


def test_each_missing_request_is_told_its_own_next_step(workshop: Workshop) -> None:
    """Grouped, the most frequent first, over all sets; `wan run` alone helps none of these."""
    failed, rejected, unknown = lacking("failed", of=6), lacking("refused"), lacking("unknown")
    again, change = "`wan run --retry failed` buys the request again", "change the row's prompt"
    steps = {**{each.request_id: again for each in failed}, rejected[0].request_id: change}
    sources = [
        workshop.source("kites", missing=[*rejected, *failed[:2]], next_steps=steps),
        workshop.source("trams", missing=[*unknown, *failed[2:]], next_steps=steps),
    ]
    with pytest.raises(IncompleteSetError) as refused:
        workshop.release("toys", sources=sources)
    assert (
        f"; and 3 more. What to do: for 6, {again}; for 1, {change}; for 1, `wan reconcile`, then"
        " decide with `wan ledger adopt`, `release` or `write-off`. Or `--incomplete` releases"
        in str(refused.value)
    )
    assert "goes on with them" not in str(refused.value)


def test_of_a_single_way_no_count_is_told(workshop: Workshop) -> None:
    """It is for all of them."""
    (one,) = lacking("planned")
    step = {one.request_id: "`wan run` buys it"}
    with pytest.raises(IncompleteSetError) as refused:
        workshop.release("toys", sources=[workshop.source("kites", missing=[one], next_steps=step)])
    assert str(refused.value) == (
        "1 request is not complete: kites, prompt planned-0: planned (so it is). What to do:"
        " `wan run` buys it. Or `--incomplete` releases without them, and the manifest names each."
        " Nothing was made"
    )


def test_of_many_ways_only_some_are_told(workshop: Workshop) -> None:
    """Each image that still may arrive has a deadline of its own."""
    some = lacking("succeeded", of=8)
    steps = {each.request_id: f"try until {at}" for at, each in enumerate(some)}
    with pytest.raises(
        IncompleteSetError, match=r"for 1, try until 4; for 3 more, see .wan trace PROMPT."
    ):
        workshop.release("toys", sources=[workshop.source("kites", missing=some, next_steps=steps)])


def test_a_changed_prompt_file_is_refused(workshop: Workshop) -> None:
    """Its hash would stand beside images of other rows."""
    file = workshop.layout.prompts_dir / "kites.csv"
    file.write_text(KITES.replace("A red kite", "A green kite"))
    with pytest.raises(StaleTableError, match=r"kites.csv .*changed after it was planned.*wan run"):
        workshop.release("toys", "kites")
    file.write_text(KITES)
    os.utime(file)
    assert workshop.release("toys", "kites").new


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            sa.update(schema.images).values(state="lost").where(schema.images.c.image_index == 1),
            r"image 0, .* cost_usd is 0\.03.*, but plan and ledger say 0\.06",
        ),
        (sa.update(schema.images).values(image_id="ab" * 32), "image_id is .*, but .* 'abababab"),
    ],
)
def test_a_metadata_table_that_the_ledger_contradicts_is_refused(
    workshop: Workshop, statement: sa.Executable, what: str
) -> None:
    """It is older than what happened since."""
    workshop.change(statement)
    with pytest.raises(StaleTableError, match=what):
        workshop.release("toys", "kites")


def test_a_metadata_table_that_lacks_rows_is_refused(workshop: Workshop) -> None:
    """Images would silently be left out."""
    path = workshop.layout.metadata("kites")
    pq.write_table(pq.read_table(path).slice(0, 2), path)
    with pytest.raises(StaleTableError, match=r"lacks 4 rows .*publish"):
        workshop.release("toys", "kites")
    path.write_bytes(b"PAR1")
    with pytest.raises(StaleTableError, match="cannot be read"):
        workshop.release("toys", "kites")
    path.unlink()
    with pytest.raises(StaleTableError, match="cannot be read"):
        workshop.release("toys", "kites")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_image_is_never_released(workshop: Workshop, damage: str) -> None:
    """It is named, and nothing is left behind."""
    row = pq.read_table(workshop.layout.metadata("kites")).to_pylist()[0]
    path = workshop.layout.root / row["path"]
    data = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            path.write_bytes(data[:-1])
        case _:
            path.unlink()
    with pytest.raises(StaleTableError, match=row["path"]):
        workshop.release("toys", "kites")
    assert list((workshop.layout.releases / "toys").glob(f"{TEMP_PREFIX}*")) == []


@pytest.mark.parametrize(
    "name", ["", "Toys", "../toys", "a/b", ".toys", "t" * 65, "toys@v1", "a\n"]
)
def test_a_bad_name_is_refused(workshop: Workshop, name: str) -> None:
    """Before anything is looked at."""
    with pytest.raises(ReleaseUsageError):
        workshop.release(name, "kites")
    assert not workshop.layout.releases.exists()


def test_a_set_without_images_is_refused(tmp_path: Path) -> None:
    """An empty release is nobody's wish."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES, leave=lambda _: True)
        with pytest.raises(ReleaseUsageError, match="no image"):
            workshop.release("toys", "kites")
        with pytest.raises(ReleaseUsageError, match="at least one"):
            workshop.release("toys")
        with pytest.raises((PromptError, OSError)):
            workshop.release("toys", "nothing")


def test_sets_that_were_built_without_an_image_are_told_why(tmp_path: Path) -> None:
    """`wan run` did its work already: what is left to do depends on what became of it."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES, leave=lambda _: True)
        rejected = lacking("refused", of=2)
        steps = {each.request_id: "change the row's prompt" for each in rejected}
        source = workshop.source("kites", missing=rejected, next_steps=steps)
        with pytest.raises(ReleaseUsageError) as refused:
            workshop.release("toys", sources=[source], incomplete=True)
        assert str(refused.value) == (
            "there is no image of kites to release: 2 requests are not complete. What to do: change"
            " the row's prompt. Nothing was made"
        )
        with pytest.raises(ReleaseUsageError) as refused:
            workshop.release("toys", "kites", incomplete=True)
        assert str(refused.value) == (
            "there is no image of kites to release: their tasks ended and brought none. Change the"
            " rows, so that they are bought as new ones, or name other sets. Nothing was made"
        )
