"""Hold what a reproduction brought against what the release has, image by image.

Equal bytes are equal pictures. Others are compared by their perceptual hashes, both computed now by
the same code, so that a new version of the hash or of a decoder is never taken for drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.dataset.metadata_rows import share_cost
from wan_pipeline.dataset.quality.measuring import measure_images
from wan_pipeline.dataset.quality.phash import to_hex
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from wan_pipeline.dataset.quality.cache import MeasurementCache
    from wan_pipeline.dataset.quality.measuring import Measured
    from wan_pipeline.dataset.release.reader import Release
    from wan_pipeline.dataset.reproduction.sample import ReleasedImage, ReleasedRequest, Sample
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["DRIFTED", "DriftRow", "DriftRule", "Outcome", "compare"]

_OF_BOTH_SIDES = ("image_id", "path", "width", "height", "bytes")
NOT_BOUGHT = "not_bought"  # the state of a request that the series has not bought


class Outcome(StrEnum):
    """What came of one image of the sample.

    Attributes:
        IDENTICAL: the same bytes.
        ALIKE: other bytes, and hashes within the distance.
        CHANGED: hashes farther apart than the distance.
        RESIZED: a picture of another size.
        MISSING: the request is complete, and brought fewer images than before.
        EXTRA: the request brought an image that the release has not.
        UNDECODABLE: one of the two is no picture that can be compared.
        NOT_BROUGHT: the request is not complete; the column `state` says how far it is.
    """

    IDENTICAL = "identical"
    ALIKE = "alike"
    CHANGED = "changed"
    RESIZED = "resized"
    MISSING = "missing"
    EXTRA = "extra"
    UNDECODABLE = "undecodable"
    NOT_BROUGHT = "not_brought"


DRIFTED = frozenset({Outcome.CHANGED, Outcome.RESIZED, Outcome.MISSING})
COMPARED = DRIFTED | {Outcome.IDENTICAL, Outcome.ALIKE}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """What counts as drift.

    Attributes:
        distance: bits of 64 in which hashes may differ.
        share: of the images that count, how many may have drifted.
        count_rewritten: whether images of rewritten prompts count, too.
    """

    distance: int
    share: float
    count_rewritten: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One image of the sample; columns are described in `table.DRIFT`."""

    request_id: str
    image_index: int
    prompt_id: str
    prompt: str
    seed: int
    size: str
    outcome: Outcome
    rewritten: bool
    counted: bool
    drifted: bool
    distance: int | None
    state: str
    problem: str | None
    old_image_id: str | None
    new_image_id: str | None
    old_path: str | None
    new_path: str | None
    old_phash: str | None
    new_phash: str | None
    old_width: int | None
    old_height: int | None
    new_width: int | None
    new_height: int | None
    old_bytes: int | None
    new_bytes: int | None
    old_cost_usd: Decimal | None
    new_cost_usd: Decimal | None
    old_task_id: str
    new_task_id: str | None
    old_created_at: datetime
    new_created_at: datetime | None
    attempt: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """An image of the release and what came for it, either of which may be absent."""

    released: ReleasedRequest
    index: int
    old: ReleasedImage | None
    new: ImageRecord | None
    cost_usd: Decimal | None
    purchase: Purchase | None
    lost: bool


def compare(
    sample: Sample,
    *,
    release: Release,
    ledger: LedgerReader,
    series: str,
    cache: MeasurementCache,
    rule: DriftRule,
) -> list[DriftRow]:
    """Compare a sample with what a series has brought of it so far.

    Args:
        sample: of the release.
        release: where the old images are.
        ledger: where the new ones are written down.
        series: its name.
        cache: measurements of images.
        rule: what counts as drift.

    Returns:
        One row per image of either side, in the order of the sample.

    Raises:
        DamagedReleaseError: an image is none of the release's.
        LedgerUnavailableError: the ledger cannot be read.
        OSError: measurements cannot be kept.
    """
    ids = [each.request.request_id for each in sample.requests]
    purchases = ledger.purchases(ids, series=series)
    images = ledger.images(ids, series=series)
    lost = ledger.requests_with_lost_images(ids, series=series)
    pairs = [
        pair
        for released, request_id in zip(sample.requests, ids, strict=True)
        for pair in _pairs(
            released,
            purchases.get(request_id),
            images.get(request_id, []),
            lost=request_id in lost,
        )
    ]
    measured = measure_images(dict(_different(pairs, release)), cache)
    return [_row(pair, measured, rule) for pair in pairs]


def _pairs(
    released: ReleasedRequest,
    purchase: Purchase | None,
    records: Sequence[ImageRecord],
    *,
    lost: bool,
) -> Iterator[_Pair]:
    """The images of one request, of both sides, by index."""
    old = {each.image_index: each for each in released.images}
    new = {each.image_index: each for each in records if each.state is ImageState.STORED}
    cost = purchase.cost_usd if purchase else None
    shares = dict(zip(sorted(new), share_cost(cost, len(new)), strict=True)) if cost and new else {}
    for index in sorted(old.keys() | new.keys()):
        yield _Pair(
            released=released,
            index=index,
            old=old.get(index),
            new=new.get(index),
            cost_usd=shares.get(index),
            purchase=purchase,
            lost=lost,
        )


def _different(pairs: Sequence[_Pair], release: Release) -> Iterator[tuple[str, Path]]:
    """Image ids and files of those pairs whose bytes differ."""
    for pair in pairs:
        if pair.old and pair.new and pair.old.image_id != pair.new.image_id:
            assert pair.new.path is not None, "a stored image has one"  # noqa: S101
            assert pair.new.image_id is not None, "a stored image has one"  # noqa: S101
            yield pair.old.image_id, release.image_path(pair.old.path)
            yield pair.new.image_id, release.data_root / pair.new.path


def _row(pair: _Pair, measured: Measured, rule: DriftRule) -> DriftRow:
    old, new, purchase, request = pair.old, pair.new, pair.purchase, pair.released.request
    ids = (old.image_id if old else None, new.image_id if new else None)
    hashes = {each: measured.known[each].phash for each in ids if each and each in measured.known}
    distance = _distance(pair, hashes)
    outcome = _outcome(pair, distance, rule)
    rewritten = _rewritten(pair)
    counted = outcome in COMPARED and (rule.count_rewritten or not rewritten)
    return DriftRow(
        request_id=request.request_id,
        image_index=pair.index,
        prompt_id=pair.released.prompt_id,
        prompt=request.prompt,
        seed=request.seed,
        size=request.size,
        outcome=outcome,
        rewritten=rewritten,
        counted=counted,
        drifted=counted and outcome in DRIFTED,
        distance=distance,
        state=_state(pair),
        problem=_problem(pair, outcome, measured.problems),
        old_phash=_hex(hashes, ids[0]),
        new_phash=_hex(hashes, ids[1]),
        **{f"old_{name}": getattr(old, name) if old else None for name in _OF_BOTH_SIDES},
        **{f"new_{name}": getattr(new, name) if new else None for name in _OF_BOTH_SIDES},
        old_cost_usd=old.cost_usd if old else None,
        new_cost_usd=pair.cost_usd,
        old_task_id=pair.released.task_id,
        new_task_id=purchase.task_id if purchase else None,
        old_created_at=pair.released.created_at,
        new_created_at=purchase.created_at if purchase else None,
        attempt=purchase.attempt if purchase else None,
    )


def _distance(pair: _Pair, hashes: Mapping[str, int]) -> int | None:
    """Bits in which the hashes differ; None where there is nothing to compare."""
    old, new = pair.old and pair.old.image_id, pair.new and pair.new.image_id
    if old is None or new is None:
        return None
    if old == new:
        return 0
    if old in hashes and new in hashes:
        return (hashes[old] ^ hashes[new]).bit_count()
    return None


def _outcome(pair: _Pair, distance: int | None, rule: DriftRule) -> Outcome:
    old, new = pair.old, pair.new
    if new is None:
        complete = pair.purchase is not None and pair.purchase.state is PurchaseState.STORED
        return Outcome.MISSING if complete and not pair.lost else Outcome.NOT_BROUGHT
    if old is None:
        return Outcome.EXTRA
    if old.image_id == new.image_id:
        return Outcome.IDENTICAL
    if (old.width, old.height) != (new.width, new.height):
        return Outcome.RESIZED
    if distance is None:
        return Outcome.UNDECODABLE
    return Outcome.CHANGED if distance > rule.distance else Outcome.ALIKE


def _rewritten(pair: _Pair) -> bool:
    """Whether the model may have been given another prompt than at the time."""
    if not pair.released.request.prompt_extend:
        return False
    then, now = pair.released.actual_prompt, pair.purchase and pair.purchase.actual_prompt
    return then is None or then != now


def _state(pair: _Pair) -> str:
    if pair.purchase is None or pair.purchase.state is PurchaseState.PLANNED:
        return NOT_BOUGHT
    if pair.purchase.state is PurchaseState.STORED and pair.lost:
        return "lost"
    return pair.purchase.state.value


def _problem(pair: _Pair, outcome: Outcome, problems: Mapping[str, str]) -> str | None:
    if outcome is Outcome.UNDECODABLE:
        sides = (("old", pair.old and pair.old.image_id), ("new", pair.new and pair.new.image_id))
        told = (
            f"{name}: {problems[image_id]}"
            for name, image_id in sides
            if image_id is not None and image_id in problems
        )
        return "; ".join(told) or None
    return (pair.purchase.problem or None) if pair.purchase else None


def _hex(hashes: Mapping[str, int], image_id: str | None) -> str | None:
    return to_hex(hashes[image_id]) if image_id is not None and image_id in hashes else None
