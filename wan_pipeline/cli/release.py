"""`wan release`: make, list, show, verify, compare and export immutable versions of prompt sets."""

from __future__ import annotations

import json
import re
import shlex
from typing import Annotated

import typer

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import explained, say_why
from wan_pipeline.cli.export import export
from wan_pipeline.cli.screen import open_console, say, warn
from wan_pipeline.prompts.sets import scan
from wan_pipeline.settings import Settings

__all__ = ["release"]

release = typer.Typer(
    help="Fix prompt sets as a version that never changes, with the SHA-256 of every file.\n\n"
    "A release is named like faces, its versions faces@v1, faces@v2, ...; the name alone means the"
    " newest one. It lies in data/<profile>/releases/; image files stay where they are.",
    no_args_is_help=True,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE", help="Name, for the newest version, or name@v3.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")]

HASH = re.compile(r"[0-9a-fA-F]{64}")


@release.command()
def create(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Lower-case letters, digits, dot, underscore, hyphen. The version is counted.",
            show_default=False,
        ),
    ],
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...", help="Prompt sets; every set that was built when none is named."
        ),
    ] = None,
    *,
    split: Annotated[
        str,
        typer.Option(
            metavar="TRAIN/VALIDATION/TEST",
            help="Shares of the three sides, with up to 9 digits before and after the point. All"
            " images of a prompt are on one side, which depends on the prompt's id and on nothing"
            " else. Other shares make a new version.",
        ),
    ] = "0.9/0.05/0.05",
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Release sets with failed, unknown or missing requests all the same; the manifest"
            " names each of them.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the next version: name@v1, then name@v2, and so on. Buys nothing.

    Prompt file, tables, ledger and image files are held against each other first, and every image
    is hashed. When the newest version says the same, nothing is made and that one is named.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.session import Session  # noqa: PLC0415  imports Dagster
        from wan_pipeline.dataset.release.reader import open_release  # noqa: PLC0415  pyarrow
        from wan_pipeline.dataset.release.reference import checked_name  # noqa: PLC0415
        from wan_pipeline.dataset.release.split import SplitRatios  # noqa: PLC0415

        settings = Settings()
        checked_name(name)
        ratios = SplitRatios.parse(split)
        order = {"name": name, "sets": sets or [], "split": split, "incomplete": incomplete}
        with Session(settings, console=console) as session:
            outcome, told = session.make_release(order)
        if not outcome.success:
            raise typer.Exit(say_why(console, outcome, interrupted="No release was made."))
        made = open_release(settings.layout.releases, told["release"])
    from wan_pipeline.cli.released import created_as_json, show_release  # noqa: PLC0415

    inside = {each.name for each in made.manifest.prompt_sets}
    if not sets and (outside := sorted(set(scan(settings.layout.prompts_dir).sets) - inside)):
        warn(
            console,
            f"not in it, since not built yet: {', '.join(outside)}. `wan run {shlex.join(outside)}`"
            " builds them, or says why a file has no usable row",
        )
    if as_json:
        typer.echo(json.dumps(created_as_json(made, new=bool(told["new"])), indent=2))
        return
    if not told["new"]:
        held = SplitRatios(**made.manifest.split)
        also = "" if str(held) == str(ratios) else f", the same as {ratios}"
        warn(
            console,
            f"nothing has changed since {made.reference}, whose split is {held}{also}, so no new"
            " version was made",
        )
    show_release(console, made)


@release.command("list")
def list_releases(*, as_json: AsJson = False) -> None:
    """List every version of every release; a damaged one is told, and is exit code 3.

    Exit code 2 where this user may only not read one. Manifest and tables are hashed; `wan release
    verify` reads the images, too.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.released import listed, releases_table  # noqa: PLC0415  pyarrow

        settings = Settings()
        found = listed(settings.layout.releases)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        console.print(releases_table(found, profile=settings.profile.value))
        for each in found:
            if "problem" in each:
                say(console, f"{each['release']}: {each['problem']}")
    else:
        warn(
            console,
            f"no release in {settings.layout.releases} yet: `wan release create NAME` makes one",
        )
    if wrong := [each["damaged"] for each in found if "problem" in each]:
        raise typer.Exit(ExitCode.INCOMPLETE if any(wrong) else ExitCode.USAGE)


@release.command()
def show(name: Name, *, as_json: AsJson = False) -> None:
    """Show what a release holds, where it came from and what it cost.

    Refuses one whose manifest, tables or images' lengths are not as released.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.released import as_json as shown  # noqa: PLC0415  imports pyarrow
        from wan_pipeline.cli.released import show_release  # noqa: PLC0415
        from wan_pipeline.dataset.release.reader import open_release  # noqa: PLC0415

        found = open_release(Settings().layout.releases, name)
    if as_json:
        typer.echo(json.dumps(shown(found), indent=2))
    else:
        show_release(console, found)


@release.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RELEASE]...",
            help="Names or name@v3; every version of every release when none is given.",
        ),
    ] = None,
    *,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="HASH",
            help="The manifest hash as you noted it elsewhere; for one release. Tells a release"
            " that was rewritten whole, manifest and all.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hash every file again and name each difference; exit code 3 when there is one.

    Exit code 2 where all that is wrong is that this user may not read files.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.released import (  # noqa: PLC0415  imports pyarrow
            advice_on,
            verified_as_json,
            worst_of,
        )
        from wan_pipeline.dataset.release.cells import shortened  # noqa: PLC0415
        from wan_pipeline.dataset.release.errors import ReleaseUsageError  # noqa: PLC0415
        from wan_pipeline.dataset.release.reference import every_version  # noqa: PLC0415
        from wan_pipeline.dataset.release.verify import verify_release  # noqa: PLC0415

        folder = Settings().layout.releases
        wanted = list(dict.fromkeys(names or every_version(folder)))
        if expect is not None and not HASH.fullmatch(expect):
            raise ReleaseUsageError(
                f"--expect is the hash of a manifest, 64 hex digits, and {shortened(expect)} is"
                " none: `wan release show NAME` tells it. Nothing was verified"
            )
        if expect is not None and len(wanted) != 1:
            raise ReleaseUsageError("--expect is one release's hash: name that release")
        reports = [verify_release(folder, each, expected=expect) for each in wanted]
    if as_json:
        typer.echo(json.dumps([verified_as_json(each) for each in reports], indent=2))
    if not reports:
        warn(console, f"no release in {folder} yet: nothing was verified")
    for report in reports:
        if report.whole and not as_json:
            console.print(
                f"{report.reference} is whole: {report.files} files, {report.bytes:,} bytes,"
                f" manifest {report.manifest_hash}"
            )
        for each in report.differences:
            say(console, f"{report.reference}: {each.path}: {each.says}")
    if differences := [each for report in reports for each in report.differences]:
        say(console, advice_on(differences))
        raise typer.Exit(worst_of({each.kind for each in differences}))


@release.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Name or name@v3.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same; what A became.")],
    *,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown of each kind.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare two releases: images added, removed, made anew; other changes; what it cost.

    Refuses one whose manifest, tables or images' lengths are not as released.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.diffed import diff_as_json, show_diff  # noqa: PLC0415  pyarrow
        from wan_pipeline.dataset.release.diff import diff_releases  # noqa: PLC0415
        from wan_pipeline.dataset.release.reader import open_release  # noqa: PLC0415

        folder = Settings().layout.releases
        found = diff_releases(open_release(folder, before), open_release(folder, after))
    if as_json:
        typer.echo(json.dumps(diff_as_json(found), indent=2, default=str))
    else:
        show_diff(console, found, limit=limit)


release.command()(export)
