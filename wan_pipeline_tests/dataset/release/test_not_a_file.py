"""What stands in the place of a release's file is told as what it is; links must not lead away."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.release.errors import DamagedReleaseError, StaleTableError
from wan_pipeline.dataset.release.manifest import FORMAT_VERSION, read_manifest
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.verify import verify_release
from wan_pipeline_tests.dataset.release.test_verify import image_of, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.dataset.release.verify import Difference
    from wan_pipeline_tests.dataset.release.conftest import Released
    from wan_pipeline_tests.dataset.release.workshop import Workshop


def elsewhere(path: Path) -> Path:
    """The file moved to where no release lies."""
    away = path.parents[len(path.parts) - 2 - path.parts.index("copy")] / "away"
    away.mkdir(exist_ok=True)
    return path.rename(away / path.name)


def _link(path: Path) -> None:
    path.symlink_to(elsewhere(path))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


INSTEAD: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a folder": (_folder, "not_a_file", "it is a folder, where a file must be"),
    "a pipe": (_pipe, "not_a_file", "it is a pipe, where a file must be"),
    "a loop": (_loop, "not_a_file", "it is a link that leads back to itself"),
    "a link to nothing": (_dangling, "missing", "it is a link to nowhere.png, where nothing is"),
    "a link out of the data": (_link, "outside", "it is reached by a link that leads out of"),
}


def difference(released: Released, path: str) -> Difference:
    """The only one, of that path."""
    (found,) = verify_release(released.releases, "toys").differences
    assert found.path == path
    return found


@pytest.mark.parametrize("what", INSTEAD)
@pytest.mark.parametrize("file", ["image", "events.parquet", "manifest.json"])
def test_what_is_there_instead_is_said(released: Released, file: str, what: str) -> None:
    """By verify and by who would open the release, for images, tables and the manifest."""
    release = open_release(released.releases, "toys")
    path = image_of(released) if file == "image" else f"releases/toys/v2/{file}"
    change, kind, says = INSTEAD[what]
    change(released.root / path)
    told = difference(released, path)
    assert (told.kind, told.says.startswith(says)) == (kind, True), told.says
    with pytest.raises(DamagedReleaseError) as refused:
        open_release(released.releases, "toys")
    assert says in str(refused.value)
    if file == "image":
        with pytest.raises(DamagedReleaseError, match="backup") as refused:
            release.read_image(path)
        assert says in str(refused.value)


def test_a_folder_of_images_that_leads_away_is_named(released: Released) -> None:
    """The bytes are the same, but not among the data."""
    path = image_of(released)
    _link((released.root / path).parent)
    assert [each.kind for each in verify_release(released.releases, "toys").differences] == [
        "outside"
    ]


@pytest.mark.parametrize("folder", [".", "images", "releases", "releases/toys", "releases/toys/v2"])
def test_a_folder_may_lie_on_another_disk(released: Released, folder: str) -> None:
    """As a link: the data folder, all images, all releases, one of them."""
    _link(released.root / folder)
    assert verify_release(released.releases, "toys").whole
    release = open_release(released.releases, "toys")
    for path in release.manifest.images:
        assert release.read_image(path)


def test_a_link_among_the_images_is_as_good_as_a_file(released: Released) -> None:
    """Programs that join equal files make such."""
    path = released.root / image_of(released)
    target = path.rename(path.with_name("other.png"))
    path.symlink_to(target)
    assert verify_release(released.releases, "toys").whole
    open_release(released.releases, "toys")


def test_nothing_is_released_that_lies_elsewhere(workshop: Workshop) -> None:
    """One file is one file."""
    path = min(workshop.layout.root.joinpath("images").rglob("*.png"))
    away = workshop.folder.parent / "away.png"
    shutil.move(path, away)
    path.symlink_to(away)
    with pytest.raises(StaleTableError, match=r"^1 image file is not what was stored: .*out of"):
        workshop.release("toys", "kites")


def test_a_later_format_asks_for_a_newer_package(released: Released) -> None:
    """Nothing is damaged, so no backup helps."""
    path = released.releases / "toys/v2/manifest.json"
    text = path.read_text(encoding="utf-8")
    path.chmod(0o644)
    path.write_text(
        text.replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99', 1),
        encoding="utf-8",
    )
    with pytest.raises(DamagedReleaseError, match="Install a newer wan_pipeline") as refused:
        open_release(released.releases, "toys")
    assert "backup" not in str(refused.value)
    told = difference(released, "releases/toys/v2/manifest.json")
    assert (told.kind, "99" in told.says) == ("newer", True)


def test_what_the_rows_and_the_manifest_disagree_on_is_counted(released: Released) -> None:
    """In words that can be read."""
    path = released.releases / "toys/v2/manifest.json"
    manifest = read_manifest(path)
    images = dict(manifest.images)
    images.popitem()
    counts = manifest.counts.model_copy(update={"images": 1})
    rewrite(path, images=images, counts=counts)
    rows, files = [each.says for each in verify_release(released.releases, "toys").differences]
    assert rows == f"its rows are {manifest.counts.images}, and the manifest says 1"
    assert files == (
        "its rows name other images than the manifest lists: the manifest lacks 1 of theirs, and"
        " lists 0 that no row names"
    )
