"""`export.json`: what an export was made from, and every file in it with its SHA-256."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.dataset.exports.tally import Tally
    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.release.reader import Release

__all__ = [
    "KIND",
    "MANIFEST_FILE",
    "ExportedFile",
    "hash_file",
    "hash_files",
    "is_export",
    "write_manifest",
]

MANIFEST_FILE = "export.json"
KIND = "wan_pipeline.export"
FORMAT_VERSION = 1
_BOUND = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A file of an export; `path` is relative to its folder, with forward slashes."""

    path: str
    bytes: int
    sha256: str


def hash_files(folder: Path) -> list[ExportedFile]:
    """Every file below `folder`, sorted by path."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [hash_file(folder, name) for name in sorted(names)]


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
    files: Sequence[ExportedFile],
) -> None:
    """Write the manifest of a finished export, a line for each file.

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
    with (folder / MANIFEST_FILE).open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}"))
        between = ',\n  "files": [\n'
        for file in sorted(files, key=lambda file: file.path):
            stream.write(f"{between}    {json.dumps(asdict(file))}")
            between = ",\n"
        stream.write("\n  ]\n}\n")


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export of ours, which another may replace."""
    path = folder / MANIFEST_FILE
    try:
        if path.stat().st_size > _BOUND:
            return False
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("kind") == KIND
