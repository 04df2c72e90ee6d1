"""Measure many images: what is known is looked up, the rest is decoded in a few threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wan_pipeline.dataset.pixels import UndecodableError
from wan_pipeline.dataset.quality.measure import Measurement, measure_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wan_pipeline.dataset.quality.cache import MeasurementCache

__all__ = ["Measured", "measure_images"]

_WORKERS = min(4, os.cpu_count() or 1)
# So many are lost at most when the process is killed: some seconds of decoding.
_KEPT_TOGETHER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What `measure_images` found.

    Attributes:
        known: measurement by image id.
        problems: what is wrong by image id, where there is none.
        decoded: images decoded now; the rest was known.
    """

    known: Mapping[str, Measurement] = field(default_factory=dict[str, Measurement])
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    decoded: int = 0


def measure_images(
    images: Mapping[str, Path], cache: MeasurementCache, *, workers: int = _WORKERS
) -> Measured:
    """Measure images that are not known yet; a bad file is named, the others go on.

    What cannot be measured is tried again each time: its file may have been restored.

    Args:
        images: file by image id.
        cache: what is known; added to as it goes.
        workers: threads, each holding one decoded image (10 MB at 1440*1440 pixels).

    Raises:
        OSError: the measurements cannot be read or kept.
    """
    known = cache.get(images)
    missing = sorted(set(images) - set(known))
    problems: dict[str, str] = {}
    pool = ThreadPoolExecutor(workers, thread_name_prefix="measure")
    try:
        for start in range(0, len(missing), _KEPT_TOGETHER):
            batch = missing[start : start + _KEPT_TOGETHER]
            new: dict[str, Measurement] = {}
            attempts = pool.map(_attempt, (images[each] for each in batch), batch)
            for image_id, result in zip(batch, attempts, strict=True):
                if isinstance(result, str):
                    problems[image_id] = result
                else:
                    new[image_id] = result
            cache.add(new)
            known.update(new)
    finally:
        pool.shutdown(cancel_futures=True)
    return Measured(known=known, problems=problems, decoded=len(missing) - len(problems))


def _attempt(path: Path, image_id: str) -> Measurement | str:
    """The measurement, or what is wrong with the file."""
    try:
        return measure_file(path, image_id)
    except UndecodableError as error:
        return str(error)
