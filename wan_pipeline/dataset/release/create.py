"""Make a release: tables and manifest in a folder of their own, then one rename.

A reader sees a whole version or none. Two that are made at once get a number each; one that says
the same as the newest version is not made again. What a killed process left is swept by the next.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, EEXIST, ENOTDIR, EPERM, EROFS
from itertools import count
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from wan_pipeline.dataset.atomic import sync_path
from wan_pipeline.dataset.release.errors import (
    DamagedReleaseError,
    ReleaseAccessError,
    ReleaseError,
)
from wan_pipeline.dataset.release.facts import Hashes, Price, PromptSetFacts, TableFile
from wan_pipeline.dataset.release.manifest import (
    FORMAT,
    FORMAT_VERSION,
    Manifest,
    write_manifest,
)
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.ready import check_complete, check_images, no_image
from wan_pipeline.dataset.release.reference import checked_name, versions_of
from wan_pipeline.dataset.release.sources import read_planned
from wan_pipeline.dataset.release.split import SplitRatios
from wan_pipeline.dataset.release.tables import IMAGES_FILE, MANIFEST_FILE, TABLE_SCHEMAS, described
from wan_pipeline.dataset.release.write import Pixels, write_images, write_ledger_rows
from wan_pipeline.temp_files import TEMP_PREFIX, sweep_temp_folders, temp_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.dataset.quality.cache import MeasurementCache
    from wan_pipeline.dataset.quality.flags import Thresholds
    from wan_pipeline.dataset.release.sources import PlannedSet, SetSource
    from wan_pipeline.dataset.release.write import ImagesWritten
    from wan_pipeline.ledger.reading import LedgerReader

__all__ = ["Circumstances", "CreatedRelease", "ReleaseOrder", "create_release"]

LOCK_FILE = ".lock"
PATIENCE_S = 120.0  # the lock is held for a manifest and a rename
READ_ONLY = 0o444
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the manifest says beyond the tables.

    Attributes:
        profile: whose images these are.
        code_version: of this package.
        price: the price in force.
        settings: those that matter; nothing secret.
    """

    profile: str
    code_version: str
    price: Price
    settings: Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrder:
    """What is to be released.

    Attributes:
        name: of the release.
        sources: the prompt sets.
        ratios: of the split.
        incomplete: whether sets may lack requests.
        thresholds: where the quality flags begin to hold; those that the quality tables must tell.
        circumstances: see there.
    """

    name: str
    sources: Sequence[SetSource]
    ratios: SplitRatios
    incomplete: bool
    thresholds: Thresholds
    circumstances: Circumstances


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedRelease:
    """The version that holds what was ordered.

    Attributes:
        manifest: of it.
        folder: where it lies.
        new: whether it was made now; else an earlier version says the same.
    """

    manifest: Manifest
    folder: Path
    new: bool


def create_release(
    order: ReleaseOrder,
    *,
    ledger: LedgerReader,
    measurements: MeasurementCache,
    releases_dir: Path,
    now: datetime,
) -> CreatedRelease:
    """Make the next version of a release, unless the newest one says the same.

    Args:
        order: what is released.
        ledger: of the profile.
        measurements: of the profile's images; what is not known yet is decoded and kept there.
        releases_dir: ``data/<profile>/releases``; image paths are relative to its parent.
        now: written into the manifest; timezone-aware.

    Raises:
        ReleaseUsageError: the name cannot be one, or there is nothing to release.
        IncompleteSetError: a set lacks requests and `order.incomplete` is false.
        StaleTableError: prompt file, tables, ledger and images do not agree.
        PromptError, LedgerError: what is needed cannot be read.
        ReleaseAccessError: this user may not write there, or not read what is needed.
        OSError: the disk refused; nothing is left behind.
    """
    home = releases_dir / checked_name(order.name)
    check_complete(order.sources, incomplete=order.incomplete)
    pixels = Pixels(
        measurements=measurements, thresholds=order.thresholds, data_root=releases_dir.parent
    )
    with _access(home):
        return _create(order, ledger, pixels, releases_dir, now)


def _create(
    order: ReleaseOrder, ledger: LedgerReader, pixels: Pixels, releases_dir: Path, now: datetime
) -> CreatedRelease:
    home = releases_dir / order.name
    home.mkdir(parents=True, exist_ok=True)
    sweep_temp_folders(home)
    with temp_folder(home) as folder:
        sets = {
            each.prompt_set: (each, read_planned(each, ledger, scratch=folder))
            for each in order.sources
        }
        images = write_images(folder, sets, order.ratios, ledger=ledger, pixels=pixels)
        if not images.files:
            raise no_image(order.sources)
        attempts = {key: value for _, each in sets.values() for key, value in each.attempts.items()}
        bought = write_ledger_rows(folder, ledger, attempts)
        check_images(releases_dir.parent, images.files)
        draft = Manifest(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            name=order.name,
            version=1,
            profile=order.circumstances.profile,
            created_at=now,
            code_version=order.circumstances.code_version,
            hashes=Hashes(content=images.content.hexdigest(), manifest=_NO_HASH),
            prompt_sets=tuple(_facts(sets, images)),
            counts=images.counts(),
            cost=bought.cost,
            price=order.circumstances.price,
            split=order.ratios.as_dict(),
            settings=dict(order.circumstances.settings),
            ledger=bought.ledger,
            tables=tuple(_table(folder / file) for file in TABLE_SCHEMAS),
            images=images.files,
        )
        return _publish(draft, folder, releases_dir)


@contextmanager
def _access(home: Path) -> Generator[None]:
    """Say who may not write where; other troubles of a disk stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in (EACCES, EPERM, EROFS, EEXIST, ENOTDIR):
            raise
        named = str(error.filename or home)
        path = home if TEMP_PREFIX in named else named  # a temp folder's name says nothing
        advice = "Let this user read and write there (`ls -ld` tells who may)"
        if error.errno in (EEXIST, ENOTDIR):
            advice = "A folder must be there: move away what is in its place"
        raise ReleaseAccessError(
            f"{path}: {error.strerror}. {advice}, then run again. Nothing was made"
        ) from error


def _publish(draft: Manifest, folder: Path, releases_dir: Path) -> CreatedRelease:
    """Give the finished folder its number, or find the version that says the same."""
    home = releases_dir / draft.name
    try:
        with FileLock(home / LOCK_FILE, timeout=PATIENCE_S):
            versions = versions_of(releases_dir, draft.name)
            if versions and (same := _same(draft, releases_dir, versions[-1])) is not None:
                return same
            for version in count(versions[-1] + 1 if versions else 1):
                target = home / f"v{version}"
                manifest = _write_manifest(folder, draft.model_copy(update={"version": version}))
                try:
                    folder.rename(target)
                except OSError:
                    if not target.exists():
                        raise
                    continue  # somebody who cannot see the lock was first
                sync_path(home)
                return CreatedRelease(manifest=manifest, folder=target, new=True)
    except Timeout as error:
        raise ReleaseError(
            f"another process has been finishing a version of {draft.name} for {PATIENCE_S:g} s."
            f" Look whether it hangs (it holds {home / LOCK_FILE}), end it, then run again; nothing"
            " was made"
        ) from error
    raise AssertionError("numbers do not end")


def _same(draft: Manifest, releases_dir: Path, newest: int) -> CreatedRelease | None:
    """The newest version, if it is whole and says what the draft says."""
    try:
        release = open_release(releases_dir, f"{draft.name}@v{newest}")
    except DamagedReleaseError:
        return None
    if _told(draft) != _told(release.manifest):
        return None
    return CreatedRelease(manifest=release.manifest, folder=release.folder, new=False)


def _told(manifest: Manifest) -> object:
    """What makes a version worth making: not when, by which code or beside which ledger.

    The ratios are, even where no prompt changes sides: the manifest tells them, and a prompt that
    comes later would be on another side. So is a quality check that found nothing: without it the
    same table means that nobody looked.
    """
    sets = [
        (
            each.name,
            each.rows_version,
            each.quality_checked,
            [(lost.request_id, lost.state) for lost in each.missing],
        )
        for each in manifest.prompt_sets
    ]
    ratios = SplitRatios(**manifest.split).proportion
    return manifest.hashes.content, manifest.table(IMAGES_FILE).sha256, ratios, sets


def _write_manifest(folder: Path, draft: Manifest) -> Manifest:
    path = folder / MANIFEST_FILE
    path.unlink(missing_ok=True)
    manifest = write_manifest(path, draft)
    for file in (path, *(folder / name for name in TABLE_SCHEMAS)):
        file.chmod(READ_ONLY)
        sync_path(file)
    sync_path(folder)
    return manifest


def _facts(
    sets: Mapping[str, tuple[SetSource, PlannedSet]], images: ImagesWritten
) -> list[PromptSetFacts]:
    return [
        PromptSetFacts(
            name=name,
            file=source.prompt_file.name,
            file_sha256=planned.file_sha256,
            rows_version=planned.rows_version,
            prompts=planned.prompts,
            requests=planned.requests,
            images=images.images_of[name],
            quality_checked=images.checked_of[name],
            rejections=source.rejections,
            images_short=source.images_short,
            missing=tuple(source.missing),
        )
        for name, (source, planned) in sorted(sets.items())
    ]


def _table(path: Path) -> TableFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return TableFile(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256,
        rows=pq.read_metadata(path).num_rows,
        columns=described(TABLE_SCHEMAS[path.name]),
    )
