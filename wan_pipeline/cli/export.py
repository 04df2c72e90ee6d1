"""`wan release export`: a release in the forms that training code reads."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003  typer reads annotations at run time
from typing import Annotated, Any

import typer

from wan_pipeline.cli.explained import explained, say_why
from wan_pipeline.cli.screen import open_console, warn
from wan_pipeline.dataset.exports.terms import DEFAULT_SHARD_MB, BytesMode, checked_licence
from wan_pipeline.settings import Settings
from wan_pipeline.told import counted

__all__ = ["export"]


class Layout(StrEnum):
    """What can be asked for."""

    PARQUET = "parquet"
    IMAGEFOLDER = "imagefolder"
    WEBDATASET = "webdataset"
    ALL = "all"


def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RELEASE", help="Name, for the newest version, or name@v3.", show_default=False
        ),
    ],
    *,
    layout: Annotated[
        Layout,
        typer.Option(
            "--format",
            help="parquet: Hugging Face tables with the images in them; imagefolder: image files"
            " and a table; webdataset: tar shards; all: each of them.",
        ),
    ] = Layout.PARQUET,
    mode: Annotated[
        BytesMode,
        typer.Option(
            "--bytes",
            help="marked: the files say in their metadata that a model made them, and are signed"
            " when WAN_C2PA_CERTIFICATE is set; original: as received. Pixels are never touched.",
        ),
    ] = BytesMode.MARKED,
    shard_mb: Annotated[
        int, typer.Option(min=1, help="A shard is closed before it grows beyond this.")
    ] = DEFAULT_SHARD_MB,
    licence: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Licence of the images for the dataset card, such as cc-by-4.0. It is yours to"
            " state; unknown without it.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write to, instead of data/<profile>/exports/<name>-v<N>. Each format"
            " has a folder of its own in it. An older export there is replaced, unless it"
            " holds files of yours.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")] = False,
) -> None:
    """Write a release for training: bit for bit the same when repeated. Buys nothing.

    With every export come a dataset card (README.md), a Croissant description, index.parquet (from
    each image's hash as received to its file and hash as shipped), and export.json with the SHA-256
    of every file. An image that was changed since its release stops the export.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.session import Session  # noqa: PLC0415  imports Dagster
        from wan_pipeline.dataset.release.reader import locate_release  # noqa: PLC0415

        settings = Settings()
        checked_licence(licence)
        _, version, _ = locate_release(settings.layout.releases, name)
        order: dict[str, Any] = {
            # Fixed here: another process may make a newer version meanwhile.
            "release": f"{name.partition('@')[0]}@v{version}",
            "format": layout.value,
            "bytes": mode.value,
            "shard_mb": shard_mb,
            "licence": licence or "",
            "out": "" if out is None else str(out.resolve()),
        }
        with Session(settings, console=console) as session:
            outcome, told = session.make_exports(order)
        if not outcome.success:
            gone = "The export that was being written is gone; older ones are not."
            raise typer.Exit(say_why(console, outcome, interrupted=gone))
    from wan_pipeline.cli.exported import show_exports  # noqa: PLC0415

    found: list[dict[str, Any]] = told["summary"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show_exports(console, found)
    if signed := max(each["markings"].get("provider-c2pa", 0) for each in found):
        warn(
            console,
            f"as received, without a mark: {counted(signed, 'image')}. The provider has signed the"
            " files, and a mark would break that. The column `marking` says provider-c2pa there.",
        )
    if licence is None:
        warn(console, "The dataset card says: licence unknown. State one with --licence ID.")
