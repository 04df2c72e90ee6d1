"""`export.json`: what an export was made from, and every file in it with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from wan_pipeline import __version__
from wan_pipeline.dataset.exports.items import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wan_pipeline.dataset.exports.tally import Tally
    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.release.reader import Release

__all__ = [
    "MANIFEST_FILE",
    "ExportedFile",
    "FilesWritten",
    "files_of",
    "hash_file",
    "hash_files",
    "write_manifest",
]

MANIFEST_FILE = "export.json"
KIND = "wan_pipeline.export"
FORMAT_VERSION = 1
_BOUND = 1 << 30
_IMAGES = tuple(f".{suffix}" for suffix in SUFFIXES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A file of an export; `path` is relative to its folder, with forward slashes."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesWritten:
    """How many files an export has, and their length; `export.json` is not counted."""

    count: int
    bytes: int


def hash_files(folder: Path) -> list[ExportedFile]:
    """Every file below `folder` that is not a single image: those may be very many."""
    return [hash_file(folder, name) for name in _names(folder) if not name.endswith(_IMAGES)]


def hash_file(folder: Path, name: str) -> ExportedFile:
    """One file of `folder`."""
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExportedFile(path=name, bytes=path.stat().st_size, sha256=digest)


def write_manifest(
    folder: Path,
    release: Release,
    terms: ExportTerms,
    *,
    tally: Tally,
    known: Sequence[ExportedFile],
) -> FilesWritten:
    """Write the manifest of a finished export, a line for each file, folder by folder.

    Nothing in it depends on the time or the place, so that equal exports are equal files. The
    versions are those that wrote it: another pyarrow may encode the same tables in other bytes.
    """
    head: dict[str, Any] = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "release": {
            "reference": release.reference,
            "content": release.manifest.hashes.content,
            "manifest": release.manifest.hashes.manifest,
        },
        "format": terms.format.value,
        "bytes": terms.bytes_mode.value,
        "signed": terms.signing is not None,
        "licence": terms.licence,
        "shard_bytes": terms.shard_bytes,
        "written_by": {"wan_pipeline": __version__, "pyarrow": pa.__version__},
        "rows": {split: tally.rows[split] for split in tally.splits},
        "markings": dict(sorted(tally.markings.items())),
    }
    hashed = {file.path: file for file in known}
    count = length = 0
    with (folder / MANIFEST_FILE).open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}"))
        between = ',\n  "files": [\n'
        for name in _names(folder):
            file = hashed.get(name) or hash_file(folder, name)
            stream.write(f"{between}    {json.dumps(asdict(file))}")
            between = ",\n"
            count, length = count + 1, length + file.bytes
        stream.write("\n  ]\n}\n")
    return FilesWritten(count=count, bytes=length)


def _names(folder: Path, below: str = "") -> Iterator[str]:
    """Every file but the manifest, in an order that depends on names only."""
    with os.scandir(folder / below) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _names(folder, f"{below}{entry.name}/")
        elif entry.name != MANIFEST_FILE:
            yield f"{below}{entry.name}"


def files_of(folder: Path) -> set[str] | None:
    """The files that an export lists, relative to its folder; None when it is no export of ours."""
    path = folder / MANIFEST_FILE
    try:
        if path.stat().st_size > _BOUND:
            return None
        document: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    match document:
        case {"kind": str(kind), "files": list(files)} if kind == KIND:
            listed = cast("list[Any]", files)
            return {str(each["path"]) for each in listed if isinstance(each, dict)}
        case _:
            return None
