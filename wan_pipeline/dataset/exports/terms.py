"""What an export is asked to be, and what can be wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.errors import ReleaseUsageError

if TYPE_CHECKING:
    from wan_pipeline.dataset.provenance.signing import SigningKey

__all__ = [
    "DEFAULT_SHARD_MB",
    "MB",
    "BytesMode",
    "ExportError",
    "ExportFormat",
    "ExportTerms",
    "checked_licence",
]

MB = 1_000_000
DEFAULT_SHARD_MB = 500
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


class ExportError(ReleaseUsageError):
    """The export cannot be made; the message says why and what to do. Nothing was changed."""


class ExportFormat(StrEnum):
    """The layouts."""

    PARQUET = "parquet"
    IMAGEFOLDER = "imagefolder"
    WEBDATASET = "webdataset"


class BytesMode(StrEnum):
    """Which bytes are shipped."""

    MARKED = "marked"
    ORIGINAL = "original"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTerms:
    """What to write.

    Attributes:
        format: the layout.
        bytes_mode: with the provenance mark, or as received.
        shard_bytes: a shard is closed before it grows beyond this; one larger image has a shard of
            its own. ImageFolder has no shards.
        licence: Hugging Face's id of the images' licence, or None when the user has stated none.
        signing: the certificate that signs marked files, if any.
    """

    format: ExportFormat
    bytes_mode: BytesMode = BytesMode.MARKED
    shard_bytes: int = DEFAULT_SHARD_MB * MB
    licence: str | None = None
    signing: SigningKey | None = None

    @property
    def folder(self) -> str:
        """The name of the export's folder."""
        return f"{self.format}-{self.bytes_mode}"


def checked_licence(text: str | None) -> str | None:
    """A licence id as dataset cards write it, in lower case.

    Raises:
        ExportError: it has another form.
    """
    if text is None or not text.strip():
        return None
    licence = text.strip().lower()
    if _LICENCE.fullmatch(licence) is None:
        raise ExportError(
            f"{text!r} is no licence id: name one of those of dataset cards, such as cc0-1.0,"
            " cc-by-4.0, apache-2.0 or other. Nothing was written"
        )
    return licence
