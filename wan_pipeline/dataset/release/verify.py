"""Verify a release: hash everything again and name each difference.

Opening a release looks at lengths and tables; this reads every byte of every image, too, and holds
the rows against the manifest once more. Nothing is changed, whatever is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.release.content import CONTENT_COLUMNS, ContentHash
from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseAccessError
from wan_pipeline.dataset.release.files import check_files
from wan_pipeline.dataset.release.manifest import (
    UnreadableManifestError,
    hash_of,
    image_hash,
    manifest_bytes,
    parse_manifest,
)
from wan_pipeline.dataset.release.reader import Release, locate_release
from wan_pipeline.dataset.release.regular import MAY_NOT_READ, NO_ACCESS
from wan_pipeline.dataset.release.remedy import Remedy, remedy_of
from wan_pipeline.dataset.release.tables import IMAGES_FILE, MANIFEST_FILE, TABLE_SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Difference", "VerifyReport", "verify_release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was released.

    Attributes:
        kind: of a file `missing`, `extra`, `length`, `bytes`, `not_a_file`, `outside` (a link
            leads out of the data), `no_access` (for this user) or `unreadable`; `manifest` when it
            does not fit its own hash or place, `newer` when a later version of this package wrote
            it; `content` when the rows do not fit the manifest.
        path: the file, relative to the profile's data folder.
        says: what is wrong, in words, with what was expected and what was found.
        cure: what helps, where kind and path do not tell it.
    """

    kind: str
    path: str
    says: str
    cure: Remedy | None = None

    @property
    def remedy(self) -> Remedy:
        """What helps against it."""
        return self.cure or remedy_of(self.kind, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found.

    Attributes:
        reference: ``name@v3``.
        folder: of the release.
        manifest_hash: of the manifest's bytes as they are.
        content_hash: as the manifest says; empty when it cannot be read.
        files: files that were read, the manifest among them.
        bytes: their length together, as listed.
        differences: everything that is wrong; none when the release is whole.
    """

    reference: str
    folder: Path
    manifest_hash: str
    content_hash: str
    files: int
    bytes: int
    differences: tuple[Difference, ...]

    @property
    def whole(self) -> bool:
        """Whether every byte is as released."""
        return not self.differences


def verify_release(
    releases_dir: Path, reference: str, *, expected: str | None = None
) -> VerifyReport:
    """Hash every file of a release and hold it against the manifest.

    Args:
        releases_dir: ``data/<profile>/releases``.
        reference: ``name@v3``, or ``name`` for its newest version.
        expected: the manifest hash as it was noted elsewhere. A release that somebody rewrote
            whole, manifest and all, can be told by nothing else.

    Raises:
        ReleaseUsageError: there is no such release.
        ReleaseAccessError: this user may not look for it.
    """
    name, version, folder = locate_release(releases_dir, reference)
    spoken, root = f"{name}@v{version}", releases_dir.parent
    path = folder / MANIFEST_FILE
    shown = path.relative_to(root).as_posix()
    try:
        data = manifest_bytes(path)
        manifest = parse_manifest(data, path)
    except UnreadableManifestError as error:
        told = Difference(kind=error.kind, path=shown, says=error.says)
        return _nothing_known(spoken, folder, told)
    except ReleaseAccessError:
        told = Difference(kind=NO_ACCESS, path=shown, says=MAY_NOT_READ)
        return _nothing_known(spoken, folder, told)
    found = hash_of(data)
    release = Release(
        name=name,
        version=version,
        reference=spoken,
        folder=folder,
        data_root=root,
        manifest=manifest,
    )
    told = [*_of_manifest(release, found, expected, shown), *_extra(release), *_files(release)]
    if not any(each.path.endswith(f"/{IMAGES_FILE}") for each in told):
        told += _content(release)
    return VerifyReport(
        reference=spoken,
        folder=folder,
        manifest_hash=found,
        content_hash=manifest.hashes.content,
        files=1 + len(manifest.tables) + len(manifest.images),
        bytes=len(data)
        + sum(table.bytes for table in manifest.tables)
        + sum(manifest.images.values()),
        differences=tuple(told),
    )


def _nothing_known(reference: str, folder: Path, difference: Difference) -> VerifyReport:
    """The report of a release whose manifest cannot be read: no file can be held against it."""
    return VerifyReport(
        reference=reference,
        folder=folder,
        manifest_hash="",
        content_hash="",
        files=0,
        bytes=0,
        differences=(difference,),
    )


def _of_manifest(
    release: Release, found: str, expected: str | None, shown: str
) -> Iterator[Difference]:
    manifest = release.manifest
    if found != manifest.hashes.manifest:
        yield Difference(
            kind="manifest",
            path=shown,
            says=f"its bytes have the hash {found}, and it says {manifest.hashes.manifest}: it was"
            " changed, so what it lists may be wrong as well",
        )
    if expected is not None and expected.lower() != found:
        yield Difference(
            kind="manifest",
            path=shown,
            says=f"its hash is {found}, and {expected} was expected: this is another release",
            cure=Remedy.LOOK_UP,
        )
    if manifest.reference != release.reference:
        yield Difference(
            kind="manifest",
            path=shown,
            says=f"it is the manifest of {manifest.reference}",
            cure=Remedy.MOVE_BACK,
        )


def _extra(release: Release) -> Iterator[Difference]:
    known = {MANIFEST_FILE, *TABLE_SCHEMAS}
    try:
        there = sorted(release.folder.iterdir())
    except PermissionError:
        shown = release.folder.relative_to(release.data_root).as_posix()
        yield Difference(
            kind=NO_ACCESS, path=shown, says="this user may not see what else is in the folder"
        )
        return
    for path in there:
        if path.name not in known:
            yield Difference(
                kind="extra",
                path=path.relative_to(release.data_root).as_posix(),
                says="the manifest does not list it",
            )


def _files(release: Release) -> Iterator[Difference]:
    manifest = release.manifest
    above = release.folder.relative_to(release.data_root).as_posix()
    tables = ((f"{above}/{each.file}", each.bytes, each.sha256) for each in manifest.tables)
    images = ((path, size, image_hash(path)) for path, size in sorted(manifest.images.items()))
    for problem in check_files(release.data_root, chain(tables, images)):
        yield Difference(kind=problem.kind, path=problem.path, says=problem.says)


def _content(release: Release) -> Iterator[Difference]:
    """Whether the rows are those of the content hash, and name the files that are listed."""
    manifest = release.manifest
    shown = (release.folder / IMAGES_FILE).relative_to(release.data_root).as_posix()
    try:
        content, paths, rows = _read_content(release)
    except (DamagedReleaseError, KeyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        yield Difference(kind="content", path=shown, says=f"its rows cannot be read ({reason})")
        return
    for what, listed, found in (
        ("have the content hash {}, and the manifest says {}", manifest.hashes.content, content),
        ("are {}, and the manifest says {}", manifest.counts.images, rows),
    ):
        if listed != found:
            yield Difference(
                kind="content", path=shown, says=f"its rows {what.format(found, listed)}"
            )
    if paths != manifest.images.keys():
        unlisted, unnamed = paths - manifest.images.keys(), manifest.images.keys() - paths
        yield Difference(
            kind="content",
            path=shown,
            says="its rows name other images than the manifest lists: the manifest lacks"
            f" {len(unlisted)} of theirs, and lists {len(unnamed)} that no row names",
        )


def _read_content(release: Release) -> tuple[str, set[str], int]:
    content, paths, count = ContentHash(), set[str](), 0
    for batch in release.rows([*CONTENT_COLUMNS, "path"]):
        rows: list[dict[str, Any]] = batch.to_pylist()
        content.add(rows)
        paths.update(row["path"] for row in rows)
        count += len(rows)
    return content.hexdigest(), paths, count
