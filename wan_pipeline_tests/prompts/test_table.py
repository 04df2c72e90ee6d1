"""Whole prompt files: duplicates, conflicts, order, and the two tables on disk."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts import table as table_module
from wan_pipeline.prompts.errors import NoUsableRowsError, PromptFileError
from wan_pipeline.prompts.table import build_prompt_table
from wan_pipeline.prompts.tables import PROMPTS, REJECTS
from wan_pipeline_tests.prompts.helpers import Built, build, build_text, plan, rows_of

if TYPE_CHECKING:
    import random
    from pathlib import Path

HEADER = ["prompt_id", "prompt", "size", "n", "seed", "sku"]


def csv_of(rows: list[tuple[str, ...]]) -> str:
    """A prompt file with the columns of `HEADER`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue()


def content(built: Built) -> list[dict[str, Any]]:
    """The accepted prompts without their row numbers, in a fixed order."""
    rows = [{key: value for key, value in row.items() if key != "row"} for row in built.prompts]
    return sorted(rows, key=repr)


def test_tables_and_summary(tmp_path: Path) -> None:
    """Good rows and bad rows go to their tables, in the schemas written down, and are counted."""
    built = build_text(tmp_path, "prompt,n,style\na,1,x\nb,9,x\na,1,x\nc,0,x\n,,y\n")
    summary = built.summary
    assert (summary.rows_read, summary.accepted, summary.duplicates) == (5, 1, 1)
    assert (summary.rejected_rows, summary.rejections) == (3, 3)
    assert summary.columns == ("style",)
    out = tmp_path / "set.csv.out"
    assert pq.read_schema(out / "prompts.parquet").equals(PROMPTS)
    assert pq.read_schema(out / "rejects.parquet").equals(REJECTS)
    assert built.rejects[0] == {
        "file": "set.csv",
        "row": 2,
        "column": "n",
        "value": "9",
        "rule": "n is a whole number from 1 to 4",
        "remedy": "choose a number from 1 to 4",
        "place": None,
    }


def test_identical_rows_are_one_prompt(tmp_path: Path) -> None:
    """However differently they are spelled."""
    rows = [("", "a", "1:1", "1", "7", ""), ("", "a", "1280x1280", "1.0", " 7", ""), ("", "a")]
    built = build_text(tmp_path, csv_of([*rows, ("", "a", "", "", "", "")]))
    assert [row["row"] for row in built.prompts] == [1, 3]
    assert built.summary.duplicates == 2


def test_same_texts_with_other_settings(tmp_path: Path) -> None:
    """They share a derived id and stay different prompts."""
    rows = [("", "a", "", "1", "", ""), ("", "a", "16:9", "1", "", ""), ("", "a", "", "1", "5", "")]
    built = build_text(tmp_path, csv_of([*rows, ("", "a", "", "1", "", "x")]))
    assert len({row["prompt_id"] for row in built.prompts}) == 1
    assert built.summary.accepted == 4
    assert built.summary.duplicates == 0


def test_one_id_for_different_prompts(tmp_path: Path) -> None:
    """All rows with that id are refused, each naming the others; nobody guesses which is meant."""
    rows = [("k", "a"), ("m", "b"), ("k", "c"), ("k", "a"), (" k ", "a", "16:9")]
    built = build_text(tmp_path, csv_of(rows))
    assert built.texts == ["b"]
    assert [(row["row"], row["column"], row["value"]) for row in built.rejects] == [
        (row, "prompt_id", "k") for row in (1, 3, 4, 5)
    ]
    assert "(3, 4, 5)" in built.rejects[0]["rule"]
    assert "(1, 3, 4)" in built.rejects[3]["rule"]
    assert (built.summary.rejected_rows, built.summary.duplicates) == (4, 0)


def test_equal_rows_with_one_id_are_one_prompt(tmp_path: Path) -> None:
    """An id given twice for the same prompt is a duplicate, not a conflict."""
    built = build_text(tmp_path, csv_of([("k", "a"), ("k", "a")]))
    assert (built.summary.accepted, built.summary.duplicates) == (1, 1)


def test_a_given_id_like_a_derived_one(tmp_path: Path) -> None:
    """An id copied from an earlier result is still one id for one prompt."""
    derived = build_text(tmp_path, csv_of([("", "a")])).prompts[0]["prompt_id"]
    with pytest.raises(NoUsableRowsError):
        build_text(tmp_path, csv_of([("", "a"), (derived, "b")]))


def test_many_conflicts_name_few(tmp_path: Path) -> None:
    """A thousand rows with one id do not make a thousand pages."""
    with pytest.raises(NoUsableRowsError):
        build_text(tmp_path, csv_of([("k", f"prompt {i}") for i in range(1000)]))
    rejects = rows_of(tmp_path / "set.csv.out" / "rejects.parquet")
    assert len(rejects) == 1000
    assert "(1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 989 more)" in rejects[500]["rule"]
    assert "(1, 2, 3, 4, 6, 7, 8, 9, 10, 11 and 989 more)" in rejects[4]["rule"]


ROW = st.tuples(
    st.sampled_from(["", "", "k", "m"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["", "1:1", "16:9", "bad"]),
    st.sampled_from(["", "1", "2"]),
    st.sampled_from(["", "7"]),
    st.sampled_from(["", "x"]),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(ROW, max_size=12), st.randoms(use_true_random=False))
def test_order_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], shuffler: random.Random
) -> None:
    """Shuffled rows in another file are the same prompts, requests, counts and data version."""
    folder = tmp_path_factory.mktemp("order")
    rows = [("anchor", "always good", "", "", "", ""), *rows]
    shuffled = shuffler.sample(rows, len(rows))
    one = build_text(folder, csv_of(rows), name="one.csv")
    two = build_text(folder, csv_of(shuffled), name="two.csv")
    assert content(one) == content(two)
    assert one.summary.data_version == two.summary.data_version
    assert one.summary.duplicates == two.summary.duplicates
    assert one.summary.rejections == two.summary.rejections
    (first, requests), (second, moved) = plan(folder / "one.csv"), plan(folder / "two.csv")
    assert first == second
    assert sorted(row["request_id"] for row in requests) == sorted(
        row["request_id"] for row in moved
    )


def test_insertion_changes_no_other_row(tmp_path: Path) -> None:
    """A row added in front leaves the ids and seeds of the others alone."""
    rows = [("", "a"), ("k", "b")]
    (tmp_path / "one.csv").write_text(csv_of(rows))
    (tmp_path / "two.csv").write_text(csv_of([("", "new"), *rows]))
    before = {row["request_id"] for row in plan(tmp_path / "one.csv")[1]}
    after = {row["request_id"] for row in plan(tmp_path / "two.csv")[1]}
    assert len(after - before) == 1
    assert before < after


def test_the_format_changes_nothing(tmp_path: Path) -> None:
    """The same prompts as CSV, TSV, JSONL and Parquet have one data version."""
    columns = {"prompt": ["一只猫", 'say "hi"'], "style": ["x", "007"]}
    versions = {
        build_text(tmp_path, text, name=name).summary.data_version
        for name, text in {
            "set.csv": 'prompt,style\n一只猫,x\n"say ""hi""",007\n',
            "set.tsv": 'style\tprompt\nx\t一只猫\n007\tsay "hi"\n',
            "set.jsonl": '{"prompt": "say \\"hi\\"", "style": "007"}\n'
            '{"style": "x", "prompt": "一只猫"}',
        }.items()
    }
    pq.write_table(table_module.pa.table(columns), tmp_path / "set.parquet")
    assert versions == {build(tmp_path / "set.parquet").summary.data_version}


def test_content_changes_the_data_version(tmp_path: Path) -> None:
    """Also when only a carried column changes, or a row goes."""
    texts = ["prompt,x\na,1\nb,1\n", "prompt,x\na,1\nb,2\n", "prompt,x\na,1\n", "prompt\na\n"]
    assert len({build_text(tmp_path, text).summary.data_version for text in texts}) == 4


def test_rows_that_are_not_taken_do_not_change_the_data_version(tmp_path: Path) -> None:
    """Duplicates, conflicts and rejects leave no trace in it."""
    alone = build_text(tmp_path, csv_of([("", "a")]))
    rows = [("", "a"), ("k", "b"), ("", "a"), ("k", "c"), ("", "d", "bad")]
    assert build_text(tmp_path, csv_of(rows)).summary.data_version == alone.summary.data_version


def test_truncation(tmp_path: Path) -> None:
    """Long texts are rejected, or cut and counted when that is switched on."""
    text = f"prompt,negative_prompt\n{'a' * 2001},{'b' * 501}\nshort,\n"
    strict = build_text(tmp_path, text)
    assert (strict.texts, len(strict.rejects), strict.summary.truncated) == (["short"], 2, 0)
    cut = build(tmp_path / "set.csv", truncate=True)
    assert cut.texts == ["a" * 2000, "short"]
    assert (cut.rejects, cut.summary.truncated) == ([], 2)


def test_no_good_row(tmp_path: Path) -> None:
    """The set fails, after its rejects were written and its old prompts replaced."""
    build_text(tmp_path, "prompt,n\na,1\n")
    with pytest.raises(NoUsableRowsError, match=r"all 2 were rejected.*rejects\.parquet"):
        build_text(tmp_path, "prompt,n\na,9\nb,9\n")
    out = tmp_path / "set.csv.out"
    assert len(rows_of(out / "rejects.parquet")) == 2
    assert rows_of(out / "prompts.parquet") == []


def test_a_failed_build_keeps_the_old_tables(tmp_path: Path) -> None:
    """A file error late in the file leaves both tables as they were, and no other files."""
    before = build_text(tmp_path, "prompt\na\n")
    rows = "".join(f"kite {i}\n" for i in range(20_000))
    with pytest.raises(PromptFileError):
        build_text(tmp_path, f'prompt\n{rows}"open\n')
    out = tmp_path / "set.csv.out"
    assert rows_of(out / "prompts.parquet") == before.prompts
    assert sorted(path.name for path in out.iterdir()) == ["prompts.parquet", "rejects.parquet"]


def test_both_tables_or_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while the second table is completed leaves the first one untouched too."""
    before = build_text(tmp_path, "prompt,n\na,1\nx,9\n")
    finished: list[object] = []

    def fail_second(writer: table_module.AtomicParquetWriter) -> None:
        finished.append(writer)
        if len(finished) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_module.AtomicParquetWriter, "finish", fail_second)
    with pytest.raises(OSError, match="No space"):
        build_text(tmp_path, "prompt\nb\n")
    out = tmp_path / "set.csv.out"
    assert rows_of(out / "prompts.parquet") == before.prompts
    assert rows_of(out / "rejects.parquet") == before.rejects
    assert len(list(out.iterdir())) == 2


def test_rows_of_several_chunks(tmp_path: Path) -> None:
    """Row numbers, duplicates and conflicts hold over chunk borders."""
    rows = [("", f"kite {i % 15_000}") for i in range(20_000)]
    rows[10] = ("k", "early")
    rows[19_990] = ("k", "late")
    built = build_text(tmp_path, csv_of(rows))
    assert built.summary.rows_read == 20_000
    assert [row["row"] for row in built.rejects] == [11, 19_991]
    assert built.summary.accepted == 15_000
    assert built.summary.duplicates == 4_998
    rows_seen = [row["row"] for row in built.prompts]
    assert rows_seen == sorted(rows_seen)


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    """Building twice gives the same bytes."""
    file = tmp_path / "set.csv"
    file.write_text("prompt,n\na,1\nb,2\n")
    tables = []
    for name in ("one", "two"):
        build_prompt_table(file, out_dir=tmp_path / name, set_name="set")
        tables.append((tmp_path / name / "prompts.parquet").read_bytes())
    assert tables[0] == tables[1]
