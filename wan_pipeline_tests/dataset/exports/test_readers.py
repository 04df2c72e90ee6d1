"""Every export, read by its own ecosystem's reader, offline."""

from __future__ import annotations

import gc
import hashlib
import tarfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml

from wan_pipeline.dataset.exports.export import export_release
from wan_pipeline.dataset.exports.terms import BytesMode, ExportFormat, ExportTerms
from wan_pipeline_tests.dataset.exports.conftest import IMAGES, SHARD_BYTES, read_by_croissant
from wan_pipeline_tests.release_fixture import FORMATS, MOMENT, make_release, picture

if TYPE_CHECKING:
    from collections.abc import Callable

every_format = pytest.mark.parametrize("layout", list(ExportFormat))
leaves_files_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
TABLES = [ExportFormat.PARQUET, ExportFormat.IMAGEFOLDER]


def front_matter(folder: Path) -> dict[str, Any]:
    """The card's YAML."""
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


@pytest.mark.parametrize("layout", TABLES)
@pytest.mark.parametrize("mode", list(BytesMode))
def test_datasets_reads_it(
    layout: ExportFormat, mode: BytesMode, hf: Any, exported: Callable[..., Path]
) -> None:
    """`load_dataset(folder)`: all splits, every type as it was, every image decoded."""
    loaded = hf.load_dataset(str(exported(layout, mode)))
    assert dict(loaded.num_rows) == {"train": 5, "validation": 1, "test": 1}
    for split in loaded.values():
        for row in split:
            assert row["image"].convert("RGB").size == (24, 16)
            assert row["cost_usd"] == Decimal("0.03")
            assert row["created_at"] == MOMENT
            assert row["quality_flags"] == (["near_duplicate"] if row["seed"] == 2 else [])
        for row in split.cast_column("image", hf.Image(decode=False)):
            data = row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["file_sha256"]
            original = picture(row["seed"], row["format"])
            assert hashlib.sha256(original).hexdigest() == row["image_id"]
            assert (data == original) == (mode is BytesMode.ORIGINAL)


@every_format
def test_the_card_says_what_datasets_finds(
    layout: ExportFormat, hf: Any, exported: Callable[..., Path]
) -> None:
    """Features, splits and licence, as the hub would read them."""
    folder = exported(layout)
    front = front_matter(folder)
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    loaded = hf.load_dataset(str(folder))
    listed = hf.Features._from_yaml_list(front["dataset_info"]["features"])
    assert listed == loaded["train"].features
    from huggingface_hub import DatasetCard  # noqa: PLC0415

    card = DatasetCard.load(folder / "README.md")
    info = hf.info.DatasetInfosDict.from_dataset_card_data(card.data)["default"]
    assert {name: each.num_examples for name, each in info.splits.items()} == loaded.num_rows
    assert "| `cost_usd` |" in card.text or layout is not ExportFormat.PARQUET


def test_parquet_is_laid_out_for_streaming(exported: Callable[..., Path]) -> None:
    """Shards within their limit; images stored plain; the note by which readers find them."""
    folder = exported(ExportFormat.PARQUET)
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names[0] == "test-00000-of-00001.parquet"
    assert names[1:4] == [f"train-{n:05d}-of-00003.parquet" for n in range(3)]
    for name in names:
        with pq.ParquetFile(folder / "data" / name) as file:
            column = file.metadata.row_group(0).column(0)
            assert column.path_in_schema == "image.bytes"
            assert column.compression == "UNCOMPRESSED"
            assert not column.is_stats_set
            assert "_DICTIONARY" not in "".join(column.encodings)
            images = file.read(["image"])["image"].combine_chunks().field("bytes")
            assert sum(len(each.as_py()) for each in images) <= SHARD_BYTES


@leaves_files_open
def test_webdataset_reads_the_shards_shuffled(exported: Callable[..., Path]) -> None:
    """The package webdataset: every sample has its image and its row, whatever the order."""
    import webdataset  # noqa: PLC0415  slow to import

    shards = sorted(map(str, (exported(ExportFormat.WEBDATASET) / "data").glob("train-*.tar")))
    assert len(shards) > 1
    pipeline = webdataset.WebDataset(shards, shardshuffle=10, seed=1).shuffle(5).decode("pil")
    samples = list(pipeline)
    del pipeline
    gc.collect()
    assert {sample["json"]["seed"] for sample in samples} == {0, 1, 2, 4, 6}
    for sample in samples:
        row = sample["json"]
        (suffix,) = {"png", "jpg", "webp"} & set(sample)
        assert sample[suffix].size == (24, 16)
        assert row["cost_usd"] == "0.030000000"
        assert row["created_at"] == MOMENT.isoformat()
        assert row["prompt"].startswith(f"picture {row['seed']}, a \N{SNOWMAN}")


def test_tar_members_are_of_nobody(exported: Callable[..., Path]) -> None:
    """Time, owner and order of a shard are the same on any machine."""
    for path in (exported(ExportFormat.WEBDATASET) / "data").iterdir():
        assert path.stat().st_size <= max(SHARD_BYTES, 2 * tarfile.RECORDSIZE)
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
            (0, 0, 0, "", "", 0o644)
        }
        stems = [member.name.split(".")[0] for member in members]
        assert stems[::2] == stems[1::2] == sorted(set(stems))


def test_croissant_is_valid_and_read(exported: Callable[..., Path], tmp_path: Path) -> None:
    """The package mlcroissant finds no error, every row and every image of every layout."""
    found = read_by_croissant([exported(layout) for layout in ExportFormat], cache=tmp_path)
    assert len(found) == len(ExportFormat)
    for each in found:
        assert each["errors"] == []
        assert all("citeAs" in warning for warning in each["warnings"])
        assert each["seeds"] == list(range(IMAGES))
        assert each["sizes"] == [[24, 16]] * IMAGES


@pytest.mark.parametrize("fmt", FORMATS)
def test_croissant_reads_every_record_set_that_is_described(fmt: str, tmp_path: Path) -> None:
    """Of images of one format. An ImageFolder's files are records unless they are all WebP."""
    pictures = [(picture(number, fmt), fmt) for number in range(3)]
    release = make_release(tmp_path / "profile", pictures)
    folders = [
        export_release(release, ExportTerms(format=layout), tmp_path / "out").folder
        for layout in ExportFormat
    ]
    parquet, images, archives = read_by_croissant(folders, cache=tmp_path / "cache")
    rows, files = {"rows-records": 3}, {"files-records": 3}
    assert parquet["records"] == rows
    assert images["records"] == (rows if fmt == "webp" else rows | files)
    assert archives["records"] == rows | files
    for each in (parquet, images, archives):
        assert each["errors"] == []
        assert each["seeds"] == [0, 1, 2]


@pytest.mark.parametrize("layout", list(ExportFormat))
def test_croissant_never_takes_one_export_for_another(
    layout: ExportFormat, exported: Callable[..., Path], tmp_path: Path
) -> None:
    """Two releases, two kinds of bytes, one after another, with one cache."""
    other = make_release(tmp_path / "other", [(picture(9, "png"), "png")])
    whole = ExportTerms(format=layout)
    folders = [
        exported(layout, BytesMode.MARKED),
        exported(layout, BytesMode.ORIGINAL),
        export_release(other, whole, tmp_path / "out").folder,
        export_release(
            other, replace(whole, bytes_mode=BytesMode.ORIGINAL), tmp_path / "out"
        ).folder,
    ]
    found = read_by_croissant(folders, cache=tmp_path / "cache")
    for folder, each in zip(folders, found, strict=True):
        index = pq.read_table(folder / "index.parquet")["file_sha256"].to_pylist()
        assert each["hashes"] == sorted(index)
    assert len({tuple(each["hashes"]) for each in found}) == len(folders)


@leaves_files_open
@pytest.mark.parametrize("way", ["the card's", "braces"])
def test_webdataset_finds_every_shard_of_a_split(
    way: str, exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the card says, and as those do who write a range."""
    import webdataset  # noqa: PLC0415  slow to import

    folder = exported(ExportFormat.WEBDATASET)
    monkeypatch.chdir(folder)
    names = sorted(path.name for path in (folder / "data").glob("train-*.tar"))
    if way == "braces":
        last = len(names) - 1
        assert last
        begins, _, ends = names[0].rpartition("-00000-")
        pattern = f"data/{begins}-{{00000..{last:05d}}}-{ends}"
        samples = list(webdataset.WebDataset(pattern, shardshuffle=False).decode("pil"))
    else:
        card = (folder / "README.md").read_text(encoding="utf-8")
        code = card.partition("import glob")[2].partition("```")[0]
        scope: dict[str, Any] = {}
        exec(f"import glob{code}", scope)
        samples = list(scope.pop("ds"))
    gc.collect()
    assert {sample["json"]["seed"] for sample in samples} == {0, 1, 2, 4, 6}
