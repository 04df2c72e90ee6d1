"""Are the images of a sample what was released? Looked at before anything is bought.

A comparison speaks of the release only while its files are those that it names. And an image that
comes out equal would be stored in the place of a damaged file, which nobody would have noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseAccessError
from wan_pipeline.dataset.release.files import MAKE_READABLE, check_files
from wan_pipeline.dataset.release.regular import NO_ACCESS

if TYPE_CHECKING:
    from wan_pipeline.dataset.release.reader import Release
    from wan_pipeline.dataset.reproduction.sample import Sample

__all__ = ["require_whole"]

NAMED = 3  # of the files that are wrong, in the error


def require_whole(sample: Sample, release: Release) -> None:
    """Hash every image of a sample.

    Args:
        sample: of the release.
        release: where its images are.

    Raises:
        DamagedReleaseError: a file is missing or has other bytes; the message names it.
        ReleaseAccessError: this user may not read one.
    """
    images = {each.path: each for request in sample.requests for each in request.images}
    for path in images:
        release.image_path(path)  # a path that the manifest does not list leads nowhere
    expected = ((path, each.bytes, each.image_id) for path, each in sorted(images.items()))
    wrong = list(check_files(release.data_root, expected))
    if not wrong:
        return
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    if all(each.kind == NO_ACCESS for each in wrong):
        raise ReleaseAccessError(
            f"the sample cannot be read: {'; '.join(map(str, wrong[:NAMED]))}{more}."
            f" {MAKE_READABLE}. Nothing was sent"
        )
    raise DamagedReleaseError(
        f"{len(wrong)} of the sample's {len(images)} files are not those that {release.reference}"
        f" released: {'; '.join(map(str, wrong[:NAMED]))}{more}. Restore them from a backup, or let"
        " `wan reconcile --deep` fetch again what the provider still has; `wan release verify"
        f" {release.reference}` names every damaged file. Nothing was sent"
    )
