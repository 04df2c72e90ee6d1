"""From a folder to prompt sets: names, types, and what is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.prompts.errors import DuplicatePromptSetError, UnknownPromptFileTypeError
from wan_pipeline.prompts.sets import FileFormat, file_type, find_prompt_sets, scan, set_name


def touch(folder: Path, *names: str) -> None:
    """Make files with a header in them."""
    for name in names:
        (folder / name).write_text("prompt\na kite\n")


@pytest.mark.parametrize(
    ("file", "name", "fmt", "gzipped"),
    [
        ("foo.csv", "foo", FileFormat.CSV, False),
        ("foo.v2.csv.gz", "foo.v2", FileFormat.CSV, True),
        ("foo.TSV", "foo", FileFormat.TSV, False),
        ("Foo.JsonL.GZ", "Foo", FileFormat.JSONL, True),
        ("foo.ndjson", "foo", FileFormat.JSONL, False),
        ("foo.parquet", "foo", FileFormat.PARQUET, False),
        ("foo.yaml", "foo", FileFormat.YAML, False),
        ("Foo.v2.YML", "Foo.v2", FileFormat.YAML, False),
        ("山水 1.csv", "山水 1", FileFormat.CSV, False),
        ("foo.tar.csv", "foo.tar", FileFormat.CSV, False),
    ],
)
def test_names_and_types(file: str, name: str, fmt: FileFormat, *, gzipped: bool) -> None:
    """The set's name is the file's without its known extensions, whatever their case."""
    assert set_name(Path(file)) == name
    assert file_type(Path(file)).format == fmt
    assert file_type(Path(file)).gzipped == gzipped


@pytest.mark.parametrize(
    "file", ["a.xlsx", "a.json", "a.parquet.gz", "a.csv.zip", "a", "a.txt", "a.yaml.gz"]
)
def test_unknown_types(tmp_path: Path, file: str) -> None:
    """A type nobody reads is a named problem, and the other sets are still found."""
    touch(tmp_path, file, "good.csv")
    folder = scan(tmp_path)
    assert list(folder.sets) == ["good"]
    (problem,) = folder.problems
    assert problem.files == (tmp_path / file,)
    assert file in problem.message
    assert ".csv" in problem.message
    with pytest.raises(UnknownPromptFileTypeError, match="Convert"):
        file_type(tmp_path / file)


@pytest.mark.parametrize(
    "names", [("a.csv", "a.jsonl"), ("a.csv", "a.csv.gz"), ("a.csv", "A.tsv"), ("a.yaml", "a.yml")]
)
def test_one_name_twice(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two files with one name are an error that names both, and neither is taken."""
    touch(tmp_path, *names, "b.csv")
    with pytest.raises(DuplicatePromptSetError) as caught:
        find_prompt_sets(tmp_path)
    folder = scan(tmp_path)
    assert list(folder.sets) == ["b"]
    for name in names:
        assert str(tmp_path / name) in str(caught.value)
        assert str(tmp_path / name) in folder.problems[0].message


def test_what_is_not_a_prompt_set(tmp_path: Path) -> None:
    """Hidden files and the usual companions of data are passed over in silence."""
    touch(tmp_path, ".gitkeep", ".hidden.csv", "README.md", "readme.txt", "LICENSE", "NOTICE")
    touch(tmp_path, "README.zh.md", "LICENSE-CC-BY.txt")
    assert scan(tmp_path) == scan(tmp_path / "missing")


def test_the_folder_of_wildcards_is_no_prompt_set(tmp_path: Path) -> None:
    """Only as a folder; values that lie beside the prompt files are told where they belong."""
    (tmp_path / "wildcards").mkdir()
    touch(tmp_path / "wildcards", "a.txt", "b.csv")
    assert scan(tmp_path) == scan(tmp_path / "missing")
    touch(tmp_path, "colours.txt")
    assert "belong into wildcards/" in scan(tmp_path).problems[0].message


def test_a_set_may_be_called_license(tmp_path: Path) -> None:
    """A prompt file is a prompt file, whatever its name."""
    touch(tmp_path, "license.csv", "readme.csv")
    assert list(find_prompt_sets(tmp_path)) == ["license", "readme"]


@pytest.mark.parametrize(
    "name", ["a...b.csv", "a\nb.csv", "a\tb.csv", "a .csv", "a..csv", " a.csv", "a\\b.csv"]
)
def test_names_that_cannot_be_a_partition_or_a_folder(tmp_path: Path, name: str) -> None:
    """They are a problem with a remedy."""
    touch(tmp_path, name)
    folder = scan(tmp_path)
    assert not folder.sets
    assert "Rename it" in folder.problems[0].message


def test_long_names(tmp_path: Path) -> None:
    """A name has to leave room for what is appended to it."""
    touch(tmp_path, "山" * 60 + ".csv")
    assert "shorter" in scan(tmp_path).problems[0].message


def test_folders_and_dangling_links(tmp_path: Path) -> None:
    """Only files are prompt sets, also when a folder is named like one."""
    (tmp_path / "more.csv").mkdir()
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    folder = scan(tmp_path)
    assert not folder.sets
    assert len(folder.problems) == 2
    assert all("is not a file" in problem.message for problem in folder.problems)


def test_sets_are_sorted(tmp_path: Path) -> None:
    """The order does not depend on the file system."""
    touch(tmp_path, "c.csv", "a.csv", "b.jsonl")
    assert list(find_prompt_sets(tmp_path)) == ["a", "b", "c"]
