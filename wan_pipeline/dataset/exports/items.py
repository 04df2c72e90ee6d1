"""The images of a release, one after the other: verified, marked, hashed.

Every file is read through the release, which refuses bytes that it did not release.
A few are read ahead, so that disk and hashing do not wait for the writer; the order is the
release's.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.damage import DamagedImageError
from wan_pipeline.dataset.exports.columns import publishable
from wan_pipeline.dataset.exports.terms import BytesMode, ExportError
from wan_pipeline.dataset.provenance.marking import Mark, mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.release.reader import Release

__all__ = ["SUFFIXES", "Item", "Marking", "iter_items"]

_READ_AHEAD = 8  # files held in memory beside those of the writer
_WORKERS = 4
_BATCH_ROWS = 500
SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}
"""Of a file name, by format."""


class Marking(StrEnum):
    """How an exported file is marked; the column `marking`.

    Attributes:
        NONE: as received, whatever it carries.
        XMP: our XMP was added.
        XMP_AND_C2PA: our XMP was added, and the file signed with the user's certificate.
        PROVIDERS_C2PA: the provider had signed it, so it is as received even where marks were
            asked for: one more byte would break the signature.
    """

    NONE = "none"
    XMP = "xmp"
    XMP_AND_C2PA = "xmp+c2pa"
    PROVIDERS_C2PA = "provider-c2pa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row of the release with the bytes that are shipped for it.

    Attributes:
        batch: the record batch that holds the row.
        position: which row of the batch.
        row: the same row, value by column.
        number: which row of the release, from 0.
        split: train, validation or test.
        image_id: SHA-256 of the bytes as received.
        request_id: the request that brought it.
        image_index: which of the request's images.
        data: the bytes shipped.
        file_sha256: their SHA-256.
        marking: how they are marked.
        suffix: of a file name, without the dot.
    """

    batch: Any
    position: int
    row: dict[str, Any]
    number: int
    split: str
    image_id: str
    request_id: str
    image_index: int
    data: bytes
    file_sha256: str
    marking: Marking
    suffix: str

    def without_data(self) -> Item:
        """The item for who keeps it longer than its bytes may be held; its row is in its batch."""
        return replace(self, data=b"", row={})

    @property
    def key(self) -> str:
        """A name that no other row of the release has, without dots.

        The row's number, because two prompts may share an image.
        """
        return f"{self.number:09d}-{self.image_id[:16]}"

    @property
    def file_name(self) -> str:
        """The key with the format's suffix."""
        return f"{self.key}.{self.suffix}"


def iter_items(release: Release, terms: ExportTerms) -> Iterator[Item]:
    """Every row of the release in its order, with its bytes.

    Args:
        release: an opened release.
        terms: which bytes.

    Raises:
        DamagedReleaseError: a file is missing or damaged.
        ExportError: a file is no whole image that can be marked.
        ConfigurationError: a file cannot be signed.
    """
    sealer = _Sealer(release, terms)
    # Signing goes through one handle of a native library.
    workers = 1 if terms.signing else _WORKERS
    with ThreadPoolExecutor(workers, thread_name_prefix="export") as pool:
        ahead: deque[Future[Item]] = deque()
        try:
            for item in _rows(release):
                ahead.append(pool.submit(sealer.item, *item))
                if len(ahead) >= _READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _rows(release: Release) -> Iterator[tuple[Any, int, int, dict[str, Any]]]:
    number = 0
    for released in release.rows(batch_rows=_BATCH_ROWS):
        batch = publishable(released)
        for position, values in enumerate(batch.to_pylist()):
            yield batch, position, number, values
            number += 1


class _Sealer:
    """Makes an item of a row."""

    def __init__(self, release: Release, terms: ExportTerms) -> None:
        self._release, self._mode = release, terms.bytes_mode
        self._sign = terms.signing.open() if terms.signing else None

    def item(self, batch: Any, position: int, number: int, row: dict[str, Any]) -> Item:
        """Read, mark and hash the row's image."""
        try:
            data, marking = self._shipped(self._release.read_image(row["path"]), row)
        except DamagedImageError as error:
            raise ExportError(
                f"{row['path']} has the bytes that {self._release.reference} released, but they are"
                f" no whole image that can be marked ({error.detail}). Use --bytes original, or"
                " release without it. Nothing was exported"
            ) from error
        return Item(
            batch=batch,
            position=position,
            row=row,
            number=number,
            split=row["split"],
            image_id=row["image_id"],
            request_id=row["request_id"],
            image_index=row["image_index"],
            data=data,
            file_sha256=hashlib.sha256(data).hexdigest(),
            marking=marking,
            suffix=SUFFIXES[row["format"]],
        )

    def _shipped(self, data: bytes, row: dict[str, Any]) -> tuple[bytes, Marking]:
        if self._mode is BytesMode.ORIGINAL:
            return data, Marking.NONE
        said = Mark(
            model=row["model"],
            prompt_sha256=hashlib.sha256(row["prompt"].encode()).hexdigest(),
            release=self._release.reference,
            image_id=row["image_id"],
            request_id=row["request_id"],
        )
        marked = mark(data, said)
        if marked is None:
            return data, Marking.PROVIDERS_C2PA
        if self._sign is None:
            return marked, Marking.XMP
        return self._sign(marked, said), Marking.XMP_AND_C2PA
