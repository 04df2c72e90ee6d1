"""Files of values: what a line is, and that no path leads out of their folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.matrix.problems import MatrixFileError
from wan_pipeline_tests.prompts.matrix.helpers import made, wildcards

if TYPE_CHECKING:
    from pathlib import Path


def swept(folder: Path, path: str = "wildcards/v.txt") -> list[str]:
    """The values that a matrix takes from a file."""
    return made(folder, f"axes: {{v: {{sweep: {path}}}}}\ntemplates: {{t: '{{v}}'}}")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("red\nblue", ["red", "blue"]),
        ("  red \r\n\r\n# a comment\r\n#\r\nno\r\n", ["red", "no"]),
        ("a # b\n1.10\rx: y\n", ["a # b", "1.10", "x: y"]),
        ("山\u2028水\n", ["山\u2028水"]),
        ("\ufeffred\n".encode("utf-16-le"), ["red"]),
        (b"\xef\xbb\xbfred", ["red"]),
    ],
)
def test_a_line_is_a_value(tmp_path: Path, text: str | bytes, values: list[str]) -> None:
    """Without its outer spaces; nothing in it means anything but a comment's ``# ``."""
    wildcards(tmp_path, "v.txt", text)
    assert swept(tmp_path) == values


def test_files_may_lie_deeper(tmp_path: Path) -> None:
    """A library of wildcards is a tree of folders."""
    wildcards(tmp_path, "places/coast/bays.txt", "Fundy\n")
    assert swept(tmp_path, "wildcards/places/coast/bays.txt") == ["Fundy"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no values"),
        ("# only\n\n", "has no values"),
        ("a\n#ff0000\n", "line 2 ('#ff0000')"),
        ("a\n" + "x" * 2001, "line 2 has more than 2000"),
        (b"a\n\xff\n", "not valid utf-8 text in line 2"),
        (b"a" * 16_000_001, "more than 16,000,000 bytes"),
        ("\n".join(map(str, range(100_001))), "more than 100,000 values"),
    ],
    ids=["empty", "comments", "hash", "long line", "bytes", "long file", "many"],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | bytes, said: str) -> None:
    """Is named together with the axis that wants it."""
    file = wildcards(tmp_path, "v.txt", text)
    with pytest.raises(MatrixFileError) as caught:
        swept(tmp_path)
    assert said in str(caught.value)
    assert f"line 1, axes.v.sweep: {file}" in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.txt",
        "wildcards/../secret.txt",
        "wildcards/../../secret.txt",
        "wildcards/./v.txt",
        "wildcards//etc/passwd.txt",
        "wildcards",
        "wildcards/",
        "wildcards/v.csv",
        "secret.txt",
        "file:///etc/passwd",
        "C:/secret.txt",
        "wildcards\\..\\secret.txt",
        "~/secret.txt",
        "spring",
    ],
)
def test_paths_that_are_refused(tmp_path: Path, path: str) -> None:
    """Before anything is opened; a lone word is taken for one value that lacks its brackets."""
    wildcards(tmp_path, "v.txt", "a")
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(MatrixFileError) as caught:
        swept(tmp_path, path)
    assert "wildcards/NAME.txt" in str(caught.value)
    assert f"write [{path}]" in str(caught.value)


@pytest.mark.parametrize("link", ["file", "folder inside", "folder itself"])
def test_links_that_lead_out_are_refused(tmp_path: Path, link: str) -> None:
    """What they point to counts."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "v.txt").write_text("secret")
    folder = tmp_path / "prompts"
    folder.mkdir()
    if link == "folder itself":
        (folder / "wildcards").symlink_to(outside)
    else:
        (folder / "wildcards").mkdir()
        inside = folder / "wildcards" / ("v.txt" if link == "file" else "more")
        inside.symlink_to(outside / "v.txt" if link == "file" else outside)
    with pytest.raises(MatrixFileError, match="leads out of"):
        swept(folder, "wildcards/more/v.txt" if link == "folder inside" else "wildcards/v.txt")


def test_links_inside_and_a_linked_prompt_folder_are_fine(tmp_path: Path) -> None:
    """As deployments make them."""
    real = tmp_path / "real"
    real.mkdir()
    wildcards(real, "a.txt", "red")
    (real / "wildcards" / "v.txt").symlink_to("a.txt")
    (tmp_path / "linked").symlink_to(real)
    assert swept(tmp_path / "linked") == ["red"]


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "dangling link", "circle"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    """A pipe would be waited for without end."""
    path = tmp_path / "wildcards" / "v.txt"
    path.parent.mkdir()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "dangling link":
        path.symlink_to(tmp_path / "gone.txt")
    elif what == "circle":
        path.symlink_to(path)
    with pytest.raises(MatrixFileError, match="no such wildcard file"):
        swept(tmp_path)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """The system refuses to look for it."""
    with pytest.raises(MatrixFileError, match="no such wildcard file"):
        swept(tmp_path, f"wildcards/{'x' * 300}.txt")
