"""What a path or a word may mean: the images, prompts, requests or tasks that it leads to."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from wan_pipeline.dataset.provenance.reading import read_mark
from wan_pipeline.dataset.trace.errors import UnknownFileError, UnreadableFileError
from wan_pipeline.dataset.trace.places import PlannedRows, exported_as
from wan_pipeline.dataset.trace.story import FoundBy
from wan_pipeline.ledger.origins import (
    image_ids_beginning,
    request_ids_beginning,
    requests_of_image,
    requests_of_task,
)
from wan_pipeline.prompts.text_source import is_clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from wan_pipeline.dataset.provenance.reading import FoundMark
    from wan_pipeline.dataset.trace.places import Places
    from wan_pipeline.dataset.trace.story import ExportPlace
    from wan_pipeline.ledger.reading import LedgerReader

__all__ = ["Meaning", "meanings_of"]

_BEGINNING = re.compile("[0-9a-f]{6,64}")
SHOWN = 12
SHOWN_TEXT = 60  # characters of a prompt


@dataclass(slots=True, kw_only=True)
class Meaning:
    """One thing that the word may mean.

    Attributes:
        kind: `image`, `prompt`, `request` or `task`.
        what: what it is, in words.
        found_by: what led there.
        request_ids: the requests behind it.
        image_ids: the images that were asked for.
    """

    kind: str
    what: str
    found_by: FoundBy
    request_ids: Collection[str]
    image_ids: list[str] = field(default_factory=list[str])


def meanings_of(asked: str, ledger: LedgerReader, places: Places) -> list[Meaning]:
    """Everything that `asked` may mean; nothing when nothing is known by it.

    Raises:
        UnknownFileError: it is a file that leads to no image, and no word either.
        UnreadableFileError: it is a file that cannot be read, and no word either.
        LedgerUnavailableError: the database cannot be read.
    """
    file = Path(asked)
    if not _is_file(file):
        return _of_word(asked, ledger, places) or _of_file_name(asked, ledger, places)
    try:
        return [_of_file(file, ledger, places)]
    except (UnknownFileError, UnreadableFileError):
        # A prompt may be named like a file that happens to lie here.
        if words := _of_word(asked, ledger, places):
            return words
        raise


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # which opening it will say
        return True
    except (OSError, ValueError):  # too long for a name, or none
        return False


# --- files ---


def _of_file(file: Path, ledger: LedgerReader, places: Places) -> Meaning:
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFileError(
            f"{str(file)!r} cannot be read: {error.strerror or error}. Let this user read it"
            " (`ls -l` tells who may), or give the image's id"
        ) from error
    if known := requests_of_image(ledger, digest):
        return _image(digest, "as received", FoundBy.STORED_BYTES, known)
    if shipped := places.exported(pc.field("file_sha256") == digest, also=file):
        image_id, how = shipped[0].image_id, f"as exported to {shipped[0].export}"
        known = _requests_of(image_id, ledger, places)
        return _image(image_id, how, FoundBy.EXPORTED_BYTES, known)
    if known := _requests_of(digest, ledger, places):
        return _image(digest, "as received", FoundBy.STORED_BYTES, known)
    mark = read_mark(file)
    if mark is not None and (meaning := _of_mark(mark, ledger, places)) is not None:
        return meaning
    looked_at = ", ".join(["the ledger", *dict.fromkeys(places.looked_at)])
    raise UnknownFileError(
        f"{str(file)!r} is no image that is known under profile {ledger.profile}. Its SHA-256,"
        f" {digest}, was looked for in {looked_at}. {_says_of_itself(mark)} It was changed, or is"
        " of another profile (WAN_PROFILE) or data folder (WAN_DATA_DIR)"
    )


def _of_mark(mark: FoundMark, ledger: LedgerReader, places: Places) -> Meaning | None:
    """What a file's own metadata leads to; None when nothing of it is known."""
    known = [] if mark.image_id is None else _requests_of(mark.image_id, ledger, places)
    if mark.image_id is not None and known:
        if mark.request_id is not None and mark.request_id not in known:
            places.problems.append(
                f"the file's metadata names request {mark.request_id}, which did not bring image"
                f" {mark.image_id}: believe neither without looking at the picture"
            )
        exports = places.exported(pc.field("image_id") == mark.image_id)
        bytes_are = "not those that were exported" if exports else "in no export that is known"
        meaning = _image(
            mark.image_id,
            f"by its own metadata; its bytes are {bytes_are}",
            FoundBy.METADATA,
            known,
        )
    elif mark.request_id is not None and _is_request(mark.request_id, ledger, places):
        meaning = Meaning(
            kind="request",
            what=f"request {mark.request_id}, by the file's own metadata; its bytes are in no"
            " export that is known, and neither is the image that it names",
            found_by=FoundBy.METADATA,
            request_ids=[mark.request_id],
        )
    else:
        return None
    if mark.release is not None and not places.holds(mark.release):
        places.problems.append(
            f"the file's metadata names release {mark.release}, which is not here"
        )
    return meaning


def _says_of_itself(mark: FoundMark | None) -> str:
    if mark is None:
        return "It names no image of ours in its metadata."
    named = {"image": mark.image_id, "request": mark.request_id, "release": mark.release}
    told = ", ".join(f"{name} {each}" for name, each in named.items() if each is not None)
    return f"Its metadata names {told}, and neither image nor request is known here."


def _is_request(request_id: str, ledger: LedgerReader, places: Places) -> bool:
    if request_id in request_ids_beginning(ledger, request_id):
        return True
    return bool(places.planned(pc.field("request_id") == request_id).requests)


def _image(image_id: str, how: str, found_by: FoundBy, request_ids: Collection[str]) -> Meaning:
    return Meaning(
        kind="image",
        what=f"image {image_id}, {how}" if how else f"image {image_id}",
        found_by=found_by,
        request_ids=request_ids,
        image_ids=[image_id],
    )


def _requests_of(image_id: str, ledger: LedgerReader, places: Places) -> list[str]:
    """Requests that brought an image, by the ledger, else by a release from another machine."""
    if known := requests_of_image(ledger, image_id):
        return known
    return sorted(places.released("image_id", [image_id], PlannedRows()))


# --- words ---


def _of_word(word: str, ledger: LedgerReader, places: Places) -> list[Meaning]:
    """Everything that the word may mean."""
    if not is_clean(word):  # a shell passes on what is no UTF-8
        return []
    found = _of_prompt("prompt_id", word, places) or _of_prompt("prompt", word, places)
    if requests := requests_of_task(ledger, word):
        found.append(
            Meaning(kind="task", what=f"task {word}", found_by=FoundBy.ID, request_ids=requests)
        )
    folded = word.strip().lower()
    if _BEGINNING.fullmatch(folded):
        found += _of_beginning(folded, ledger, places)
    return found


def _of_prompt(column: str, word: str, places: Places) -> list[Meaning]:
    """The prompt whose id or text is the word; an id that is also a text is meant as an id."""
    planned = places.planned(pc.field(column) == word)
    requests = sorted({*planned.requests, *places.released(column, [word], planned)})
    if not requests:
        return []
    if column == "prompt_id":
        what, found_by = f"prompt {word}", FoundBy.ID
    else:
        short = word if len(word) <= SHOWN_TEXT else f"{word[:SHOWN_TEXT]}…"
        what, found_by = f"the prompt with the text {short!r}", FoundBy.PROMPT_TEXT
    return [Meaning(kind="prompt", what=what, found_by=found_by, request_ids=requests)]


def _of_beginning(word: str, ledger: LedgerReader, places: Places) -> list[Meaning]:
    """Images and requests whose id begins so, and files that are exported under such a hash."""
    found = [
        _image(image_id, "", FoundBy.ID, requests_of_image(ledger, image_id))
        for image_id in image_ids_beginning(ledger, word)
    ]
    planned = places.planned(pc.starts_with(pc.field("request_id"), word))
    requests = dict.fromkeys([*request_ids_beginning(ledger, word), *sorted(planned.requests)])
    found += [
        Meaning(kind="request", what=f"request {each}", found_by=FoundBy.ID, request_ids=[each])
        for each in list(requests)[:SHOWN]
    ]
    known = {image_id for each in found for image_id in each.image_ids}
    shipped = places.exported(pc.starts_with(pc.field("file_sha256"), word))
    found += _of_exports(
        (each for each in shipped if each.image_id not in known),
        FoundBy.EXPORTED_SHA256,
        ledger,
        places,
    )
    return found


def _of_file_name(word: str, ledger: LedgerReader, places: Places) -> list[Meaning]:
    """Images in exported files that are called so; where a file holds many, it is all of them."""
    if "." not in word or not is_clean(word):
        return []
    name = word.replace("\\", "/").removeprefix("./")
    return _of_exports(places.exported(exported_as(name)), FoundBy.EXPORTED_NAME, ledger, places)


def _of_exports(
    shipped: Iterable[ExportPlace], found_by: FoundBy, ledger: LedgerReader, places: Places
) -> list[Meaning]:
    """One meaning for each image, with the first export that holds it."""
    first: dict[str, ExportPlace] = {}
    for each in shipped:
        first.setdefault(each.image_id, each)
    return [
        _image(
            image_id,
            f"as exported to {place.export}",
            found_by,
            # Many are named in an error only, so nobody looks for their requests.
            _requests_of(image_id, ledger, places) if len(first) == 1 else [],
        )
        for image_id, place in sorted(first.items())
    ]
