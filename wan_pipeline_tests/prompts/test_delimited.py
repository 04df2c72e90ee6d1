"""CSV and TSV as they come: encodings, quotes, ragged rows, damage."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts.columns import Columns
from wan_pipeline.prompts.errors import (
    AmbiguousColumnsError,
    BrokenQuotingError,
    EmptyPromptFileError,
    MissingPromptColumnError,
    NoUsableRowsError,
    PromptFileError,
    UnreadablePromptFileError,
)
from wan_pipeline.prompts.read import open_rows
from wan_pipeline_tests.prompts.helpers import build, build_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, line_end: str) -> None:
    """UTF-8 with or without BOM, UTF-16 and UTF-32 with one, and three kinds of line end."""
    text = line_end.join(["prompt,note", "一只猫,ü", "a dog,x", ""])
    built = build_text(tmp_path, text.encode(encoding))
    assert built.texts == ["一只猫", "a dog"]
    assert built.prompts[0]["prompt_columns"] == '{"note":"ü"}'


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_bom(tmp_path: Path, encoding: str) -> None:
    """It cannot be told from NUL bytes; the file is refused with what to do."""
    with pytest.raises(PromptFileError, match="UTF-8"):
        build_text(tmp_path, "prompt\na dog\n".encode(encoding))


def test_undecodable_rows(tmp_path: Path) -> None:
    """Bytes in another encoding cost their row and no other."""
    built = build_text(
        tmp_path, b"prompt,x\ncaf\xe9,1\na dog,2\n" + "一只小黑猫坐在窗边看雨,3\n".encode("gbk")
    )
    assert built.texts == ["a dog"]
    assert [row["row"] for row in built.rejects] == [1, 3]
    assert "caf\\xe9" in built.rejects[0]["value"] or "caf\\udce9" in built.rejects[0]["value"]
    assert "UTF-8" in built.rejects[0]["remedy"]


def test_damaged_utf_16(tmp_path: Path) -> None:
    """A lone surrogate costs its row; an odd number of bytes at the end, the file."""
    rows = "prompt\na dog\nXX\n".encode("utf-16").replace(
        "XX".encode("utf-16-le"), b"\x00\xd8x\x00"
    )
    built = build_text(tmp_path, rows)
    assert built.texts == ["a dog"]
    assert len(built.rejects) == 1
    with pytest.raises(UnreadablePromptFileError, match="Save the file as UTF-8"):
        build_text(tmp_path, rows + b"x", name="odd.csv")


def test_column_names(tmp_path: Path) -> None:
    """Case and outer spaces do not matter; other columns keep their case."""
    built = build_text(tmp_path, " PROMPT ,Size, SKU ,N\na kite,16:9,007,2.0\n")
    (row,) = built.prompts
    assert (row["prompt"], row["size"], row["n"]) == ("a kite", "1696*960", 2)
    assert row["prompt_columns"] == '{"SKU":"007"}'
    assert built.summary.columns == ("SKU",)


def test_cells_are_text(tmp_path: Path) -> None:
    """No cell of a carried column is taken for a number, a date or a missing value."""
    built = build_text(tmp_path, "prompt,a,b,c,d\nNA,007,1.10,NaN, x \n")
    assert built.texts == ["NA"]
    assert built.prompts[0]["prompt_columns"] == '{"a":"007","b":"1.10","c":"NaN","d":" x "}'


def test_quotes(tmp_path: Path) -> None:
    """Separators, line breaks and doubled quotes inside a quoted field are its text."""
    built = build_text(tmp_path, 'prompt,n\n"a, ""b""\r\nc",2\n5" nails,1\n')
    assert built.texts == ['a, "b"\r\nc', '5" nails']


def test_blank_lines(tmp_path: Path) -> None:
    """Blank lines and rows of empty cells are no rows, and do not count."""
    built = build_text(tmp_path, "\n\nprompt,n\n\na kite,1\n,\n   \n\na dog,9\n\n")
    assert built.texts == ["a kite"]
    assert [row["row"] for row in built.rejects] == [2]
    assert built.summary.rows_read == 2


def test_ragged_rows(tmp_path: Path) -> None:
    """Too many fields reject the row by its number; too few are missing values."""
    built = build_text(tmp_path, "prompt,n,seed\na,1\nb,1,2,3\nc,1,2,,\nd\n")
    assert built.texts == ["a", "c", "d"]
    (reject,) = built.rejects
    assert (reject["row"], reject["column"], reject["value"]) == (2, None, "b,1,2,3")
    assert "quotes" in reject["remedy"]


def test_ragged_rows_with_quotes(tmp_path: Path) -> None:
    """The same holds for rows with quoted fields."""
    built = build_text(tmp_path, 'prompt,n\n"a"\n"b",1,2\n"c",1,""\n')
    assert built.texts == ["a", "c"]
    assert [row["row"] for row in built.rejects] == [2]


def test_nul_bytes(tmp_path: Path) -> None:
    """A NUL byte costs its row, instead of cutting the text short."""
    built = build_text(tmp_path, b"prompt\na\x00b\nc\n")
    assert built.texts == ["c"]
    assert built.rejects[0]["value"] == "a\\x00b"


@pytest.mark.parametrize(
    "text",
    [
        'prompt,n\n"a kite,1\nb,2\nc,3\n',
        'prompt,n\na,1\n"b,2',
        'prompt,n\n"a ""kite,1\n"b",1\n',
        'prompt,n\n"a 5" nail",1\n',
        'prompt,n\n"a\nb "c" d",1\n',
        '"prompt,n\na,1\n',
        'prompt,n\n"' + "a\n" * 2000 + '",1\n',
    ],
)
def test_unclosed_quotes(tmp_path: Path, text: str) -> None:
    """When nobody can say where rows end, the file is refused: what follows may not be prompts."""
    with pytest.raises(BrokenQuotingError) as caught:
        build_text(tmp_path, text)
    assert "data row" in str(caught.value) or "header" in str(caught.value)
    assert not list((tmp_path / "set.csv.out").iterdir())


def test_broken_quotes_within_a_row(tmp_path: Path) -> None:
    """A row whose quotes are wrong but whose end is clear is rejected alone."""
    built = build_text(tmp_path, 'prompt,n\n"a" kite,1\n"he said "hi"",1\ngood,1\n')
    assert built.texts == ["good"]
    assert [row["row"] for row in built.rejects] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_empty_files(tmp_path: Path, content: bytes) -> None:
    """A file with nothing in it says so."""
    with pytest.raises(EmptyPromptFileError, match="empty"):
        build_text(tmp_path, content)


def test_header_only(tmp_path: Path) -> None:
    """A header alone is a set with no usable row."""
    with pytest.raises(NoUsableRowsError, match="header but no rows"):
        build_text(tmp_path, "prompt,n\n")


def test_missing_prompt_column(tmp_path: Path) -> None:
    """The error names the columns that are there."""
    with pytest.raises(MissingPromptColumnError, match="'caption', 'n'"):
        build_text(tmp_path, "caption,n\na,1\n")


@pytest.mark.parametrize(
    ("text", "name", "word"),
    [
        ("prompt;n\na;1\n", "a.csv", "semicolons"),
        ("prompt\tn\na\t1\n", "a.csv", "tabs"),
        ("prompt,n\na,1\n", "a.tsv", "commas"),
    ],
)
def test_other_separators(tmp_path: Path, text: str, name: str, word: str) -> None:
    """A file with another separator is told apart from one without prompts."""
    with pytest.raises(MissingPromptColumnError, match=word):
        build_text(tmp_path, text, name=name)


@pytest.mark.parametrize("header", ["prompt,Prompt", "prompt,a, A", "prompt,size,SIZE"])
def test_colliding_columns(tmp_path: Path, header: str) -> None:
    """Two columns with one name are refused, not overwritten."""
    with pytest.raises(AmbiguousColumnsError, match="case does not matter"):
        build_text(tmp_path, f"{header}\na,b,c\n")


def test_unnamed_columns(tmp_path: Path) -> None:
    """The index column that data frames write is carried by its position."""
    built = build_text(tmp_path, ",prompt\n0,a kite\n")
    assert built.prompts[0]["prompt_columns"] == '{"column 1":"0"}'


def test_gzip(tmp_path: Path) -> None:
    """Compressed text is the same table."""
    text = "prompt,n\na kite,2\n"
    plain = build_text(tmp_path, text)
    packed = build_text(tmp_path, gzip.compress(text.encode()), name="set.csv.gz")
    assert packed.prompts == plain.prompts
    assert packed.summary.data_version == plain.summary.data_version


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda _: b"prompt\na\n", lambda d: d + d[:5]]
)
def test_damaged_gzip(tmp_path: Path, damage) -> None:  # noqa: ANN001  a lambda
    """Truncated, not gzip at all, or followed by garbage: refused before anything is taken."""
    data = gzip.compress(b"prompt\n" + b"".join(b"kite %d\n" % i for i in range(5000)))
    with pytest.raises(UnreadablePromptFileError, match="gzip"):
        build_text(tmp_path, damage(data), name="set.csv.gz")
    assert not list((tmp_path / "set.csv.gz.out").iterdir())


def test_missing_file(tmp_path: Path) -> None:
    """A file that went away is an error of ours, with its name."""
    with pytest.raises(UnreadablePromptFileError, match=r"gone\.csv"):
        build(tmp_path / "gone.csv")


def test_endless_line(tmp_path: Path) -> None:
    """A file that is no table does not fill the memory."""
    with pytest.raises(UnreadablePromptFileError, match="line 2 has more than 64000000 char"):
        build_text(tmp_path, "prompt\n" + "x" * 65_000_065)


@pytest.mark.parametrize("name", ["set.csv", "set.tsv", "set.jsonl"])
def test_a_row_that_is_too_long_is_rejected_alone(tmp_path: Path, name: str) -> None:
    """With its row and line; the rows around it are prompts."""
    long = "x" * 1_000_050
    text = f"prompt\na kite\n{long}\na boat\n"
    if name.endswith("jsonl"):
        text = "".join(json.dumps({"prompt": each}) + "\n" for each in ("a kite", long, "a boat"))
    built = build_text(tmp_path, text, name=name)
    assert [each["prompt"] for each in built.prompts] == ["a kite", "a boat"]
    (rejected,) = built.rejects
    line = 2 if name.endswith("jsonl") else 3
    assert (rejected["row"], rejected["column"]) == (2, None)
    assert rejected["rule"] == f"a line has at most 1000000 characters; line {line} has more"
    assert len(rejected["value"]) <= 200


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('prompt,note\na kite,\n"open {long}\nhere",b\n', "data row 2: .* line 3 has more"),
        ('prompt,note\n"a kite\n{long}\n",b\n', "data row 1: .* line 3 has more"),
        ("prompt,{long}\na,b\n", "the header: .* line 1 has more"),
    ],
)
def test_a_line_that_is_too_long_inside_a_row_names_the_row(
    tmp_path: Path, text: str, where: str
) -> None:
    """Its quote may be closed in what was passed over, so nobody can tell where the row ends."""
    with pytest.raises(UnreadablePromptFileError, match=where):
        build_text(tmp_path, text.format(long="x" * 1_000_050))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows, end: str) -> None:  # noqa: ANN001
    """What Python's writer wrote is read back cell by cell, in order, with its row number."""
    file = tmp_path_factory.mktemp("csv") / "set.csv"
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["prompt", "a", "b"])
    writer.writerows(rows)
    file.write_bytes(text.getvalue().encode())
    read = [row for chunk in open_rows(file).chunks for row in chunk.rows]
    assert [(r.known["prompt"], r.extra["a"], r.extra["b"]) for r in read] == rows
    assert [r.row for r in read] == list(range(1, len(rows) + 1))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["set.csv", "set.tsv"]), st.text('prompt,\t"\n\r a', max_size=40))
def test_any_text_is_answered(
    tmp_path_factory: pytest.TempPathFactory, name: str, body: str
) -> None:
    """Whatever follows a header is rows, rejections or a file error, and no cell is invented."""
    file = tmp_path_factory.mktemp("any") / name
    file.write_bytes(
        ("prompt,b\n" if name.endswith("csv") else "prompt\tb\n").encode() + body.encode()
    )
    try:
        chunks = list(open_rows(file).chunks)
    except PromptFileError:
        return
    for chunk in chunks:
        for row in chunk.rows:
            for cell in (row.known["prompt"], row.extra["b"]):
                assert isinstance(cell, str)
                assert cell.replace('"', "") in body.replace('"', "")


def test_columns_know_their_positions(tmp_path: Path) -> None:
    """Known and other columns may come in any order."""
    columns = Columns.from_header(["x", "Seed", "prompt", "y"], file=tmp_path)
    assert columns.known == {"seed": 1, "prompt": 2}
    assert columns.extra == {"x": 0, "y": 3}
