"""Trace anything back to its prompt row, and on to its images and releases.

What is given may be the path of an image file (as stored, as exported, or changed since), the id of
an image or a request or its beginning, the hash or name of an exported file, a prompt's id or whole
text, or a task id. It is looked for as all of them, since a hexadecimal word may be any.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from wan_pipeline.dataset.trace.errors import NothingFoundError, UnclearTraceError
from wan_pipeline.dataset.trace.meanings import meanings_of
from wan_pipeline.dataset.trace.places import Places, PlannedRows, request_as_told
from wan_pipeline.dataset.trace.story import RequestStory, Trace
from wan_pipeline.ledger.incomplete import Explanation, explain
from wan_pipeline.ledger.lookup import history_of
from wan_pipeline.ledger.origins import attempts_at

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wan_pipeline.dataset.trace.meanings import Meaning
    from wan_pipeline.dataset.trace.story import ExportPlace, ReleasePlace
    from wan_pipeline.layout import DataLayout
    from wan_pipeline.ledger.lookup import Event
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["trace"]

_LONGEST = 4096  # characters of what is asked for
_NAMED = 12  # meanings, where there are several


def trace(asked: str, *, ledger: LedgerReader, layout: DataLayout) -> Trace:
    """Find what `asked` means, and tell its story.

    Args:
        asked: path, name or hash of an exported file, image id, prompt id, prompt text, request id
            or task id.
        ledger: of the profile.
        layout: where the profile's files lie.

    Raises:
        NothingFoundError: nothing is known under that word.
        UnknownFileError: the file is no image that is known, and names none.
        UnreadableFileError: the file cannot be read.
        UnclearTraceError: it means several things; the message names them.
        LedgerUnavailableError: the database cannot be read.
    """
    if not asked or len(asked) > _LONGEST or "\0" in asked:
        raise NothingFoundError(
            "give the path of an image, or the id of an image, a prompt, a request or a task"
        )
    places = Places(layout)
    meanings = meanings_of(asked, ledger, places)
    if not meanings:
        raise NothingFoundError(
            f"nothing is known of {asked!r} under profile {ledger.profile}. It is no file, and no"
            " image, prompt, request or task in the ledger,"
            f" {', '.join(dict.fromkeys(places.looked_at))}. Give at least 6 digits of an image or"
            " request id or of an exported file's SHA-256, such a file's name, a whole prompt id or"
            " text, or a whole task id; WAN_PROFILE and WAN_DATA_DIR say where to look"
        )
    if len(meanings) > 1:
        named = [each.what for each in meanings[:_NAMED]]
        more = f", or {len(meanings) - _NAMED} more" if len(meanings) > _NAMED else ""
        raise UnclearTraceError(f"{asked!r} may be {', or '.join(named)}{more}. Give more of it")
    return _told(asked, meanings[0], ledger, places)


def _told(asked: str, meaning: Meaning, ledger: LedgerReader, places: Places) -> Trace:
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
    exported = places.exported(pc.field("image_id").isin(sorted(ids))) if ids else []
    return Trace(
        asked=asked,
        kind=meaning.kind,
        what=meaning.what,
        found_by=meaning.found_by,
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
    # Reproductions stand apart: their attempts are negative and complete nothing.
    newest = max(
        (each for each in attempts if each.attempt > 0), key=lambda each: each.attempt, default=None
    )
    # Known from a release only: another machine's ledger would tell.
    elsewhere = not attempts and bool(releases)
    why = Explanation() if elsewhere else explain(newest, images, now=datetime.now(UTC))
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
        reason=why.reason,
        next_step=why.next_step,
    )
