"""Making releases: whole or not at all, one number each, nothing that does not fit together."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.release import create as create_module
from wan_pipeline.dataset.release.manifest import read_manifest
from wan_pipeline.dataset.release.reader import Release, open_release
from wan_pipeline.dataset.release.reference import versions_of
from wan_pipeline.dataset.release.split import SplitRatios
from wan_pipeline.dataset.release.tables import RELEASE_IMAGES
from wan_pipeline.ledger import schema
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.dataset.release.toys import KITES
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png
from wan_pipeline_tests.release_fixture import picture

if TYPE_CHECKING:
    from wan_pipeline_tests.dataset.release.conftest import Released

KILLED_EVERYWHERE = """
import os, signal, sys
from pathlib import Path

from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.reference import versions_of
from wan_pipeline_tests.dataset.release.workshop import Workshop

TOUCHES = ("os.rename", "os.chmod", "os.mkdir", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
folder = Path(sys.argv[1])
releases = folder / "emulator" / "releases"

def release(dies_at):
    touched = 0

    def count(event, args):
        nonlocal touched
        touches = event in TOUCHES or event == "open" and args[2] & WRITES
        if touches and "/releases" in str(args[0]):
            touched += 1
            if touched == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    workshop = Workshop(folder)
    sys.addaudithook(count)
    workshop.release("toys", "trams")
    os._exit(0)

step, status = 0, None
while status != 0:
    step += 1
    child = os.fork()
    if child == 0:
        release(step)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, (step, status)
    found = versions_of(releases, "toys")
    for version in found:
        assert open_release(releases, f"toys@v{version}").manifest.counts.images == 2
print(step)
"""


def rows_of(release: Release) -> list[dict[str, Any]]:
    """All rows."""
    return [row for batch in release.rows() for row in batch.to_pylist()]


def test_a_release_holds_rows_purchases_events_and_says_so(workshop: Workshop) -> None:
    """Counts, money and columns; a purchase that two prompts share is in it once."""
    made = workshop.release("toys", "trams", "kites")
    assert made.new
    assert made.folder == workshop.layout.releases / "toys" / "v1"
    release = open_release(workshop.layout.releases, "toys")
    manifest = release.manifest
    assert manifest == made.manifest
    rows = rows_of(release)
    assert [row["prompt_set"] for row in rows] == ["kites"] * 6 + ["trams"] * 2
    assert (manifest.counts.images, manifest.counts.files, manifest.counts.requests) == (8, 7, 6)
    assert manifest.counts.prompts == 5  # kite is in both
    assert (manifest.cost.total_usd, manifest.cost.purchases) == (Decimal("0.21"), 6)
    assert manifest.cost.by_source == {"reported": Decimal("0.21")}
    assert sum(row["cost_usd"] for row in rows) == Decimal("0.21")
    assert (manifest.ledger.first_event, manifest.ledger.last_event) == (1, 18)
    assert pq.read_schema(release.folder / "images.parquet").equals(RELEASE_IMAGES)
    purchases = pq.read_table(release.folder / "purchases.parquet")
    events = pq.read_table(release.folder / "events.parquet")
    assert (purchases.num_rows, events.num_rows) == (6, 18)
    assert sum(purchases["cost_usd"].to_pylist()) == manifest.cost.total_usd
    assert sum(each.images for each in manifest.counts.by_split.values()) == 8
    assert [each.name for each in manifest.prompt_sets] == ["kites", "trams"]
    for row in rows:
        assert release.read_image(row["path"]) == release.image_path(row["path"]).read_bytes()
        assert row["quality_flags"] == []


def test_all_images_of_a_prompt_are_on_one_side(workshop: Workshop) -> None:
    """In every set; and it is told when prompts on different sides share a file."""
    made = workshop.release(
        "toys", "kites", "trams", ratios=SplitRatios(train="1", validation="1", test="1")
    )
    sides: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for row in rows_of(open_release(workshop.layout.releases, "toys")):
        sides.setdefault(row["prompt_id"], set()).add(row["split"])
        files.setdefault(row["path"], set()).add(row["split"])
    assert all(len(each) == 1 for each in sides.values())
    shared = sum(len(each) > 1 for each in files.values())
    assert made.manifest.counts.files_in_several_splits == shared


def test_released_again_nothing_is_made(workshop: Workshop) -> None:
    """Until something that is released changes."""
    workshop.release("toys", "kites")
    again = workshop.release("toys", "kites")
    assert (again.new, again.manifest.version) == (False, 1)
    assert workshop.release("toys", "kites", "trams").manifest.version == 2
    assert versions_of(workshop.layout.releases, "toys") == [1, 2]


def test_files_are_read_only_and_nothing_else_is_left(workshop: Workshop) -> None:
    """A release never changes."""
    folder = workshop.release("toys", "kites").folder
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(
        ("manifest.json", "images.parquet", "purchases.parquet", "events.parquet"), 0o444
    )
    assert [path.name for path in folder.parent.iterdir() if path.name != ".lock"] == ["v1"]


def test_quality_flags_come_from_the_quality_table(workshop: Workshop) -> None:
    """Where there is one: sets that were never checked are released without, and it is told."""
    workshop.judge("trams", near_duplicate_distance=0)
    thresholds = Thresholds(near_duplicate_distance=0)
    manifest = workshop.release("toys", "kites", "trams", thresholds=thresholds).manifest
    told = {
        (row["prompt_set"], tuple(row["quality_flags"]))
        for row in rows_of(open_release(workshop.layout.releases, "toys"))
    }
    assert told == {("kites", ()), ("trams", ("near_duplicate", "blank", "wrong_size"))}
    assert [each.quality_checked for each in manifest.prompt_sets] == [0, 2]
    assert manifest.counts.flagged == 2


def test_a_check_that_finds_nothing_is_a_change(tmp_path: Path) -> None:
    """The tables are the same; before nobody had looked, and now the manifest knows it."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", "prompt\nA red kite\n", paint=lambda *_: picture(1, "png"))
        workshop.change(sa.update(schema.images).values(width=1280, height=1280))
        workshop.publish("kites")
        assert workshop.release("toys", "kites").manifest.unchecked == {"kites": 1}
        workshop.judge("kites")
        second = workshop.release("toys", "kites")
        assert (second.new, second.manifest.unchecked) == (True, {})
        assert second.manifest.counts.flagged == 0
        assert not workshop.release("toys", "kites").new


def test_what_was_never_bought_is_left_out(tmp_path: Path) -> None:
    """The rows that are there are released, with the money that they cost."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES, leave=lambda row: row.prompt_id.startswith("twin"))
        manifest = workshop.release("toys", "kites").manifest
    assert (manifest.counts.images, manifest.cost.total_usd) == (4, Decimal("0.12"))


def test_a_retried_request_is_released_with_its_newest_images(tmp_path: Path) -> None:
    """And with that attempt's purchase and events only."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES)
        first = workshop.release("toys", "kites").manifest
        workshop.build("kites", KITES, attempt=2, paint=lambda row, at: tiny_png(f"{row} {at}"))
        second = workshop.release("toys", "kites").manifest
        purchases = pq.read_table(workshop.layout.releases / "toys/v2/purchases.parquet")
    assert set(purchases["attempt"].to_pylist()) == {2}
    assert first.cost == second.cost
    assert first.hashes.content != second.hashes.content


# --- at once, and killed ---


def test_two_at_once_get_a_number_each(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have written their tables before either has a number; never a mix."""
    ready = threading.Barrier(4, timeout=60)
    publish = create_module._publish

    def together(*args: Any) -> Any:
        ready.wait()
        return publish(*args)

    monkeypatch.setattr(create_module, "_publish", together)
    orders = (("kites",), ("trams",), ("kites", "trams"), ("trams",))
    made: list[Any] = []
    threads = [
        threading.Thread(target=lambda sets=sets: made.append(workshop.release("toys", *sets)))
        for sets in orders
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    new = [each for each in made if each.new]
    versions = versions_of(workshop.layout.releases, "toys")
    assert sorted(each.manifest.version for each in new) == versions
    assert versions in ([1, 2, 3], [1, 2, 3, 4])  # equal ones meet only when they follow each other
    for each in new:
        found = open_release(workshop.layout.releases, each.manifest.reference)
        assert {row["prompt_set"] for row in rows_of(found)} == {
            facts.name for facts in each.manifest.prompt_sets
        }


def test_a_number_that_is_taken_is_never_written_over(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even by who cannot see the lock."""
    first = workshop.release("toys", "kites").folder / "manifest.json"
    before = first.read_bytes()
    monkeypatch.setattr(create_module, "versions_of", lambda *_: [])
    assert workshop.release("toys", "trams").manifest.version == 2
    assert first.read_bytes() == before


@pytest.mark.slow
def test_kill_9_leaves_a_whole_release_or_none(workshop: Workshop) -> None:
    """Killed for real at every change of the folder of releases, one after another.

    Until one comes to its end: it finds what an earlier one finished, and no remains of any.
    """
    done = subprocess.run(
        [sys.executable, "-c", KILLED_EVERYWHERE, str(workshop.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15, done.stdout
    home = workshop.layout.releases / "toys"
    assert versions_of(workshop.layout.releases, "toys") == [1]
    assert list(home.glob(f"{TEMP_PREFIX}*")) == []


def test_the_manifest_can_be_read_without_this_package(released: Released) -> None:
    """It is JSON, and its hash is what its docstring says."""
    path = released.releases / "toys/v1/manifest.json"
    text = path.read_text()
    document = json.loads(text)
    told = document["hashes"]["manifest"]
    blank = text.replace(f'"manifest": "{told}"', f'"manifest": "{"0" * 64}"')
    done = subprocess.run(
        ["sha256sum"], input=blank.encode(), capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().split()[0] == told == read_manifest(path).hashes.manifest
    assert document["images"][0].keys() == {"path", "bytes", "sha256"}
    assert "settings" in document
    assert document["settings"] == {"base_seed": 0}
