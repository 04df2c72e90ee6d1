"""Small JPEGs of stored images, made once and kept under the image's id.

A picture that cannot be decoded is counted and named, never an exception: a report must not die of
one bad file. Layout belongs to the gallery and the contact sheet; the images themselves are only
read.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from wan_pipeline.dataset.atomic import atomic_path
from wan_pipeline.dataset.pixels import UndecodableError, decode_upright

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "THUMBNAIL_WIDTH_PX",
    "ThumbnailError",
    "ThumbnailItem",
    "ThumbnailReport",
    "ensure_thumbnails",
    "load_small",
]

THUMBNAIL_WIDTH_PX = 320
"""Width the gallery's columns are drawn at; a tall picture keeps the width and is as tall."""

_MAX_TALLNESS = 4  # the model's narrowest ratio is 1:4
_QUALITY = 82
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_WORKERS = 4


class ThumbnailError(RuntimeError):
    """An image cannot be shown small; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailItem:
    """One image to show.

    Attributes:
        image_id: SHA-256 of the image, 64 lower-case hex digits; names the thumbnail.
        image_path: the stored image.
    """

    image_id: str
    image_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailReport:
    """What `ensure_thumbnails` did.

    Attributes:
        paths: thumbnail by image id, for every image that can be shown.
        failed: what is wrong by image id, for the others.
        made: thumbnails painted now; the rest was there already.
    """

    paths: dict[str, Path]
    failed: dict[str, str]
    made: int


def ensure_thumbnails(
    items: Iterable[ThumbnailItem],
    thumbs_root: Path,
    *,
    width_px: int = THUMBNAIL_WIDTH_PX,
    workers: int = _WORKERS,
) -> ThumbnailReport:
    """Paint the thumbnails that are not there; a bad image is reported, the others go on.

    JPEG, RGB, upright, without EXIF or comment, never larger than the image. Runs in threads:
    Pillow lets go of the interpreter while it decodes.

    Args:
        items: the images; one that occurs twice is painted once.
        thumbs_root: folder of thumbnails; a file goes to ``<width>/ab/<image_id>.jpg``.
        width_px: width in pixels; the height follows, up to four times as much.
        workers: threads, each holding one decoded image (8 MB at 1440*1440 pixels).
    """
    images = {item.image_id: item.image_path for item in items}
    with ThreadPoolExecutor(workers, thread_name_prefix="thumbnail") as pool:
        futures = {
            image_id: pool.submit(_ensure, image_path, thumbs_root, image_id, width_px)
            for image_id, image_path in images.items()
        }
    paths: dict[str, Path] = {}
    failed: dict[str, str] = {}
    made = 0
    for image_id, future in futures.items():
        try:
            paths[image_id], is_new = future.result()
        except ThumbnailError as error:
            failed[image_id] = str(error)
        else:
            made += is_new
    return ThumbnailReport(paths=paths, failed=failed, made=made)


def load_small(image_path: Path, box: tuple[int, int]) -> Image.Image:
    """Decode an image, upright and in RGB (white where transparent), shrunk into `box`.

    Args:
        image_path: a stored image, or a thumbnail of it, which is faster.
        box: largest width and height in pixels; a smaller image keeps its size.

    Raises:
        ThumbnailError: no such file, no image, or more pixels than Pillow's bomb limit.
    """
    try:
        small = decode_upright(image_path, at_least=box)
    except UndecodableError as error:
        raise ThumbnailError(f"{image_path}: {error}") from error
    small.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def _paint(image_path: Path, target: Path, width_px: int) -> None:
    """Write the thumbnail of `image_path` to `target`."""
    small = load_small(image_path, (width_px, width_px * _MAX_TALLNESS))
    try:
        with atomic_path(target) as temp:
            small.save(temp, "JPEG", quality=_QUALITY, optimize=True)
    except OSError as error:
        raise ThumbnailError(
            f"{target}: {error.strerror or error}; make room there, or make the folder writable"
        ) from error


def _ensure(image_path: Path, thumbs_root: Path, image_id: str, width_px: int) -> tuple[Path, bool]:
    """Return the thumbnail's path and whether it was painted now."""
    target = _target(thumbs_root, image_id, width_px)
    if target.is_file():
        return target, False
    _paint(image_path, target, width_px)
    return target, True


def _target(thumbs_root: Path, image_id: str, width_px: int) -> Path:
    """Return where the thumbnail goes; refuse an id that is none, since it becomes a file name."""
    if _IMAGE_ID.fullmatch(image_id) is None:
        raise ThumbnailError(
            f"{image_id!r} is no image id (64 hex digits): rebuild the metadata table"
        )
    return thumbs_root / str(width_px) / image_id[:2] / f"{image_id}.jpg"
