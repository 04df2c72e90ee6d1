"""One byte is enough: found, named, and refused by every reader."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseUsageError
from wan_pipeline.dataset.release.manifest import (
    FORMAT_VERSION,
    hash_of,
    read_manifest,
    write_manifest,
)
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.verify import VerifyReport, verify_release

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.dataset.release.conftest import Released

TABLES = ("images.parquet", "purchases.parquet", "events.parquet")


def flip(path: Path, at: int = -9) -> None:
    """Change one bit of a file, as nothing but a failing disk or a person would."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def image_of(released: Released, at: int = 0) -> str:
    """Path of one of the images of `toys@v2`, as listed."""
    return sorted(read_manifest(released.releases / "toys/v2/manifest.json").images)[at]


def found(report: VerifyReport) -> list[tuple[str, str]]:
    """What was named."""
    return [(each.kind, each.path) for each in report.differences]


def test_a_whole_release_is_whole(released: Released) -> None:
    """Every file was read."""
    for reference, files in (("toys@v1", 1 + 3 + 5), ("toys@v2", 1 + 3 + 7), ("toys", 1 + 3 + 7)):
        report = verify_release(released.releases, reference)
        assert report.whole
        assert report.files == files
        assert (
            report.manifest_hash
            == open_release(released.releases, reference).manifest.hashes.manifest
        )


def test_one_byte_of_an_image(released: Released) -> None:
    """Found by verify; refused where its bytes are read. What does not hold it stays whole."""
    release = open_release(released.releases, "toys")
    rows = [row for batch in release.rows(["path", "prompt_set"]) for row in batch.to_pylist()]
    path = next(row["path"] for row in rows if row["prompt_set"] == "trams")
    flip(released.root / path)
    report = verify_release(released.releases, "toys")
    assert found(report) == [("bytes", path)]
    assert "SHA-256" in report.differences[0].says
    with pytest.raises(DamagedReleaseError, match=path):
        release.read_image(path)
    assert verify_release(released.releases, "toys@v1").whole


@pytest.mark.parametrize("table", TABLES)
def test_one_byte_of_a_table(released: Released, table: str) -> None:
    """Found and refused at once."""
    flip(released.releases / "toys/v2" / table)
    assert found(verify_release(released.releases, "toys")) == [
        ("bytes", f"releases/toys/v2/{table}")
    ]
    with pytest.raises(DamagedReleaseError, match=table):
        open_release(released.releases, "toys")
    assert open_release(released.releases, "toys@v1").version == 1


@pytest.mark.parametrize("place", ["a value", "a space", "the hash", "an image's hash", "syntax"])
def test_one_byte_of_the_manifest(released: Released, place: str) -> None:
    """Wherever it is, white space included."""
    path = released.releases / "toys/v2/manifest.json"
    data = path.read_bytes()
    wanted = {
        "a value": b'"train": "0.9"',
        "a space": b'"created_at": ',
        "the hash": b'"manifest": "',
        "an image's hash": b'"sha256": "',
        "syntax": b"{",
    }[place]
    at = data.index(wanted) + len(wanted) - (2 if place == "a value" else 0)
    changed = bytearray(data)
    changed[at] = {"a space": ord("\t"), "syntax": ord("}")}.get(
        place, ord("1") if data[at] != ord("1") else ord("2")
    )
    if place == "a space":
        changed[at - 1] = ord("\t")
        changed[at] = data[at]
    path.chmod(0o644)
    path.write_bytes(changed)
    with pytest.raises(DamagedReleaseError, match=r"manifest\.json"):
        open_release(released.releases, "toys")
    report = verify_release(released.releases, "toys")
    assert ("manifest", "releases/toys/v2/manifest.json") in found(report)


def test_missing_cut_and_extra_files_are_named(released: Released) -> None:
    """Each with its kind; readers refuse the first two at once."""
    folder = released.releases / "toys/v2"
    missing, cut = image_of(released, 0), image_of(released, 1)
    (released.root / missing).unlink()
    (released.root / cut).write_bytes(b"short")
    (folder / "events.parquet").unlink()
    (folder / "notes.txt").write_text("mine")
    assert found(verify_release(released.releases, "toys")) == [
        ("extra", "releases/toys/v2/notes.txt"),
        ("missing", "releases/toys/v2/events.parquet"),
        ("missing", missing),
        ("length", cut),
    ]
    with pytest.raises(DamagedReleaseError, match=r"events.parquet.*and 1 more|events.parquet"):
        open_release(released.releases, "toys")
    (folder / "manifest.json").unlink()
    assert found(verify_release(released.releases, "toys")) == [
        ("missing", "releases/toys/v2/manifest.json")
    ]


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(released: Released) -> None:
    """It is told as what it is."""
    for path in (released.root / image_of(released), released.releases / "toys/v1/manifest.json"):
        path.unlink()
        os.mkfifo(path)
    assert ("not_a_file", image_of(released)) in found(verify_release(released.releases, "toys"))
    with pytest.raises(DamagedReleaseError):
        open_release(released.releases, "toys@v1")


def rewrite(path: Path, **changes: Any) -> None:
    """A manifest that somebody changed and hashed anew."""
    manifest = read_manifest(path).model_copy(update=changes)
    path.chmod(0o644)
    write_manifest(path, manifest)


def test_a_manifest_hashed_anew_does_not_hide_other_rows(released: Released) -> None:
    """Its content hash is computed from the rows; and who noted its hash sees more."""
    path = released.releases / "toys/v2/manifest.json"
    manifest = read_manifest(path)
    noted = manifest.hashes.manifest
    other = manifest.hashes.model_copy(update={"content": "0" * 64})
    rewrite(path, hashes=other)
    report = verify_release(released.releases, "toys")
    assert found(report) == [("content", "releases/toys/v2/images.parquet")]
    rewrite(path, hashes=manifest.hashes, code_version="9.9")
    assert verify_release(released.releases, "toys").whole
    assert found(verify_release(released.releases, "toys", expected=noted)) == [
        ("manifest", "releases/toys/v2/manifest.json")
    ]


def test_images_that_no_row_names_are_told(released: Released) -> None:
    """And rows whose image is not listed."""
    path = released.releases / "toys/v2/manifest.json"
    images = dict(read_manifest(path).images)
    images.popitem()
    rewrite(path, images=images)
    report = verify_release(released.releases, "toys")
    assert found(report) == [("content", "releases/toys/v2/images.parquet")]


def test_a_release_in_another_place_is_refused(released: Released) -> None:
    """A version under a wrong number would be mistaken."""
    (released.releases / "toys/v2").rename(released.releases / "toys/v7")
    with pytest.raises(DamagedReleaseError, match="toys@v2"):
        open_release(released.releases, "toys@v7")
    assert found(verify_release(released.releases, "toys")) == [
        ("manifest", "releases/toys/v7/manifest.json")
    ]


LIST = '  "images": [\n'


def _first_image(text: str) -> str:
    return text.partition(LIST)[2].splitlines()[0]


FOREIGN = {
    "a path that leads out": lambda text: text.replace(
        '"path": "images/', '"path": "../images/', 1
    ),
    "an absolute path": lambda text: text.replace('"path": "images/', '"path": "/etc/images/', 1),
    "another hash than its path": lambda text: text.replace('"sha256": "', '"sha256": "x', 1),
    "an image twice": lambda text: text.replace(LIST, f"{LIST}{_first_image(text)}\n", 1),
    "a table with a path": lambda text: text.replace("events.parquet", "../events.parquet", 1),
    "a key twice": lambda text: text.replace('"name":', '"name": "x",\n  "name":', 1),
    "a key too many": lambda text: text.replace('"name":', '"more": 1,\n  "name":', 1),
    "a later format": lambda text: text.replace(
        f'"format_version": {FORMAT_VERSION}', f'"format_version": {FORMAT_VERSION + 1}', 1
    ),
    "a huge number": lambda text: text.replace('"bytes": ', '"bytes": ' + "9" * 5000, 1),
    "deep nesting": lambda _: "[" * 100_000,
    "no object": lambda _: "[]",
    "no text": lambda _: "\x00\x01",
    "nothing": lambda _: "",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_manifest_is_refused_in_one_sentence(released: Released, what: str) -> None:
    """Nothing that it names is looked at, whatever its hash says."""
    path = released.releases / "toys/v2/manifest.json"
    text = FOREIGN[what](path.read_text())
    path.chmod(0o644)
    path.write_text(text)
    data = path.read_bytes()
    path.write_bytes(data.replace(_told(data), hash_of(data).encode()))
    with pytest.raises(DamagedReleaseError, match=r"manifest\.json") as refused:
        open_release(released.releases, "toys")
    assert len(str(refused.value)) < 1_000
    kind = "newer" if what == "a later format" else "manifest"
    assert [kind for kind, _ in found(verify_release(released.releases, "toys"))] == [kind]


def _told(data: bytes) -> bytes:
    try:
        return json.loads(data)["hashes"]["manifest"].encode()
    except (ValueError, TypeError, RecursionError):
        return b"nothing of the kind"


def test_a_manifest_has_bounds(released: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large is not read."""
    monkeypatch.setattr("wan_pipeline.dataset.release.manifest.MAX_BYTES", 1_000)
    with pytest.raises(DamagedReleaseError, match="more than the 1,000"):
        open_release(released.releases, "toys")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nothing", "found: toys"),
        ("toys@v3", "it has v1, v2"),
        ("toys@v0", "names no release"),
        ("toys@3", "names no release"),
        ("../toys", "names no release"),
        ("toys/v1", "names no release"),
        ("", "names no release"),
    ],
)
def test_a_release_that_does_not_exist(released: Released, reference: str, says: str) -> None:
    """With what there is."""
    for read in (open_release, verify_release):
        with pytest.raises(ReleaseUsageError, match=says):
            read(released.releases, reference)


def test_an_image_that_is_not_listed_is_never_opened(released: Released) -> None:
    """A row can name what it likes."""
    release = open_release(released.releases, "toys")
    for path in ("../../etc/passwd", "/etc/passwd", "images/aa/" + "a" * 64 + ".png", ""):
        with pytest.raises(DamagedReleaseError, match="lists"):
            release.image_path(path)
