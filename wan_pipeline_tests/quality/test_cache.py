"""The measurements: each image decoded once, by any number of runs at once, whatever breaks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.quality import cache as cache_module
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.labels import Label
from wan_pipeline.dataset.quality.measure import Measurement
from wan_pipeline.dataset.quality.measuring import measure_images
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline_tests.quality.pictures import encoded, scene

if TYPE_CHECKING:
    from pathlib import Path


def ids(start: int, count: int) -> list[str]:
    """Image ids."""
    return [f"{number:064x}" for number in range(start, start + count)]


def some(names: list[str]) -> dict[str, Measurement]:
    """Measurements that tell which image they are of."""
    return {
        name: Measurement(
            phash=2**64 - 1 - int(name, 16),
            contrast=int(name, 16) / 7,
            corner_contrast=0.0,
            labels=(Label.C2PA, Label.IPTC) if name.endswith("1") else (),
        )
        for name in names
    }


def stored(root: Path, count: int) -> dict[str, Path]:
    """Some images in a store."""
    store = ImageStore(root)
    images = [store.put(encoded(scene(number, (40, 30))), "png") for number in range(count)]
    return {image.image_id: root / image.path for image in images}


def test_what_was_added_is_got_back_exactly(tmp_path: Path) -> None:
    """Also by another process later; what is not known is absent."""
    known = some(ids(0, 20))
    MeasurementCache(tmp_path).add(known)
    found = MeasurementCache(tmp_path).get([*ids(5, 10), *ids(100, 3)])
    assert found == {name: known[name] for name in ids(5, 10)}
    assert MeasurementCache(tmp_path / "none").get(ids(0, 1)) == {}


def test_an_image_is_decoded_once_in_its_life(tmp_path: Path) -> None:
    """The second time its file may even be gone."""
    images, cache = stored(tmp_path, 5), MeasurementCache(tmp_path / "measurements")
    first = measure_images(images, cache)
    assert (first.decoded, len(first.known), first.problems) == (5, 5, {})
    for path in images.values():
        path.unlink()
    again = measure_images(images, MeasurementCache(tmp_path / "measurements"))
    assert again.decoded == 0
    assert again.known == first.known


def test_a_bad_file_is_named_and_tried_again(tmp_path: Path) -> None:
    """The others are measured; a file that was restored is, too."""
    images, cache = stored(tmp_path, 3), MeasurementCache(tmp_path / "measurements")
    name, path = next(iter(images.items()))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    found = measure_images(images, cache)
    assert (set(found.problems), found.decoded) == ({name}, 2)
    path.write_bytes(whole)
    again = measure_images(images, cache)
    assert (again.problems, again.decoded) == ({}, 1)


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Small parts are put together meanwhile, and readers find every measurement all the time."""
    first = some(ids(0, 40))
    MeasurementCache(tmp_path).add(first)

    def write(start: int) -> int:
        cache = MeasurementCache(tmp_path)
        for number in range(start, start + 12):
            cache.add(some(ids(number * 10, 10)))
        return len(MeasurementCache(tmp_path).get(first))

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(write, [100, 106, 112, 200]))
    assert seen == [len(first)] * 4
    wanted = [*ids(0, 40), *ids(1000, 240), *ids(2000, 120)]
    assert MeasurementCache(tmp_path).get(wanted) == some(wanted)
    parts = list((tmp_path / "v1").glob("*.parquet"))
    assert len(parts) < 2 * cache_module._MANY_PARTS


def test_a_damaged_part_costs_a_decode_and_nothing_else(tmp_path: Path) -> None:
    """It is taken away; everything can be measured again."""
    cache = MeasurementCache(tmp_path)
    cache.add(some(ids(0, 5)))
    (damaged,) = (tmp_path / "v1").glob("*.parquet")
    damaged.write_bytes(damaged.read_bytes()[:100])
    cache.add(some(ids(5, 5)))
    assert set(cache.get(ids(0, 10))) == set(ids(5, 5))
    assert not damaged.exists()


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    """Not swallowed: the next run would measure everything again, and the next."""
    (tmp_path / "v1").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="v1"):
        MeasurementCache(tmp_path).add(some(ids(0, 1)))
