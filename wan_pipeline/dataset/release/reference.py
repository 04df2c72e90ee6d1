"""How a release is named: ``name@v3``, or ``name`` for its newest version; and where it lies."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.errors import ReleaseAccessError, ReleaseUsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = [
    "NAME",
    "REFERENCE",
    "Reference",
    "checked_name",
    "every_version",
    "release_names",
    "versions_of",
]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
REFERENCE = re.compile(rf"(?P<name>{NAME.pattern})(?:@v(?P<version>[1-9][0-9]{{0,8}}))?")
_FOLDER = re.compile(r"v([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A release as a person names it; `version` is None for the newest."""

    name: str
    version: int | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``name`` or ``name@v3``.

        Raises:
            ReleaseUsageError: it is neither.
        """
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise ReleaseUsageError(
                f"{text!r} names no release: write a name like faces-2026 (lower-case letters,"
                " digits, dot, underscore, hyphen; at most 64), or with its version faces-2026@v2"
            )
        version = found["version"]
        return cls(name=found["name"], version=int(version) if version else None)


def checked_name(name: str) -> str:
    """The name of a new release, if it can be one.

    Raises:
        ReleaseUsageError: it cannot.
    """
    if NAME.fullmatch(name) is None:
        raise ReleaseUsageError(
            f"{name!r} cannot name a release: a name has 1 to 64 lower-case letters, digits, dots,"
            " underscores and hyphens, and begins with a letter or digit. The version is counted"
            " by itself. Nothing was made"
        )
    return name


def versions_of(releases_dir: Path, name: str) -> list[int]:
    """The finished versions of a release, the oldest first; none when there is no such release.

    Raises:
        ReleaseAccessError: this user may not look into the folder.
    """
    folder = releases_dir / name
    with _looking_into(folder):
        if not folder.is_dir():
            return []
        found = (_FOLDER.fullmatch(each.name) for each in folder.iterdir() if each.is_dir())
        return sorted(int(each[1]) for each in found if each is not None)


def release_names(releases_dir: Path) -> list[str]:
    """Every name with a finished version, sorted.

    Raises:
        ReleaseAccessError: this user may not look into a folder.
    """
    with _looking_into(releases_dir):
        if not releases_dir.is_dir():
            return []
        names = [each.name for each in releases_dir.iterdir() if NAME.fullmatch(each.name)]
    return sorted(name for name in names if versions_of(releases_dir, name))


@contextmanager
def _looking_into(folder: Path) -> Generator[None]:
    try:
        yield
    except PermissionError as error:
        raise ReleaseAccessError(
            f"{folder}: this user may not look into it. Let it read and enter the folder (`ls -ld`"
            " tells who may)"
        ) from error


def every_version(releases_dir: Path) -> list[str]:
    """Every finished version as ``name@v3``, by name and number."""
    return [
        f"{name}@v{version}"
        for name in release_names(releases_dir)
        for version in versions_of(releases_dir, name)
    ]
