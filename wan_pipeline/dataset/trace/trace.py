"""Trace anything back to its prompt row, and on to its images and releases.

What is given may be the path of an image file (as stored, or as exported, where the bytes differ),
the id of an image or a request or its beginning, a prompt id, or a task id. It is looked for as all
of them, since a hexadecimal word may be any.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from wan_pipeline.dataset.trace.places import Places, PlannedRows, request_as_told
from wan_pipeline.dataset.trace.story import RequestStory, Trace
from wan_pipeline.ledger.lookup import history_of
from wan_pipeline.ledger.origins import (
    attempts_at,
    image_ids_beginning,
    request_ids_beginning,
    requests_of_image,
    requests_of_task,
)
from wan_pipeline.prompts.text_source import is_clean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wan_pipeline.dataset.trace.story import ExportPlace, ReleasePlace
    from wan_pipeline.layout import DataLayout
    from wan_pipeline.ledger.lookup import Event
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["NothingFoundError", "TraceError", "UnclearTraceError", "UnknownFileError", "trace"]

_BEGINNING = re.compile("[0-9a-f]{6,64}")
_LONGEST = 4096  # characters of what is asked for
SHOWN = 12


class TraceError(Exception):
    """What was asked for leads nowhere, or to several things."""


class NothingFoundError(TraceError):
    """Nothing is known under that word."""


class UnknownFileError(TraceError):
    """The file is there, and its bytes are no image that is known."""


class UnclearTraceError(TraceError):
    """The word means several things."""


@dataclass(slots=True, kw_only=True)
class _Meaning:
    """One thing that the word may mean."""

    kind: str
    what: str
    request_ids: Collection[str]
    image_ids: list[str] = field(default_factory=list[str])


def trace(asked: str, *, ledger: LedgerReader, layout: DataLayout) -> Trace:
    """Find what `asked` means, and tell its story.

    Args:
        asked: path, image id, prompt id, request id or task id.
        ledger: of the profile.
        layout: where the profile's files lie.

    Raises:
        NothingFoundError: nothing is known under that word.
        UnknownFileError: the file's bytes are no image that is known.
        UnclearTraceError: it means several things; the message names them.
        LedgerUnavailableError: the database cannot be read.
    """
    if not asked or len(asked) > _LONGEST or "\0" in asked:
        raise NothingFoundError(
            "give the path of an image, or the id of an image, a prompt, a request or a task"
        )
    places = Places(layout)
    meanings = _meanings(asked, ledger, places)
    if not meanings:
        raise NothingFoundError(
            f"nothing is known of {asked!r} under profile {ledger.profile}. It is no file, and no"
            " image, prompt, request or task in the ledger,"
            f" {', '.join(dict.fromkeys(places.looked_at))}. Give at least 6 digits of an image or"
            " request id, a whole prompt id, or a whole task id; WAN_PROFILE and WAN_DATA_DIR say"
            " where to look"
        )
    if len(meanings) > 1:
        raise UnclearTraceError(
            f"{asked!r} may be {', or '.join(each.what for each in meanings)}. Give more of it"
        )
    return _told(asked, meanings[0], ledger, places)


def _meanings(asked: str, ledger: LedgerReader, places: Places) -> list[_Meaning]:
    file = Path(asked)
    if not _is_file(file):
        return _of_word(asked, ledger, places)
    try:
        return [_of_file(file, ledger, places)]
    except UnknownFileError:
        # A prompt may be named like a file that happens to lie here.
        if words := _of_word(asked, ledger, places):
            return words
        raise


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or none
        return False


def _of_file(file: Path, ledger: LedgerReader, places: Places) -> _Meaning:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    image_id, how = digest, "as received"
    known = requests_of_image(ledger, digest)
    if not known and (shipped := places.exported("file_sha256", [digest], also=file)):
        image_id, how = shipped[0].image_id, f"as exported to {shipped[0].export}"
        known = requests_of_image(ledger, image_id)
    if not known:
        released = places.released("image_id", [image_id], PlannedRows())
        known = sorted(released)
    if not known:
        looked_at = ", ".join(["the ledger", *dict.fromkeys(places.looked_at)])
        raise UnknownFileError(
            f"{str(file)!r} is no image that is known under profile {ledger.profile}. Its SHA-256,"
            f" {digest}, was looked for in {looked_at}. It was changed, or is of another profile"
            " (WAN_PROFILE) or data folder (WAN_DATA_DIR)"
        )
    return _Meaning(
        kind="image",
        what=f"image {image_id}, {how}",
        request_ids=known,
        image_ids=[image_id],
    )


def _of_word(word: str, ledger: LedgerReader, places: Places) -> list[_Meaning]:
    """Everything that the word may mean."""
    if not is_clean(word):  # a shell passes on what is no UTF-8
        return []
    found: list[_Meaning] = []
    planned = places.planned(pc.field("prompt_id") == word)
    released = places.released("prompt_id", [word], planned)
    if requests := sorted({*planned.requests, *released}):
        found.append(_Meaning(kind="prompt", what=f"prompt {word}", request_ids=requests))
    if requests := requests_of_task(ledger, word):
        found.append(_Meaning(kind="task", what=f"task {word}", request_ids=requests))
    folded = word.strip().lower()
    if _BEGINNING.fullmatch(folded):
        found += _of_beginning(folded, ledger, places)
    return found


def _of_beginning(word: str, ledger: LedgerReader, places: Places) -> list[_Meaning]:
    """Images and requests whose id begins so, and files that are exported under that hash."""
    found = [
        _Meaning(
            kind="image",
            what=f"image {image_id}",
            request_ids=requests_of_image(ledger, image_id),
            image_ids=[image_id],
        )
        for image_id in image_ids_beginning(ledger, word)
    ]
    planned = places.planned(pc.starts_with(pc.field("request_id"), word))
    requests = dict.fromkeys([*request_ids_beginning(ledger, word), *sorted(planned.requests)])
    found += [
        _Meaning(kind="request", what=f"request {each}", request_ids=[each])
        for each in list(requests)[:SHOWN]
    ]
    if not found and len(word) == hashlib.sha256().digest_size * 2:
        found += [
            _Meaning(
                kind="image",
                what=f"image {image_id}, as exported",
                request_ids=requests_of_image(ledger, image_id),
                image_ids=[image_id],
            )
            for image_id in sorted(
                {each.image_id for each in places.exported("file_sha256", [word])}
            )
        ]
    return found


def _told(asked: str, meaning: _Meaning, ledger: LedgerReader, places: Places) -> Trace:
    wanted = set(meaning.request_ids)
    planned = places.planned(pc.field("request_id").isin(list(wanted)))
    released = places.released("request_id", wanted, planned)
    attempts = attempts_at(ledger, wanted)
    images = {
        request_id: [image for each in purchases for image in ledger.images_of(each.key)]
        for request_id, purchases in attempts.items()
    }
    ids = {record.image_id for records in images.values() for record in records if record.image_id}
    ids |= {place.image_id for each in released.values() for place in each}
    exported = places.exported("image_id", ids) if ids else []
    return Trace(
        asked=asked,
        kind=meaning.kind,
        what=meaning.what,
        image_ids=meaning.image_ids,
        requests=[
            _story(
                request_id,
                planned=planned,
                attempts=attempts[request_id],
                events=history_of(ledger, request_id),
                images=images.get(request_id, []),
                releases=released.get(request_id, []),
                exports=exported,
            )
            for request_id in _in_order(wanted, planned)
        ],
        problems=list(dict.fromkeys(places.problems)),
    )


def _in_order(request_ids: Collection[str], planned: PlannedRows) -> list[str]:
    """By the first prompt that asks for them, and its replica."""

    def place(request_id: str) -> tuple[str, str, int, str]:
        rows = planned.prompts.get(request_id)
        if not rows:
            return ("", "", 0, request_id)
        return (rows[0].prompt_set, rows[0].prompt_id, rows[0].replica, request_id)

    return sorted(request_ids, key=place)


def _story(
    request_id: str,
    *,
    planned: PlannedRows,
    attempts: Sequence[Purchase],
    events: Sequence[Event],
    images: Sequence[ImageRecord],
    releases: Sequence[ReleasePlace],
    exports: Sequence[ExportPlace],
) -> RequestStory:
    own = {each.image_id for each in (*images, *releases)}
    sent = request_as_told(attempts[0].request) if attempts else planned.requests[request_id]
    return RequestStory(
        request_id=request_id,
        request=sent,
        prompts=planned.prompts.get(request_id, []),
        purchases=attempts,
        events=events,
        images=images,
        releases=releases,
        exports=[each for each in exports if each.image_id in own],
    )
