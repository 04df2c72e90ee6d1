"""An export: complete, the same again, and refused where it cannot be right."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.index import INDEX
from wan_pipeline.dataset.exports.terms import (
    BytesMode,
    ExportError,
    ExportFormat,
    ExportTerms,
    checked_licence,
)
from wan_pipeline.dataset.fields import description_of
from wan_pipeline.dataset.provenance.signing import SigningKey
from wan_pipeline.dataset.release.errors import DamagedReleaseError
from wan_pipeline.dataset.verify import inspect_image
from wan_pipeline_tests.certificates import make_chain
from wan_pipeline_tests.dataset.exports.conftest import IMAGES, SHARD_BYTES
from wan_pipeline_tests.dataset.provenance.test_marking import MARK
from wan_pipeline_tests.dataset.provenance.test_signing import read as read_manifest
from wan_pipeline_tests.dataset.test_verify import chunk, png
from wan_pipeline_tests.exiftool import exiftool
from wan_pipeline_tests.release_fixture import FORMATS, make_release, picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.dataset.release.reader import Release

every_format = pytest.mark.parametrize("layout", list(ExportFormat))
every_mode = pytest.mark.parametrize("mode", list(BytesMode))


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def index_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of an export's index."""
    return pq.read_table(folder / "index.parquet").to_pylist()


@every_format
@every_mode
def test_the_manifest_names_every_file(
    layout: ExportFormat, mode: BytesMode, exported: Callable[..., Path], release: Release
) -> None:
    """With its size and hash, and the release that it came from."""
    folder = exported(layout, mode)
    manifest = json.loads((folder / "export.json").read_bytes())
    files = content(folder)
    del files["export.json"]
    assert {each["path"]: (each["bytes"], each["sha256"]) for each in manifest["files"]} == {
        path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
    }
    assert manifest["release"]["reference"] == "hand@v1"
    assert manifest["release"]["content"] == release.manifest.hashes.content
    assert manifest["rows"] == {"train": 5, "validation": 1, "test": 1}
    assert manifest["markings"] == {"xmp" if mode is BytesMode.MARKED else "none": IMAGES}


@every_format
def test_exporting_again_gives_the_same_bytes(
    layout: ExportFormat, exported: Callable[..., Path], release: Release, tmp_path: Path
) -> None:
    """Elsewhere, later, file by file."""
    terms = ExportTerms(format=layout, shard_bytes=SHARD_BYTES, licence="cc-by-4.0")
    again = export_release(release, terms, tmp_path).folder
    assert content(again) == content(exported(layout))


@every_format
def test_no_url_is_signed(layout: ExportFormat, exported: Callable[..., Path]) -> None:
    """Where an image came from stays; what opened the provider's storage is nowhere."""
    folder = exported(layout)
    assert not [name for name, data in content(folder).items() if b"s3cret" in data]
    if layout is ExportFormat.WEBDATASET:
        urls = [row["url"] for row in sidecars(folder)]
    else:
        tables = sorted(folder.glob("data/**/*.parquet"))
        urls = [url for table in tables for url in pq.read_table(table)["url"].to_pylist()]
        for name, told in (("url", "without the query"), ("path", "nothing in this export")):
            assert told in description_of(pq.read_schema(tables[0]).field(name))
    assert sorted(urls) == [f"http://127.0.0.1/{number}.png" for number in range(IMAGES)]
    card = (folder / "README.md").read_text("utf-8")
    assert "without the query that made the link work" in card


def sidecars(folder: Path) -> list[dict[str, Any]]:
    """The JSON files of all archives."""
    found: list[dict[str, Any]] = []
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as archive:
            members = [each for each in archive if each.name.endswith(".json")]
            found += [json.load(archive.extractfile(each) or io.BytesIO()) for each in members]
    return found


@every_format
@every_mode
def test_the_index_leads_to_every_image(
    layout: ExportFormat, mode: BytesMode, exported: Callable[..., Path], release: Release
) -> None:
    """By either hash, in the order of the release."""
    folder = exported(layout, mode)
    assert pq.read_schema(folder / "index.parquet").equals(INDEX, check_metadata=True)
    rows = index_of(folder)
    assert [row["image_id"] for row in rows] == [
        image_id for batch in release.rows(["image_id"]) for image_id in batch[0].to_pylist()
    ]
    for row in rows:
        data = shipped(folder, row)
        assert hashlib.sha256(data).hexdigest() == row["file_sha256"]
        assert (row["file_sha256"] == row["image_id"]) == (mode is BytesMode.ORIGINAL)
        inspect_image(data, deep=True)


def shipped(folder: Path, row: dict[str, Any]) -> bytes:
    """The bytes that the index points to."""
    path = folder / row["path"]
    if row["row"] is not None:
        return pq.read_table(path)["image"][row["row"]].as_py()["bytes"]
    if row["member"] is not None:
        with tarfile.open(path) as tar:
            file = tar.extractfile(row["member"])
            assert file is not None
            return file.read()
    return path.read_bytes()


def test_originals_stay_as_they_are(exported: Callable[..., Path], release: Release) -> None:
    """In the store nothing changes, and `original` ships exactly them."""
    stored = {path: (release.data_root / path).read_bytes() for path in release.manifest.images}
    assert {hashlib.sha256(data).hexdigest() for data in stored.values()} == {
        row["file_sha256"]
        for row in index_of(exported(ExportFormat.IMAGEFOLDER, BytesMode.ORIGINAL))
    }


@every_format
def test_a_damaged_image_stops_the_export(layout: ExportFormat, tmp_path: Path) -> None:
    """One changed byte of one file is found, and what was exported before stays."""
    release = make_release(tmp_path / "profile", [(picture(n, "png"), "png") for n in range(2)])
    out = tmp_path / "out"
    before = content(export_release(release, ExportTerms(format=layout), out).folder)
    path = release.data_root / min(release.manifest.images)
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    with pytest.raises(DamagedReleaseError, match=path.name):
        export_release(release, ExportTerms(format=layout), out)
    assert content(out / f"{layout}-marked") == before
    assert [each.name for each in out.iterdir() if each.name.startswith(".tmp")] == []


SIGNED_BY_PROVIDER = 3  # of four images


@pytest.fixture(scope="module")
def half_signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Path]:
    """A release whose provider signed its files, one in each format, and left one; its root."""
    folder = tmp_path_factory.mktemp("signed")
    chain, key, root = make_chain(folder)
    sign = SigningKey.load(chain, key).open()
    files = [(sign(picture(number, fmt), MARK), fmt) for number, fmt in enumerate(FORMATS)]
    files.append((picture(9, "png"), "png"))
    return make_release(folder / "profile", files), root


def marking_of(folder: Path, layout: ExportFormat) -> dict[str, str]:
    """The column `marking` by image id, of whatever reads a layout's rows."""
    if layout is ExportFormat.WEBDATASET:
        rows: list[dict[str, Any]] = []
        for path in folder.glob("data/*.tar"):
            with tarfile.open(path) as tar:
                names = [name for name in tar.getnames() if name.endswith(".json")]
                rows += [json.loads(tar.extractfile(name).read()) for name in names]  # pyright: ignore[reportOptionalMemberAccess]
    else:
        columns = ["image_id", "marking"]
        tables = folder.glob("data/**/*.parquet")
        rows = [row for path in tables for row in pq.read_table(path, columns=columns).to_pylist()]
    return {row["image_id"]: row["marking"] for row in rows}


@every_format
@pytest.mark.parametrize("with_certificate", [False, True])
def test_what_a_provider_signed_goes_through_untouched(
    layout: ExportFormat,
    with_certificate: bool,
    half_signed: tuple[Release, Path],
    tmp_path: Path,
) -> None:
    """Byte for byte, so its signature still holds; the column and the card say which and why."""
    release, root = half_signed
    ours = make_chain(tmp_path) if with_certificate else None
    signing = None if ours is None else SigningKey.load(ours[0], ours[1])
    terms = ExportTerms(format=layout, signing=signing)
    summary = export_release(release, terms, tmp_path / "out")
    added = "xmp+c2pa" if with_certificate else "xmp"
    assert summary.markings == {"provider-c2pa": SIGNED_BY_PROVIDER, added: 1}
    manifest = json.loads((summary.folder / "export.json").read_bytes())
    assert manifest["markings"] == summary.markings
    marking = marking_of(summary.folder, layout)
    rows = index_of(summary.folder)
    assert [marking[row["image_id"]] for row in rows] == ["provider-c2pa"] * 3 + [added]
    for row in rows[:SIGNED_BY_PROVIDER]:
        data = shipped(summary.folder, row)
        assert hashlib.sha256(data).hexdigest() == row["file_sha256"] == row["image_id"]
        assert read_manifest(data, root)[0] == "Trusted"
    assert rows[-1]["file_sha256"] != rows[-1]["image_id"]
    card = (summary.folder / "README.md").read_text()
    assert "Marked with XMP metadata: 1." in card
    assert "Signed by the provider (C2PA), and therefore the bytes as it delivered them: 3." in card


def test_a_card_does_not_speak_of_signatures_that_are_not_there(
    exported: Callable[..., Path],
) -> None:
    """Where the provider signed nothing."""
    card = (exported(ExportFormat.PARQUET) / "README.md").read_text()
    assert f"Marked with XMP metadata: {IMAGES}." in card
    assert "Signed" not in card


@pytest.mark.exiftool
def test_exported_files_say_what_they_are(exported: Callable[..., Path], release: Release) -> None:
    """Every one of them, to a reader that is not ours."""
    folder = exported(ExportFormat.IMAGEFOLDER)
    rows = [row for batch in release.rows() for row in batch.to_pylist()]
    for row, place in list(zip(rows, index_of(folder), strict=True))[:3]:
        found = exiftool((folder / place["path"]).read_bytes())
        assert found["XMP-iptcExt:DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
        assert found["XMP-wan:Release"] == "hand@v1"
        assert found["XMP-wan:ImageId"] == row["image_id"]
        assert found["XMP-wan:RequestId"] == row["request_id"]
        prompt = hashlib.sha256(row["prompt"].encode()).hexdigest()
        assert found["XMP-wan:PromptSha256"] == prompt


def test_signed_exports_are_all_signed(release: Release, tmp_path: Path) -> None:
    """With the user's certificate; the card says so."""
    chain, key, root = make_chain(tmp_path)
    terms = ExportTerms(format=ExportFormat.IMAGEFOLDER, signing=SigningKey.load(chain, key))
    summary = export_release(release, terms, tmp_path)
    assert summary.markings == {"xmp+c2pa": IMAGES}
    assert json.loads((summary.folder / "export.json").read_bytes())["signed"] is True
    card = (summary.folder / "README.md").read_text()
    assert f"Signed as well (C2PA content credentials): {IMAGES}." in card
    for place in index_of(summary.folder):
        state, _ = read_manifest((summary.folder / place["path"]).read_bytes(), root)
        assert state == "Trusted"


def test_bytes_that_are_no_image_can_only_go_as_they_are(tmp_path: Path) -> None:
    """The error says how."""
    release = make_release(tmp_path, [(png(chunk(b"IEND", b"")), "png")])
    with pytest.raises(ExportError, match="--bytes original"):
        export_release(release, ExportTerms(format=ExportFormat.PARQUET), tmp_path / "out")
    terms = ExportTerms(format=ExportFormat.PARQUET, bytes_mode=BytesMode.ORIGINAL)
    assert export_release(release, terms, tmp_path / "out").markings == {"none": 1}


def test_prompts_that_share_an_image_have_a_row_each(tmp_path: Path) -> None:
    """Equal bytes under two keys, in every layout."""
    same = picture(3, "png")
    release = make_release(tmp_path / "profile", [(same, "png")] * 3)
    for layout in ExportFormat:
        folder = export_release(release, ExportTerms(format=layout), tmp_path / "out").folder
        rows = index_of(folder)
        assert len({row["image_id"] for row in rows}) == 1
        assert len({(row["path"], row["member"], row["row"]) for row in rows}) == 3
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_licence_is_none(text: str | None) -> None:
    """It is the user's to state."""
    assert checked_licence(text) is None


def test_a_licence_has_a_closed_form() -> None:
    """It goes into YAML, JSON and Markdown."""
    assert checked_licence(" CC-BY-4.0 ") == "cc-by-4.0"
    with pytest.raises(ExportError, match="no licence id"):
        checked_licence("mine: all\nmine")
