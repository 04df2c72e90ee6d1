"""`ImageStore`: bytes as received, one file per content, names nobody else can choose."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wan_pipeline.dataset.store import ImageStore, StoredImage, StoreError

DATA = b"\x89PNG whatever was received"
IMAGE_ID = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """An empty store."""
    return ImageStore(tmp_path)


def test_bytes_are_kept_as_received_under_their_hash(store: ImageStore, tmp_path: Path) -> None:
    """Path, id and length are those of the bytes, and the file is the bytes."""
    stored = store.put(DATA, "png")
    assert stored == StoredImage(
        image_id=IMAGE_ID, path=f"images/{IMAGE_ID[:2]}/{IMAGE_ID}.png", bytes=len(DATA)
    )
    assert (tmp_path / stored.path).read_bytes() == DATA
    with store.open(stored.path) as file:
        assert file.read() == DATA


def test_second_put_writes_nothing(store: ImageStore, tmp_path: Path) -> None:
    """An image that is there, whole, is left alone."""
    stored = store.put(DATA, "png")
    before = (tmp_path / stored.path).stat()
    assert store.put(DATA, "png") == stored
    after = (tmp_path / stored.path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA[:-1] + b"?"])
def test_damaged_file_is_replaced(store: ImageStore, tmp_path: Path, damaged: bytes) -> None:
    """A file cut or altered on disk is seen, healed by the next put, and told of."""
    stored = store.put(DATA, "png")
    (tmp_path / stored.path).write_bytes(damaged)
    assert not store.exists_intact(stored.path, stored.image_id)
    assert store.put(DATA, "png").replaced
    assert store.exists_intact(stored.path, stored.image_id)
    assert not store.put(DATA, "png").replaced


def test_missing_file_is_written_and_replaces_nothing(store: ImageStore, tmp_path: Path) -> None:
    """There was nothing that somebody could have read."""
    stored = store.put(DATA, "png")
    (tmp_path / stored.path).unlink()
    assert store.put(DATA, "png") == stored
    assert not stored.replaced


def test_exists_intact_is_about_this_image(store: ImageStore) -> None:
    """Another id, or a missing file, is not it."""
    stored = store.put(DATA, "png")
    other = "0" * 64
    assert store.exists_intact(stored.path, stored.image_id)
    assert not store.exists_intact(stored.path, other)
    assert not store.exists_intact(f"images/00/{other}.png", other)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "/etc/passwd",
        f"images/00/../{IMAGE_ID}.png",
        f"images/zz/{IMAGE_ID}.png",
        f"images/00/{'1' * 64}.png",
        f"images/{IMAGE_ID[:2]}/{IMAGE_ID}.exe",
        f"images/{IMAGE_ID[:2]}/{IMAGE_ID}.png\n",
        f"images/{IMAGE_ID[:2]}/{IMAGE_ID.upper()}.png",
        "",
    ],
)
def test_foreign_paths_are_refused(store: ImageStore, path: str) -> None:
    """Only names that the store itself makes are ever opened."""
    with pytest.raises(StoreError, match="no image path"):
        store.open(path)
    with pytest.raises(StoreError, match="no image path"):
        store.exists_intact(path, IMAGE_ID)


def test_format_comes_from_a_closed_set(store: ImageStore, tmp_path: Path) -> None:
    """A format that is no format names no file."""
    with pytest.raises(StoreError, match="png, webp, jpeg"):
        store.put(DATA, "../../evil")  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fmt", "suffix"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg")])
def test_suffix_follows_the_format(store: ImageStore, fmt: str, suffix: str) -> None:
    """The name ends as viewers expect."""
    stored = store.put(DATA, fmt)  # pyright: ignore[reportArgumentType]
    assert stored.path.endswith(f"{IMAGE_ID}.{suffix}")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "writable"),
        (errno.EIO, "check the disk"),
    ],
)
def test_disk_errors_say_what_to_do(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    """A full, read-only or broken disk is one typed error with a remedy, and leaves no file."""

    def refuse(path: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code), str(path), len(data))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StoreError, match=remedy) as caught:
        store.put(DATA, "png")
    assert str(tmp_path) in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_missing_image_is_a_store_error(store: ImageStore) -> None:
    """Opening what is gone names the file and the ways out."""
    with pytest.raises(StoreError, match="backup"):
        store.open(f"images/{IMAGE_ID[:2]}/{IMAGE_ID}.png")


def test_concurrent_puts_of_one_image_agree(store: ImageStore, tmp_path: Path) -> None:
    """Many writers of the same bytes end with one whole file, no litter and no word of damage."""
    images = [DATA + bytes([number]) for number in range(64)]

    def put(data: bytes) -> StoredImage:
        return store.put(data, "png")

    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(put, sorted(images * 8)))
    assert len(stored) == len(images)
    assert not any(one.replaced for one in stored)
    assert all(store.exists_intact(one.path, one.image_id) for one in stored)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(images)
