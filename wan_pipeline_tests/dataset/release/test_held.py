"""No cell of a table is released that plan, ledger and pixels do not give."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.quality.table import QUALITY
from wan_pipeline.dataset.release.errors import StaleTableError
from wan_pipeline.dataset.release.reference import versions_of
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.dataset.release.workshop import NOON, tiny_png

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.dataset.release.workshop import Workshop

RELEASED_OF_QUALITY = ("request_id", "image_index", "image_id", "prompt_id", "flags")


def other(value: Any, kind: Any) -> Any:
    """Another value of a column's type."""
    if pa.types.is_string(kind):
        return f"{value or ''}x"
    if pa.types.is_boolean(kind):
        return not value
    if pa.types.is_decimal(kind):
        return value + Decimal("0.000000001")
    if pa.types.is_timestamp(kind):
        return NOON if value is None else value + timedelta(microseconds=1)
    if pa.types.is_list(kind):
        return ["blank", "blank"]
    return (value or 0) + 7


def change(path: Path, column: str, value: Any, *, row: int) -> Any:
    """Write one cell; the value that was there."""
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    cells = table.column(column).to_pylist()
    cells[row], was = value, cells[row]
    kind = table.schema.field(at)
    pq.write_table(table.set_column(at, kind, pa.array(cells, kind.type)), path)
    return was


def refused(workshop: Workshop) -> str:
    """Why the sets are not released; nothing is left behind."""
    with pytest.raises(StaleTableError) as error:
        workshop.release("toys", "trams", "kites")
    assert versions_of(workshop.layout.releases, "toys") == []
    assert list((workshop.layout.releases / "toys").glob(f"{TEMP_PREFIX}*")) == []
    return str(error.value)


def cell(path: Path, column: str, row: int) -> Any:
    """What is there."""
    return pq.read_table(path).column(column)[row].as_py()


@pytest.mark.parametrize("row", [0, 5])
@pytest.mark.parametrize("column", METADATA.names)
def test_a_changed_cell_of_the_metadata_is_refused(
    workshop: Workshop, column: str, row: int
) -> None:
    """Of any column; file, row, column and both values are named, and what to do."""
    path = workshop.layout.metadata("kites")
    was = cell(path, column, row)
    value = other(was, METADATA.field(column).type)
    request_id = cell(path, "request_id", row)
    change(path, column, value, row=row)
    says = refused(workshop)
    shown = f"{value}"[:40]
    assert f"{column} is " in says
    for words in (str(path), shown, request_id, "wan run kites", "Nothing was made"):
        assert words in says
    if was is not None:
        assert f"{was}"[:40] in says.partition(f"{column} is ")[2]


def test_a_cell_that_is_put_back_is_released(workshop: Workshop) -> None:
    """A refusal leaves nothing behind that stands in the way."""
    path = workshop.layout.metadata("kites")
    was = change(path, "seed", 4, row=5)
    refused(workshop)
    change(path, "seed", was, row=5)
    assert workshop.release("toys", "trams", "kites").new


@pytest.mark.parametrize("column", [each.name for each in METADATA if each.nullable])
def test_a_cell_that_was_emptied_or_filled_is_refused(workshop: Workshop, column: str) -> None:
    """Null is a value too, and is not the empty text."""
    path = workshop.layout.metadata("kites")
    was = cell(path, column, 1)
    kind = METADATA.field(column).type
    empty = "" if pa.types.is_string(kind) else other(None, kind)
    change(path, column, empty if was is None else None, row=1)
    assert f"{column} is " in refused(workshop)


def test_a_hash_is_held_against_pixels_that_nobody_has_measured(workshop: Workshop) -> None:
    """The cache may be removed at any time: the images are decoded again, and say the same."""
    for part in workshop.layout.measurements.rglob("*.parquet"):
        part.unlink()
    path = workshop.layout.metadata("kites")
    change(path, "phash", "0123456789abcdef", row=2)
    assert "phash is '0123456789abcdef', but its pixels give '" in refused(workshop)
    workshop.publish("kites")
    assert workshop.release("toys", "trams", "kites").new


def test_a_damaged_image_that_is_not_known_is_named(workshop: Workshop) -> None:
    """Not its hash is wrong, the file is."""
    for part in workshop.layout.measurements.rglob("*.parquet"):
        part.unlink()
    path = cell(workshop.layout.metadata("kites"), "path", 0)
    workshop.layout.root.joinpath(path).write_bytes(tiny_png("another"))
    assert f"phash is '{cell(workshop.layout.metadata('kites'), 'phash', 0)}', but {path} " in (
        refused(workshop)
    )


def test_a_row_that_is_there_twice_is_refused(workshop: Workshop) -> None:
    """In place of another one too."""
    path = workshop.layout.metadata("kites")
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(3, 1)]), path)
    assert "the row is there twice" in refused(workshop)


def test_a_metadata_table_with_rows_of_another_set_is_refused(workshop: Workshop) -> None:
    """What the plan does not have is a row too many."""
    path = workshop.layout.metadata("kites")
    more = pq.read_table(workshop.layout.metadata("trams"))
    pq.write_table(pa.concat_tables([pq.read_table(path), more]), path)
    assert "has a row too many: request " in refused(workshop)


def test_a_changed_cell_of_the_request_table_is_refused(workshop: Workshop) -> None:
    """A metadata table made of it would agree with it."""
    path = workshop.layout.tables("kites") / REQUESTS_FILE
    change(path, "prompt", "A green kite", row=0)
    workshop.publish("kites")
    says = refused(workshop)
    assert f"{path}, prompt 'kite': request_id is " in says
    assert "wan run kites" in says


@pytest.mark.parametrize("row", [0, 5])
@pytest.mark.parametrize("column", RELEASED_OF_QUALITY)
def test_a_changed_cell_of_the_quality_table_is_refused(
    workshop: Workshop, column: str, row: int
) -> None:
    """Flags are words about pixels; whoever trains goes by them."""
    workshop.judge("kites")
    path = workshop.layout.quality("kites")
    value = other(cell(path, column, row), QUALITY.field(column).type)
    was = change(path, column, value, row=row)
    says = refused(workshop)
    assert f"{column} is " in says
    for words in (str(path), f"{value}"[:40], f"{was}"[:40], "wan run kites", "publish"):
        assert words in says
    change(path, column, was, row=row)
    assert workshop.release("toys", "trams", "kites").manifest.counts.flagged == 6


@pytest.mark.parametrize(
    ("written", "in_force"), [(4.0, 0.0), (0.0, 4.0)], ids=["lowered", "raised"]
)
def test_flags_of_other_thresholds_are_refused(
    workshop: Workshop, written: float, in_force: float
) -> None:
    """The ones in force are told; the table is written anew without a purchase."""
    workshop.judge("kites", blank_contrast=written)
    thresholds = Thresholds(blank_contrast=in_force)
    with pytest.raises(StaleTableError, match=f"_BLANK_CONTRAST={in_force:g}.*wan run kites"):
        workshop.release("toys", "kites", thresholds=thresholds)
    workshop.judge("kites", blank_contrast=in_force)
    assert workshop.release("toys", "kites", thresholds=thresholds).new


@pytest.mark.parametrize(
    ("rows", "says"), [(4, "only 4 rows"), (0, "only 0 rows"), (7, "has 7 rows instead of 6")]
)
def test_a_quality_table_of_other_images_is_refused(
    workshop: Workshop, rows: int, says: str
) -> None:
    """Near duplicates are told of the whole set."""
    workshop.judge("kites")
    path = workshop.layout.quality("kites")
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]).slice(0, rows), path)
    assert says in refused(workshop)


def test_a_quality_table_that_is_none_is_refused(workshop: Workshop) -> None:
    """Damaged, or written by a version with other columns."""
    workshop.judge("kites")
    path = workshop.layout.quality("kites")
    pq.write_table(pq.read_table(path).drop_columns(["labels"]), path)
    assert f"{path} has the columns of another version" in refused(workshop)
    path.write_bytes(b"PAR1")
    assert f"{path} cannot be read" in refused(workshop)
    path.unlink()
    assert workshop.release("toys", "trams", "kites").new
