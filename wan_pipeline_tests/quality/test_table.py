"""The quality tables: which flags, which pairs, and the same files for the same set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wan_pipeline.dataset.quality.flags import Flag
from wan_pipeline.dataset.quality.reading import flag_counts
from wan_pipeline.dataset.quality.table import PAIRS, QUALITY
from wan_pipeline.layout import DataLayout
from wan_pipeline_tests.quality.pictures import MadeSet, encoded, scene

if TYPE_CHECKING:
    from pathlib import Path

LABELLED = encoded(Image.new("RGB", (64, 64), "navy")) + b"trainedAlgorithmicMedia"


@pytest.fixture
def made(tmp_path: Path) -> MadeSet:
    """An empty set."""
    return MadeSet(DataLayout(tmp_path, "emulator"), "made")


def flags_of(made: MadeSet) -> dict[str, list[str]]:
    """Flags by prompt."""
    return {row["prompt_id"]: row["flags"] for row in made.told()}


def test_columns_are_the_documented_ones(made: MadeSet) -> None:
    """Other parts read them by name; each says what it holds."""
    made.add(scene(1))
    made.judge()
    told = pq.read_schema(made.layout.quality("made"))
    assert {field.name: str(field.type) for field in told} == {
        "request_id": "string",
        "image_index": "int32",
        "image_id": "string",
        "prompt_id": "string",
        "phash": "string",
        "contrast": "double",
        "near_duplicates": "int32",
        "near_duplicate_group": "string",
        "flags": "list<element: string>",
        "labels": "list<element: string>",
        "problem": "string",
    }
    for field in (*QUALITY, *PAIRS):
        assert field.metadata[b"description"]
    pairs = pq.read_schema(made.layout.quality_pairs("made"))
    assert pairs.names == ["image_a", "image_b", "distance", "same_prompt"]
    assert b"at most" in pairs.metadata[b"description"]


def test_each_flag_where_it_holds(made: MadeSet) -> None:
    """And none where nothing is to be noticed."""
    made.add(scene(1), prompt_id="good")
    made.add(Image.new("RGB", (64, 64), "teal"), prompt_id="blank")
    made.add(scene(2), prompt_id="wide", size="1280*1280")
    gone = made.add(scene(3), prompt_id="gone")
    (made.layout.root / "images" / gone[:2] / f"{gone}.png").unlink()
    summary = made.judge()
    assert flags_of(made) == {
        "good": [],
        "blank": ["blank"],
        "wide": ["wrong_size"],
        "gone": ["undecodable"],
    }
    row = next(row for row in made.told() if row["prompt_id"] == "gone")
    assert (row["phash"], row["contrast"], row["near_duplicates"]) == (None, None, 0)
    assert "No such file" in row["problem"]
    assert summary.flagged == {
        Flag.NEAR_DUPLICATE: 0,
        Flag.BLANK: 1,
        Flag.UNDECODABLE: 1,
        Flag.WRONG_SIZE: 1,
        Flag.NO_WATERMARK_INFORMATION: 0,
    }
    assert flag_counts(made.layout.quality("made")) == {
        "blank": 1,
        "wrong_size": 1,
        "undecodable": 1,
    }


def test_near_duplicates_inside_and_across_prompts(made: MadeSet) -> None:
    """Counted by image, grouped by the smallest id, told whether one prompt has both."""
    one = made.add(scene(1), prompt_id="a")
    half = made.add(scene(1).resize((80, 60)), prompt_id="a")
    other = made.add(scene(1).resize((320, 240)), prompt_id="b")
    made.add(scene(7), prompt_id="c")
    summary = made.judge()
    assert (summary.pairs, summary.pairs_listed, summary.groups, summary.pairs_across) == (
        3,
        3,
        1,
        2,
    )
    for row in made.told():
        near = row["prompt_id"] != "c"
        assert row["near_duplicates"] == (2 if near else 0)
        assert row["near_duplicate_group"] == (min(one, half, other) if near else None)
    pairs = {(pair["image_a"], pair["image_b"]): pair["same_prompt"] for pair in made.pairs()}
    assert all(first < second for first, second in pairs)
    assert pairs[min(one, half), max(one, half)]
    assert not pairs[min(one, other), max(one, other)]


def test_one_image_in_two_rows_is_no_near_duplicate_of_itself(made: MadeSet) -> None:
    """Prompts that share a purchase have the same image, and that is meant so."""
    made.add(scene(1), prompt_id="twin-1")
    made.add(scene(1), prompt_id="twin-2")
    assert made.judge().pairs == 0
    assert flags_of(made) == {"twin-1": [], "twin-2": []}


@pytest.mark.parametrize(
    ("image", "asked", "said", "flagged"),
    [
        (Image.new("RGB", (64, 64), "navy"), True, None, True),
        (Image.new("RGB", (64, 64), "navy"), False, None, False),
        (Image.new("RGB", (64, 64), "navy"), True, '{"in_queue_at":1.5}', True),
        (Image.new("RGB", (64, 64), "navy"), True, '{"Watermarked":true}', False),
        (LABELLED, True, None, False),
        (Image.effect_noise((64, 64), 60), True, None, False),
    ],
    ids=["plain", "not-asked", "unrelated-word", "provider-says", "label", "something-there"],
)
def test_a_watermark_that_was_asked_for_and_shows_no_sign(
    made: MadeSet, image: Image.Image | bytes, asked: bool, said: str | None, flagged: bool
) -> None:
    """Only its absence is certain: a plain corner has no text in it."""
    made.add(image, watermark=asked, provider_metadata=said)
    made.judge(blank_contrast=3.0)
    (row,) = made.told()
    assert ("no_watermark_information" in row["flags"]) is flagged
    assert row["labels"] == (["iptc"] if isinstance(image, bytes) else [])


def test_thresholds_decide(made: MadeSet) -> None:
    """What is blank or near is a setting."""
    made.add(Image.effect_noise((64, 64), 8))
    made.add(scene(1))
    made.add(scene(1).resize((60, 45)).rotate(2))
    made.judge(blank_contrast=0.0, near_duplicate_distance=0)
    assert flag_counts(made.layout.quality("made")) == {}
    made.judge(blank_contrast=20.0, near_duplicate_distance=16)
    assert flag_counts(made.layout.quality("made")) == {"blank": 1, "near_duplicate": 2}


def test_the_same_set_is_the_same_two_files(made: MadeSet) -> None:
    """Whatever is known already, and whatever cannot be decoded."""
    for number in range(4):
        made.add(scene(number % 3).resize((100 + number, 80)))
    bad = made.add(scene(9))
    (made.layout.root / "images" / bad[:2] / f"{bad}.png").write_bytes(b"<html>")
    files = [made.layout.quality("made"), made.layout.quality_pairs("made")]
    made.judge()
    before = [path.read_bytes() for path in files]
    made.judge()
    assert [path.read_bytes() for path in files] == before


def test_a_set_without_images_has_empty_tables(made: MadeSet) -> None:
    """Nothing bought yet is no error."""
    summary = made.judge()
    assert (summary.rows, summary.images, summary.pairs) == (0, 0, 0)
    assert pq.read_table(made.layout.quality("made")).schema.equals(QUALITY)


def test_other_sets_are_compared_and_told_apart(made: MadeSet) -> None:
    """An image that both sets have is one image; the set's own tables do not change."""
    other = MadeSet(made.layout, "other")
    here = made.add(scene(1))
    made.add(scene(2))
    there = other.add(scene(1).resize((80, 60)))
    other.add(scene(2))
    made.judge()
    other.judge()
    before = made.layout.quality("made").read_bytes()
    found = made.compare(other)
    assert (found.pairs, found.pairs_listed, found.sets, found.unreadable) == (1, 1, 1, ())
    (pair,) = pq.read_table(made.layout.quality_elsewhere("made")).to_pylist()
    assert (pair["image_here"], pair["image_there"], pair["prompt_set"]) == (here, there, "other")
    assert made.layout.quality("made").read_bytes() == before


def test_alike_to_the_bit_and_many_of_them(made: MadeSet) -> None:
    """Blank images of both sets: the list stays short, the count does not."""
    other = MadeSet(made.layout, "other")
    for edge in range(40, 80):
        made.add(Image.new("RGB", (edge, 40), "white"))
        other.add(Image.new("RGB", (edge, 39), "white"))
    made.judge()
    other.judge()
    found = made.compare(other)
    assert (found.pairs, found.pairs_listed) == (40 * 40, 32 * 32)


def test_a_damaged_table_of_another_set_stops_nothing(made: MadeSet) -> None:
    """It is named; building that set anew mends it."""
    other = MadeSet(made.layout, "other")
    made.add(scene(1))
    other.add(scene(1).resize((80, 60)))
    made.judge()
    other.judge()
    other.layout.quality("other").write_bytes(b"PAR1 no more")
    found = made.compare(other)
    assert (found.pairs, found.sets, found.unreadable) == (0, 0, ("other",))
    with pytest.raises((pa.ArrowException, OSError)):
        other.compare(made)
