"""Releases as tables and as JSON."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.purchases import moment
from wan_pipeline.cli.screen import printable, warn
from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseAccessError
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.reference import every_version
from wan_pipeline.dataset.release.regular import NO_ACCESS
from wan_pipeline.dataset.release.remedy import Remedy
from wan_pipeline.told import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from rich.console import Console

    from wan_pipeline.dataset.release.manifest import Manifest
    from wan_pipeline.dataset.release.reader import Release
    from wan_pipeline.dataset.release.verify import Difference, VerifyReport

__all__ = [
    "advice_on",
    "as_json",
    "created_as_json",
    "listed",
    "releases_table",
    "show_release",
    "verified_as_json",
    "worst_of",
]

HASH_DIGITS = 12
SHOWN_MISSING = 20
MEGABYTE = 10**6
ADVICE = {
    Remedy.MOVE_BACK: (
        "Move a folder that holds the manifest of another version back to where that version was;"
        " if it is still there, this is a copy: move it out of the releases."
    ),
    Remedy.LOOK_UP: (
        "Look up of which release the expected hash is (`wan release list --json` tells each), and"
        " name that one; if it was noted of this one, the release was rewritten: restore all of it"
        " from a backup."
    ),
    Remedy.PUT_THERE: "Put the file itself where a link leads out of the data.",
    Remedy.MOVE_AWAY: "Move away what the manifest does not list.",
    Remedy.UPGRADE: "Install a newer wan_pipeline for what it wrote.",
    Remedy.LET_READ: (
        "Let this user read what it may not read, and enter the folders above it (`ls -ld` tells"
        " who may), then verify again."
    ),
}


def listed(releases_dir: Path) -> list[dict[str, Any]]:
    """What the manifests say, one entry per version.

    A manifest or table that is damaged, or that this user may not read, is told as its `problem`.
    """
    found: list[dict[str, Any]] = []
    for reference in every_version(releases_dir):
        entry: dict[str, Any] = {"release": reference}
        try:
            release = open_release(releases_dir, reference, lengths=False)
        except (DamagedReleaseError, ReleaseAccessError) as error:
            damaged = isinstance(error, DamagedReleaseError)
            found.append({**entry, "problem": str(error), "damaged": damaged})
        else:
            found.append({**entry, **_in_short(release.manifest)})
    return found


def _in_short(manifest: Manifest) -> dict[str, Any]:
    return {
        "created_at": manifest.created_at.isoformat(),
        "prompt_sets": [each.name for each in manifest.prompt_sets],
        "images": manifest.counts.images,
        "prompts": manifest.counts.prompts,
        "file_bytes": manifest.counts.file_bytes,
        "cost_usd": f"{manifest.cost.total_usd:f}",
        "complete": manifest.complete,
        "content": manifest.hashes.content,
        "manifest": manifest.hashes.manifest,
    }


def releases_table(found: list[dict[str, Any]], *, profile: str) -> Table:
    """One row per version."""
    table = Table(title=f"releases of profile {profile}", title_justify="left", header_style="bold")
    for heading in ("release", "created", "images", "prompts", "MB", "cost USD"):
        table.add_column(heading, no_wrap=True)
    table.add_column("prompt sets", overflow="fold")
    for each in found:
        if "problem" in each:
            word = "damaged" if each["damaged"] else "not readable"
            table.add_row(each["release"], *[""] * 5, word, style="red")
            continue
        note = "" if each["complete"] else " (incomplete)"
        table.add_row(
            each["release"],
            f"{each['created_at'][:16].replace('T', ' ')}Z",
            f"{each['images']:,}",
            f"{each['prompts']:,}",
            f"{each['file_bytes'] / MEGABYTE:,.1f}",
            each["cost_usd"],
            printable(", ".join(each["prompt_sets"]) + note),
        )
    return table


def as_json(release: Release) -> dict[str, Any]:
    """Everything that the manifest says, but for the long list of image files."""
    return {
        "release": release.reference,
        "folder": str(release.folder),
        **release.manifest.model_dump(mode="json", exclude={"images"}),
    }


def created_as_json(release: Release, *, new: bool) -> dict[str, Any]:
    """The same, and whether it was made just now."""
    return {"new": new, **as_json(release)}


def verified_as_json(report: VerifyReport) -> dict[str, Any]:
    """What was found."""
    return {
        "release": report.reference,
        "whole": report.whole,
        "folder": str(report.folder),
        "content": report.content_hash,
        "manifest": report.manifest_hash,
        "files": report.files,
        "bytes": report.bytes,
        "differences": [
            {"kind": each.kind, "path": each.path, "says": each.says} for each in report.differences
        ],
    }


def worst_of(kinds: Collection[str]) -> ExitCode:
    """The exit code for kinds of differences: what this user may not read need not be damaged."""
    if not kinds:
        return ExitCode.COMPLETE
    return ExitCode.USAGE if set(kinds) == {NO_ACCESS} else ExitCode.INCOMPLETE


def advice_on(differences: Iterable[Difference]) -> str:
    """What to do about differences, once for all that the same helps against."""
    found = {each.remedy for each in differences}
    told = [_restore(found)] if found & {Remedy.RESTORE, Remedy.FETCH} else []
    return " ".join([*told, *(says for remedy, says in ADVICE.items() if remedy in found)])


def _restore(found: Collection[Remedy]) -> str:
    """Where what is damaged can be had: the provider has no tables, and a new version no images."""
    if Remedy.FETCH in found:
        return (
            "Restore what is damaged from a backup; `wan reconcile --deep` fetches images again"
            " that the provider still has."
        )
    return "Restore what is damaged from a backup, or make a new version with `wan release create`."


def show_release(console: Console, release: Release) -> None:
    """A release on the terminal: facts, prompt sets, what is missing."""
    manifest = release.manifest
    table = Table(title=release.reference, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(release):
        table.add_row(name, printable(value))
    console.print(table)
    console.print(_sets_table(manifest))
    if manifest.unchecked:
        warn(console, _unchecked(manifest))
    shared = manifest.counts.files_in_several_splits
    if shared:
        warn(
            console,
            f"{counted(shared, 'image file')} on several sides of the split: prompts with different"
            " ids share image files. Give such prompts one id, or leave all but one of them out",
        )
    missing = [(facts.name, each) for facts in manifest.prompt_sets for each in facts.missing]
    for prompt_set, each in missing[:SHOWN_MISSING]:
        warn(
            console,
            f"missing: {prompt_set}, prompt {each.prompt_id}, request"
            f" {each.request_id[:HASH_DIGITS]}: {each.state} ({each.reason})",
        )
    if len(missing) > SHOWN_MISSING:
        warn(console, f"and {len(missing) - SHOWN_MISSING} more; `--json` lists them all")


def _facts(release: Release) -> list[tuple[str, str]]:
    manifest = release.manifest
    counts, price = manifest.counts, manifest.price
    return [
        ("created", f"{moment(manifest.created_at)} by wan_pipeline {manifest.code_version}"),
        ("profile", manifest.profile),
        (
            "images",
            (
                f"{counts.images:,} of {_count(counts.prompts, 'prompt')};"
                f" {_count(counts.files, 'file')},"
                f" {counts.file_bytes / MEGABYTE:,.1f} MB"
            ),
        ),
        (
            "split",
            ", ".join(
                f"{side} {share}: {_count(counts.by_split[side].images, 'image')} of"
                f" {_count(counts.by_split[side].prompts, 'prompt')}"
                for side, share in manifest.split.items()
            ),
        ),
        ("flagged", _flagged(manifest)),
        (
            "cost",
            f"{usd(manifest.cost.total_usd)} for {_count(manifest.cost.purchases, 'purchase')}",
        ),
        ("price", "not known" if price.usd_per_image is None else f"{price.source}"),
        (
            "ledger",
            f"events {manifest.ledger.first_event:,} to {manifest.ledger.last_event:,}",
        ),
        ("content", manifest.hashes.content),
        ("manifest", manifest.hashes.manifest),
        ("folder", str(release.folder)),
    ]


def _flagged(manifest: Manifest) -> str:
    """What the quality checks found, and of how many images where they have not seen all."""
    counts, unchecked = manifest.counts, sum(manifest.unchecked.values())
    if unchecked and unchecked == counts.images:
        return "not known: no image was checked"
    of_those = f", of the {counts.images - unchecked:,} that were checked" if unchecked else ""
    return f"{_count(counts.flagged, 'image')} by the quality checks{of_those}"


def _unchecked(manifest: Manifest) -> str:
    """How many images no quality check has seen, and how to have them checked."""
    unchecked = manifest.unchecked
    return (
        f"{sum(unchecked.values()):,} of {_count(manifest.counts.images, 'image')} were released"
        f" without a quality check ({', '.join(unchecked)}): `wan run {shlex.join(unchecked)}`"
        " checks them, free when nothing is missing; then `wan release create` makes a version"
        " that knows their flags"
    )


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _sets_table(manifest: Manifest) -> Table:
    table = Table(title="prompt sets", title_justify="left", header_style="bold")
    for heading in ("set", "file", "prompts", "requests", "images", "missing", "rejected"):
        table.add_column(heading, overflow="fold", no_wrap=heading not in {"set", "file"})
    for each in manifest.prompt_sets:
        told = (
            each.name,
            each.file,
            f"{each.prompts:,}",
            f"{each.requests:,}",
            f"{each.images:,}",
            f"{len(each.missing):,}",
            f"{each.rejections:,}",
        )
        table.add_row(*map(printable, told))
    return table
