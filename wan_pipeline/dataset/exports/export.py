"""Export a release: a folder that is complete or not there, equal for equal releases.

Everything is written into a folder beside the final one and moved there at the end; which folders
it may replace belongs to `place.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.exports.card import CARD_FILE, card_text, sentence
from wan_pipeline.dataset.exports.croissant import CROISSANT_FILE, describe
from wan_pipeline.dataset.exports.imagefolder import ImageFolderWriter
from wan_pipeline.dataset.exports.index import IndexWriter
from wan_pipeline.dataset.exports.items import iter_items
from wan_pipeline.dataset.exports.manifest import hash_file, hash_files, write_manifest
from wan_pipeline.dataset.exports.parquet import ParquetWriter
from wan_pipeline.dataset.exports.place import new_folder
from wan_pipeline.dataset.exports.tally import Tally
from wan_pipeline.dataset.exports.terms import ExportError, ExportFormat
from wan_pipeline.dataset.exports.webdataset import WebDatasetWriter
from wan_pipeline.dataset.release.tables import RELEASE_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.dataset.exports.manifest import FilesWritten
    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.exports.writer import ExportWriter
    from wan_pipeline.dataset.release.reader import Release

__all__ = ["ExportSummary", "export_release", "exports_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written.

    Attributes:
        folder: the export.
        reference: of the release.
        content: its content hash.
        format: the layout.
        bytes_mode: which bytes.
        rows: images by split.
        markings: images by how they are marked.
        files: how many, `export.json` not counted.
        bytes: of those.
        licence: as stated, or None.
        signed: whether with a certificate of the user's.
    """

    folder: Path
    reference: str
    content: str
    format: str
    bytes_mode: str
    rows: dict[str, int]
    markings: dict[str, int]
    files: int
    bytes: int
    licence: str | None
    signed: bool


def exports_of(exports_dir: Path, release: Release) -> Path:
    """The folder of a release's exports, below ``data/<profile>/exports``."""
    return exports_dir / f"{release.name}-v{release.version}"


def export_release(
    release: Release,
    terms: ExportTerms,
    out: Path,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> ExportSummary:
    """Write one export to ``out/<format>-<bytes>``.

    Args:
        release: an opened release.
        terms: what to write.
        out: the folder for exports of the release; made if missing.
        progress: told how many images are written.

    Raises:
        DamagedReleaseError: the release or one of its images is damaged.
        ExportError: an image cannot be marked, the target cannot be made or holds what is not
            ours, or the release is empty. Nothing was changed.
        OSError: the disk refused.
    """
    if not release.manifest.counts.images:
        raise ExportError(
            f"release {release.reference} holds no images, so there is nothing to export: name a"
            " version that has some (`wan release list`)"
        )
    with new_folder(out / terms.folder) as folder:
        tally, files = _write_data(release, terms, folder, progress)
    return ExportSummary(
        folder=out / terms.folder,
        reference=release.reference,
        content=release.manifest.hashes.content,
        format=terms.format.value,
        bytes_mode=terms.bytes_mode.value,
        rows={split: tally.rows[split] for split in tally.splits},
        markings=dict(sorted(tally.markings.items())),
        files=files.count,
        bytes=files.bytes,
        licence=terms.licence,
        signed=terms.signing is not None,
    )


def _write_data(
    release: Release, terms: ExportTerms, folder: Path, progress: Callable[[int], None]
) -> tuple[Tally, FilesWritten]:
    """Fill the folder, `export.json` last."""
    writer, index, tally = _writer(terms, folder), IndexWriter(folder), Tally()
    try:
        for item in iter_items(release, terms):
            index.add(item, writer.add(item))
            tally.add(item)
            progress(item.number + 1)
    except BaseException:
        writer.abandon()
        index.abandon()
        raise
    writer.finish()
    index.finish(writer)
    files = hash_files(folder)
    card = card_text(
        release,
        terms,
        tally=tally,
        schema=writer.schema,
        num_bytes=writer.num_bytes,
        files=files,
    )
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    croissant = describe(
        release,
        terms,
        schema=writer.schema,
        files=files,
        formats=sorted(tally.formats),
        description=sentence(release, tally),
    )
    text = json.dumps(croissant, indent=1, ensure_ascii=False) + "\n"
    (folder / CROISSANT_FILE).write_text(text, encoding="utf-8")
    files += [hash_file(folder, name) for name in (CARD_FILE, CROISSANT_FILE)]
    return tally, write_manifest(folder, release, terms, tally=tally, known=files)


def _writer(terms: ExportTerms, folder: Path) -> ExportWriter:
    if terms.format is ExportFormat.PARQUET:
        return ParquetWriter(folder, RELEASE_IMAGES, terms.shard_bytes)
    if terms.format is ExportFormat.WEBDATASET:
        return WebDatasetWriter(folder, RELEASE_IMAGES, terms.shard_bytes)
    return ImageFolderWriter(folder, RELEASE_IMAGES)
