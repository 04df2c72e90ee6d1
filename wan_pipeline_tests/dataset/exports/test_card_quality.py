"""The card tells flags that were found apart from images that nobody looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.terms import ExportFormat, ExportTerms
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline_tests.dataset.release.toys import toys
from wan_pipeline_tests.release_fixture import make_release, picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.dataset.release.reader import Release
    from wan_pipeline_tests.dataset.release.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """Two sets, none of them checked: six images and two."""
    with toys(tmp_path / "data") as made:
        yield made


def quality_line(release: Release, out: Path) -> str:
    """What the card of an export says about quality flags."""
    summary = export_release(release, ExportTerms(format=ExportFormat.PARQUET), out)
    card = (summary.folder / "README.md").read_text("utf-8")
    (line,) = (line for line in card.splitlines() if line.startswith("- Quality flags: "))
    return line.removeprefix("- Quality flags: ")


def released(workshop: Workshop, *sets: str) -> Release:
    """A release of these sets."""
    reference = workshop.release("toys", *sets).manifest.reference
    return open_release(workshop.layout.releases, reference)


def test_flags_that_nobody_looked_for_are_not_known(workshop: Workshop, tmp_path: Path) -> None:
    """No flags would mean that somebody looked."""
    assert quality_line(released(workshop, "kites", "trams"), tmp_path / "out") == (
        "not known. 8 of 8 images were released without a quality check (prompt sets `kites`,"
        " `trams`); their `quality_flags` are empty for that reason alone."
    )


def test_of_a_mixed_release_both_are_told(workshop: Workshop, tmp_path: Path) -> None:
    """What was found, and how many images it does not speak of."""
    workshop.judge("trams")
    line = quality_line(released(workshop, "kites", "trams"), tmp_path / "out")
    assert line.startswith("`blank` (2), ")
    assert line.endswith(
        " the column `quality_flags` says which they are. 6 of 8 images were released without a"
        " quality check (prompt set `kites`); their `quality_flags` are empty for that reason"
        " alone."
    )


def test_where_all_was_checked_nothing_is_said_of_it(tmp_path: Path) -> None:
    """With flags or without."""
    few = make_release(tmp_path / "few", [(picture(at, "png"), "png") for at in range(2)])
    assert quality_line(few, tmp_path / "out") == "none."
    more = make_release(tmp_path / "more", [(picture(at, "png"), "png") for at in range(3)])
    line = quality_line(more, tmp_path / "elsewhere")
    assert line.startswith("`near_duplicate` (1). Flagged images are part")
    assert "without a quality check" not in line
