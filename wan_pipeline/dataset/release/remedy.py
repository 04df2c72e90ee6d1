"""What helps against a difference that `verify` found."""

from __future__ import annotations

from enum import StrEnum

from wan_pipeline.dataset.release.regular import NO_ACCESS

__all__ = ["Remedy", "remedy_of"]


class Remedy(StrEnum):
    """What a person can do.

    Attributes:
        RESTORE: a table or the manifest is damaged, which only a backup has.
        FETCH: an image is damaged, which the provider may still have as well.
        MOVE_BACK: the release is whole and lies in the place of another.
        LOOK_UP: its hash is not the one that was noted, perhaps of another release.
        PUT_THERE: a link stands where the file must be.
        MOVE_AWAY: a file lies there that is not listed.
        UPGRADE: a later version of this package wrote it.
        LET_READ: this user may not read it.
    """

    RESTORE = "restore"
    FETCH = "fetch"
    MOVE_BACK = "move_back"
    LOOK_UP = "look_up"
    PUT_THERE = "put_there"
    MOVE_AWAY = "move_away"
    UPGRADE = "upgrade"
    LET_READ = "let_read"


_BY_KIND = {
    "outside": Remedy.PUT_THERE,
    "extra": Remedy.MOVE_AWAY,
    "newer": Remedy.UPGRADE,
    NO_ACCESS: Remedy.LET_READ,
}


def remedy_of(kind: str, path: str) -> Remedy:
    """What helps against a difference of this kind.

    Args:
        kind: of the difference.
        path: of the file, relative to the profile's data folder.
    """
    damaged = Remedy.FETCH if path.startswith("images/") else Remedy.RESTORE
    return _BY_KIND.get(kind, damaged)
