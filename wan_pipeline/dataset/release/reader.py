"""Read a release: open it by its name, stream its rows, find its images.

The one way in for everything that takes a release as its input. Opening checks the manifest's own
hash, hashes the tables, and compares the length of every image; a release that fails is refused.
A list of releases needs no image and leaves the lengths out.
The bytes of an image are checked when they are read; `verify.py` checks them all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.release.errors import (
    DamagedReleaseError,
    ReleaseAccessError,
    ReleaseUsageError,
)
from wan_pipeline.dataset.release.manifest import image_hash, read_manifest
from wan_pipeline.dataset.release.reference import Reference, release_names, versions_of
from wan_pipeline.dataset.release.regular import (
    NO_ACCESS,
    UnfitFileError,
    length_of,
    reading,
)
from wan_pipeline.dataset.release.tables import IMAGES_FILE, MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wan_pipeline.dataset.release.errors import ReleaseError
    from wan_pipeline.dataset.release.manifest import Manifest

__all__ = ["Release", "locate_release", "open_release"]

BATCH_ROWS = 4096
NAMED = 3  # of what is wrong, in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An opened release.

    Attributes:
        name: without its version.
        version: from 1.
        reference: ``name@v3``.
        folder: of its manifest and tables.
        data_root: the profile's data folder; paths of images are relative to it.
        manifest: everything known about it.
    """

    name: str
    version: int
    reference: str
    folder: Path
    data_root: Path
    manifest: Manifest

    @property
    def images(self) -> Path:
        """The folder that every image lies in."""
        return self.data_root / "images"

    def rows(
        self, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of `images.parquet`, sorted by prompt set, prompt, request and image.

        Args:
            columns: which of `tables.RELEASE_IMAGES`; all when None.
            batch_rows: rows per batch at most.

        Raises:
            DamagedReleaseError: the table cannot be read.
        """
        return self.table_rows(IMAGES_FILE, columns, batch_rows=batch_rows)

    def table_rows(
        self, file: str, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """The same of any of its tables (`tables.TABLE_SCHEMAS`)."""
        path = self.folder / file
        try:
            # One thread and no reading ahead: a third less memory, and no reader waits for rows.
            with pq.ParquetFile(path, pre_buffer=False) as table:
                wanted = None if columns is None else list(columns)
                yield from table.iter_batches(
                    batch_size=batch_rows, columns=wanted, use_threads=False
                )
        except (pa.ArrowException, OSError) as error:
            raise DamagedReleaseError(
                f"{path} cannot be read ({str(error).splitlines()[0]}): `wan release verify"
                f" {self.reference}` tells what else is damaged"
            ) from error

    def image_path(self, row_path: str) -> Path:
        """The file of an image, as the column `path` names it.

        Raises:
            DamagedReleaseError: the release holds no such image; nothing else is ever reached.
        """
        if row_path not in self.manifest.images:
            raise DamagedReleaseError(
                f"{row_path[:200]!r} is no image that the manifest of {self.reference} lists:"
                f" `wan release verify {self.reference}` tells what else is damaged"
            )
        return self.data_root / row_path

    def read_image(self, row_path: str) -> bytes:
        """The bytes of an image, exactly those that were released.

        Raises:
            DamagedReleaseError: they are not there or others.
            ReleaseAccessError: this user may not read them.
        """
        path = self.image_path(row_path)
        try:
            length_of(path, home=self.images)
            with reading(path):
                data = path.read_bytes()
        except UnfitFileError as error:
            if error.kind == NO_ACCESS:
                raise ReleaseAccessError.of_file(path, error.says) from error
            raise DamagedReleaseError(
                f"{path}: {error.says}, so {self.reference} is not whole. Restore the file from a"
                f" backup; `wan release verify {self.reference}` names all"
            ) from error
        if hashlib.sha256(data).hexdigest() != image_hash(row_path):
            raise DamagedReleaseError(
                f"{path} was changed: its bytes are not those that {self.reference} released."
                f" Restore it from a backup; `wan release verify {self.reference}` names all"
            )
        return data


def locate_release(releases_dir: Path, reference: str) -> tuple[str, int, Path]:
    """Name, version and folder of a release, opened or not.

    Raises:
        ReleaseUsageError: there is none of that name or version.
    """
    wanted = Reference.parse(reference)
    versions = versions_of(releases_dir, wanted.name)
    if not versions:
        known = ", ".join(release_names(releases_dir)) or "none yet"
        raise ReleaseUsageError(
            f"there is no release {wanted.name!r} in {releases_dir} (found: {known}). `wan release"
            " create NAME` makes one; WAN_PROFILE and WAN_DATA_DIR say where to look"
        )
    version = wanted.version or versions[-1]
    if version not in versions:
        raise ReleaseUsageError(
            f"release {wanted.name} has no version v{version}; it has"
            f" {', '.join(f'v{each}' for each in versions)}"
        )
    return wanted.name, version, releases_dir / wanted.name / f"v{version}"


def open_release(releases_dir: Path, reference: str, *, lengths: bool = True) -> Release:
    """Open a release for reading.

    Args:
        releases_dir: ``data/<profile>/releases``.
        reference: ``name@v3``, or ``name`` for its newest version.
        lengths: whether the length of every image is compared, too.

    Raises:
        ReleaseUsageError: there is none.
        DamagedReleaseError: it is not what its manifest says.
        ReleaseAccessError: this user may not read it.
    """
    name, version, folder = locate_release(releases_dir, reference)
    manifest = read_manifest(folder / MANIFEST_FILE)
    if (manifest.name, manifest.version) != (name, version):
        raise DamagedReleaseError(
            f"{folder} holds the manifest of {manifest.reference}: move it back to where it was"
        )
    release = Release(
        name=name,
        version=version,
        reference=manifest.reference,
        folder=folder,
        data_root=releases_dir.parent,
        manifest=manifest,
    )
    if wrong := [*_wrong_tables(release), *(_wrong_lengths(release) if lengths else ())]:
        raise _refusal(release, wrong)
    return release


def _refusal(release: Release, wrong: Sequence[tuple[str, str]]) -> ReleaseError:
    """Why a release is not read; `wrong` is each file's kind of problem, and its words."""
    more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    named = ", ".join(says for _, says in wrong[:NAMED]) + more
    verify = f"`wan release verify {release.reference}` names every difference"
    if all(kind == NO_ACCESS for kind, _ in wrong):
        return ReleaseAccessError(
            f"{release.reference} cannot be read: {named}. Let this user read them (`ls -l` tells"
            f" who may); {verify}"
        )
    return DamagedReleaseError(
        f"{release.reference} is not what its manifest says: {named}. It is not read: {verify};"
        " restore the files from a backup"
    )


def _wrong_tables(release: Release) -> Iterator[tuple[str, str]]:
    for table in release.manifest.tables:
        path = release.folder / table.file
        try:
            length_of(path, home=release.folder)
            with reading(path), path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except UnfitFileError as error:
            yield error.kind, f"{table.file}: {error.says}"
            continue
        if found != table.sha256:
            yield "bytes", f"{table.file} was changed"


def _wrong_lengths(release: Release) -> Iterator[tuple[str, str]]:
    for path, length in release.manifest.images.items():
        try:
            found = length_of(release.data_root / path, home=release.images)
        except UnfitFileError as error:
            yield error.kind, f"{path}: {error.says}"
            continue
        if found != length:
            yield "length", f"{path} has {found} bytes instead of {length}"
