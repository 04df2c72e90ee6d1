"""What does not fit together is no release: it is refused, named, and nothing is made."""

from __future__ import annotations

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
from wan_pipeline_tests.dataset.release.conftest import KITES
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
