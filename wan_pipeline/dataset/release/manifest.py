"""manifest.json: what a release is made of, and the hash that makes every byte of it count.

`hashes.manifest` is the SHA-256 of the file's own bytes with the 64 digits of that field written
as zeros. The file lists every other file with its SHA-256, so this one hash stands for the whole
release, down to the last byte of the last image. To compute it without this package:

    sed 's/"manifest": "[0-9a-f]*"/"manifest": "0000…0000"/' manifest.json | sha256sum

A manifest may come from anywhere: it is bounded, every name in it is one of a closed form, and
no path in it is used before it was checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime  # noqa: TC003  pydantic reads it at run time
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, ValidationError

from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseAccessError
from wan_pipeline.dataset.release.facts import (
    Cost,
    Count,
    Counts,
    Hashes,
    LedgerRange,
    Part,
    Price,
    PromptSetFacts,
    TableFile,
)
from wan_pipeline.dataset.release.reference import NAME
from wan_pipeline.dataset.release.regular import (
    NO_ACCESS,
    UnfitFileError,
    length_of,
    reading,
)
from wan_pipeline.dataset.release.tables import TABLE_SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Manifest",
    "UnreadableManifestError",
    "hash_of",
    "image_hash",
    "manifest_bytes",
    "parse_manifest",
    "read_manifest",
    "write_manifest",
]

FORMAT = "wan_pipeline.release"
FORMAT_VERSION = 1
MAX_BYTES = 256 * 2**20  # some 1.3 million images
_ZEROS = "0" * 64
_HASH = re.compile(rb'"manifest": "([0-9a-f]{64})"')
_IMAGE_PATH = re.compile(r"images/([0-9a-f]{2})/(\1[0-9a-f]{62})\.(?:png|webp|jpg)")
_IMAGE_KEYS = ("path", "bytes", "sha256")


class UnreadableManifestError(DamagedReleaseError):
    """The manifest cannot be read as one; nothing is known about the release.

    Attributes:
        kind: `manifest`; `newer` where a later version of this package wrote it; or a kind of
            `UnfitFileError`.
        says: what is wrong, in words that follow the path.
    """

    def __init__(self, path: Path, kind: str, says: str) -> None:
        if kind == "newer":
            advice = "Install a newer wan_pipeline, or move the version's folder away"
        else:
            advice = "Restore it from a backup, or make a new version"
        super().__init__(f"{path}: {says}. {advice}")
        self.kind, self.says = kind, says


class _NewerFormatError(ValueError):
    """A later version of this package wrote it."""


class Manifest(Part):
    """Everything that manifest.json says; `images` is length by path, the path holds the hash."""

    format: str
    format_version: int
    name: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    profile: str
    created_at: datetime
    code_version: str
    hashes: Hashes
    prompt_sets: tuple[PromptSetFacts, ...]
    counts: Counts
    cost: Cost
    price: Price
    split: dict[str, str]
    settings: dict[str, str | int | bool | None]
    ledger: LedgerRange
    tables: tuple[TableFile, ...]
    images: dict[str, Count]

    @property
    def reference(self) -> str:
        """``name@v3``."""
        return f"{self.name}@v{self.version}"

    @property
    def complete(self) -> bool:
        """Whether no request of its prompt sets is missing."""
        return not any(each.missing for each in self.prompt_sets)

    @property
    def unchecked(self) -> dict[str, int]:
        """Images that no quality check had seen, by prompt set; sets without any are left out."""
        found = {each.name: each.images - each.quality_checked for each in self.prompt_sets}
        return {name: images for name, images in found.items() if images}

    def table(self, file: str) -> TableFile:
        """The entry of one table."""
        return next(each for each in self.tables if each.file == file)


def image_hash(path: str) -> str:
    """The SHA-256 that the path of an image names."""
    return path.rpartition("/")[2].partition(".")[0]


def write_manifest(path: Path, manifest: Manifest) -> Manifest:
    """Write the file, line by line; returns the manifest with its own hash in it.

    Raises:
        OSError: the disk refused.
    """
    digest = hashlib.sha256()
    for part in _parts(manifest, _ZEROS):
        digest.update(part)
    hashes = Hashes(content=manifest.hashes.content, manifest=digest.hexdigest())
    with path.open("wb") as file:
        file.writelines(_parts(manifest, hashes.manifest))
    return manifest.model_copy(update={"hashes": hashes})


def _parts(manifest: Manifest, own_hash: str) -> Iterator[bytes]:
    """The file: everything but the images as usual JSON, then one line per image."""
    head = manifest.model_dump(mode="json", exclude={"images"})
    head["hashes"]["manifest"] = own_hash
    text = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
    yield f'{text},\n  "images": ['.encode()
    before = "\n"
    for path, length in sorted(manifest.images.items()):
        entry = f'{{"path": "{path}", "bytes": {length}, "sha256": "{image_hash(path)}"}}'
        yield f"{before}    {entry}".encode()
        before = ",\n"
    yield b"\n  ]\n}\n"


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        DamagedReleaseError: it is not there, not one, or its bytes are not those of its hash.
        ReleaseAccessError: this user may not read it.
    """
    data = manifest_bytes(path)
    manifest = parse_manifest(data, path)
    found = hash_of(data)
    if found != manifest.hashes.manifest:
        raise DamagedReleaseError(
            f"{path} was changed: its bytes have the hash {found}, and it says"
            f" {manifest.hashes.manifest}. A release never changes: restore the file from a backup,"
            " or make a new version"
        )
    return manifest


def manifest_bytes(path: Path) -> bytes:
    """The bytes of a manifest, if they are not too many.

    Raises:
        UnreadableManifestError: they cannot be read.
        ReleaseAccessError: this user may not read them.
    """
    try:
        size = length_of(path, home=path.parent)
        if size > MAX_BYTES:
            raise UnreadableManifestError(
                path,
                "manifest",
                f"it has {size:,} bytes, more than the {MAX_BYTES:,} that a manifest may have, so"
                " it is none of ours",
            )
        with reading(path):
            return path.read_bytes()
    except UnfitFileError as error:
        if error.kind == NO_ACCESS:
            raise ReleaseAccessError.of_file(path, error.says) from error
        raise UnreadableManifestError(path, error.kind, error.says) from error


def hash_of(data: bytes) -> str:
    """The manifest hash of these bytes; of anything else than a manifest, some hash."""
    return hashlib.sha256(_HASH.sub(f'"manifest": "{_ZEROS}"'.encode(), data, count=1)).hexdigest()


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Bytes to a manifest whose every value has the right form; hashes are not compared.

    Raises:
        UnreadableManifestError: it is none, or one of another format version.
    """
    try:
        document = _document(data)
        document["images"] = _image_files(document.get("images"))
        manifest = Manifest.model_validate(document)
        _check_tables(manifest)
    except (ValueError, RecursionError) as error:
        kind = "newer" if isinstance(error, _NewerFormatError) else "manifest"
        says = f"it cannot be used as a manifest: {_in_words(error)}"
        raise UnreadableManifestError(path, kind, says) from error
    return manifest


def _document(data: bytes) -> dict[str, Any]:
    found: Any = json.loads(data, object_pairs_hook=_object)
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004  a wrong value in a file
    document = cast("dict[str, Any]", found)
    _check_format(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object; of the many entries of images only path and length are kept."""
    if tuple(name for name, _ in pairs) == _IMAGE_KEYS:
        path, length, sha256 = (value for _, value in pairs)
        if not isinstance(path, str) or image_hash(path) != sha256:
            raise ValueError(f"{str(path)[:120]!r} is listed with another hash than its name has")
        return (path, length)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("one object names a key twice")
    return found


def _check_format(document: dict[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise ValueError(f"its format is {str(document.get('format'))[:60]!r}, not {FORMAT!r}")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise (_NewerFormatError if newer else ValueError)(
            f"its format version is {str(version)[:20]}, and this version of wan_pipeline reads"
            f" {FORMAT_VERSION}"
        )


def _image_files(listed: Any) -> dict[str, int]:
    if not isinstance(listed, list):
        raise ValueError("it lists no images")  # noqa: TRY004  a wrong value in a file
    files: dict[str, int] = {}
    for entry in cast("list[Any]", listed):
        match entry:
            case (str(path), int(length)) if _IMAGE_PATH.fullmatch(path):
                if path in files:
                    raise ValueError(f"it lists {path} twice")
                files[path] = length
            case _:
                raise ValueError(f"{str(entry)[:120]} is no entry of an image")
    return files


def _check_tables(manifest: Manifest) -> None:
    files = [each.file for each in manifest.tables]
    if sorted(files) != sorted(TABLE_SCHEMAS):
        raise ValueError(f"its tables are {str(files)[:200]}, not {', '.join(TABLE_SCHEMAS)}")


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])[:80]}: {each['msg'][:200]}"
            for each in error.errors(include_input=False, include_url=False)[:3]
        )
    return str(error)[:300] or type(error).__name__
