"""May prompt sets be released? Whether all is there, and every image is what was stored."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.errors import (
    IncompleteSetError,
    ReleaseAccessError,
    ReleaseUsageError,
    StaleTableError,
)
from wan_pipeline.dataset.release.files import MAKE_READABLE, check_files
from wan_pipeline.dataset.release.manifest import image_hash
from wan_pipeline.dataset.release.regular import NO_ACCESS
from wan_pipeline.told import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wan_pipeline.dataset.release.sources import SetSource

__all__ = ["check_complete", "check_images", "no_image"]

NAMED = 5  # of what is wrong, in an error
# Only an unknown purchase has no next step of its own: a person decides what became of it.
_PERSON_DECIDES = "`wan reconcile`, then decide with `wan ledger adopt`, `release` or `write-off`"


def check_complete(sources: Sequence[SetSource], *, incomplete: bool) -> None:
    """Whether every request has its images, or somebody said that this is fine.

    Raises:
        ReleaseUsageError: there are no sets.
        IncompleteSetError: a set lacks requests and `incomplete` is false.
    """
    if not sources:
        raise ReleaseUsageError("name at least one prompt set to release. Nothing was made")
    missing = [(source.prompt_set, each) for source in sources for each in source.missing]
    if not missing or incomplete:
        return
    named = "; ".join(
        f"{prompt_set}, prompt {each.prompt_id}: {each.state} ({each.reason})"
        for prompt_set, each in missing[:NAMED]
    )
    more = f"; and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    raise IncompleteSetError(
        f"{_counted(len(missing))}: {named}{more}. What to do: {_steps(sources)}. Or `--incomplete`"
        " releases without them, and the manifest names each. Nothing was made"
    )


def no_image(sources: Sequence[SetSource]) -> ReleaseUsageError:
    """That sets were built and have no image all the same, why, and what to do."""
    sets = ", ".join(sorted(source.prompt_set for source in sources))
    if missing := sum(len(source.missing) for source in sources):
        why = f"{_counted(missing)}. What to do: {_steps(sources)}"
    else:
        why = (
            "their tasks ended and brought none. Change the rows, so that they are bought as new"
            " ones, or name other sets"
        )
    return ReleaseUsageError(f"there is no image of {sets} to release: {why}. Nothing was made")


def _counted(missing: int) -> str:
    return f"{counted(missing, 'request')} {'is' if missing == 1 else 'are'} not complete"


def _steps(sources: Sequence[SetSource]) -> str:
    """What brings the missing requests further: each way once, the most frequent first."""
    ways = Counter(
        source.next_steps.get(each.request_id) or _PERSON_DECIDES
        for source in sources
        for each in source.missing
    ).most_common()
    if len(ways) == 1:
        return ways[0][0]
    told = "; ".join(f"for {count}, {step}" for step, count in ways[:NAMED])
    rest = sum(count for _, count in ways[NAMED:])
    return f"{told}; for {rest} more, see `wan trace PROMPT`" if rest else told


def check_images(data_root: Path, images: Mapping[str, int]) -> None:
    """Whether every image file has the bytes of its name.

    Args:
        data_root: what paths are relative to.
        images: length by path.

    Raises:
        StaleTableError: one has not.
        ReleaseAccessError: this user may not read them.
    """
    files = ((path, length, image_hash(path)) for path, length in sorted(images.items()))
    if wrong := list(check_files(data_root, files)):
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        named = f"{'; '.join(map(str, wrong[:NAMED]))}{more}"
        if all(each.kind == NO_ACCESS for each in wrong):
            raise ReleaseAccessError(f"{named}. {MAKE_READABLE}, then run again. Nothing was made")
        count = "1 image file is" if len(wrong) == 1 else f"{len(wrong)} image files are"
        raise StaleTableError(
            f"{count} not what was stored: {named}. Restore what is damaged from a backup; `wan"
            " reconcile --deep` fetches again what the provider still has. Nothing was made"
        )
