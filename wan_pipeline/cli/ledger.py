"""`wan ledger show` and `export`: what the ledger says. The decisions are registered here too."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path  # noqa: TC003  typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from wan_pipeline.cli.decide import adopt, release, write_off
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.opened import opened_ledger
from wan_pipeline.cli.screen import open_console, warn
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.lookup import (
    find_purchases,
    find_request,
    history_of,
    sets_that_bought,
)
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.sets import scan
from wan_pipeline.settings import Settings
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from wan_pipeline.ledger.ledger import Ledger

__all__ = ["ledger"]

ledger = typer.Typer(
    help="Look into the ledger, the record of everything that was bought, and settle what no"
    " machine can find out.\n\nA request is named by the beginning of its id, at least 6 digits,"
    " as `wan ledger show` prints it.",
    no_args_is_help=True,
)


class Table(StrEnum):
    """What can be exported."""

    PURCHASES = "purchases"
    IMAGES = "images"
    EVENTS = "events"


class Format(StrEnum):
    """How it is written."""

    PARQUET = "parquet"
    CSV = "csv"


Requests = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[REQUEST]...",
        help="Only these: beginnings of request ids, at least 6 digits.",
        show_default=False,
    ),
]
States = Annotated[
    list[PurchaseState] | None,
    typer.Option("--state", help="Only purchases in this state; may be repeated."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Only what this prompt set bought; may be repeated."),
]
Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Only what was intended on this UTC day."),
]


@ledger.command()
def show(
    requests: Requests = None,
    *,
    state: States = None,
    prompt_set: Sets = None,
    day: Day = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")] = False,
) -> None:
    """List purchases; of one named request tell the whole history, with who decided what and why.

    The column price or cost is what was paid, or with a question mark what is set aside.
    """
    console = open_console(stderr=as_json)
    with explained(console), opened_ledger(Settings(), to_look=True) as found:
        from wan_pipeline.cli.purchases import history_table, purchases_table  # noqa: PLC0415

        named = _named(found, requests)
        _require_sets(found, prompt_set)
        only = _filter(named, state, prompt_set, day)
        purchases, count = find_purchases(found, only, limit=limit)
        events = history_of(found, named[0]) if len(named) == 1 else None
    if as_json:
        shown = {
            "count": count,
            "purchases": [asdict(each) for each in purchases],
            "events": None if events is None else [asdict(each) for each in events],
        }
        typer.echo(json.dumps(shown, indent=2, default=_plain))
        return
    console.print(purchases_table(purchases, profile=found.profile))
    if count > len(purchases):
        warn(console, f"{count - len(purchases)} more; --limit {count} shows them all")
    if events is not None:
        console.print(history_table(events))


@ledger.command()
def export(
    requests: Requests = None,
    *,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format", help="parquet: three tables of one moment into a folder; csv: one table."
        ),
    ] = Format.PARQUET,
    table: Annotated[
        Table | None, typer.Option(help="Which table as CSV; purchases when not given.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="For Parquet the folder, else data/<profile>/ledger-export; for CSV the file, else"
            " standard output."
        ),
    ] = None,
    state: States = None,
    prompt_set: Sets = None,
    day: Day = None,
) -> None:
    """Write purchases, images and events as tables that other tools read.

    Money is decimal and times are UTC. What the filters leave out of the purchases is left out of
    their images and events, too.
    """
    console = open_console(stderr=True)
    settings = Settings()
    with explained(console), opened_ledger(settings, to_look=True) as found:
        from wan_pipeline.ledger import export as files  # noqa: PLC0415  keeps --help fast

        _require_sets(found, prompt_set)
        only = _filter(_named(found, requests), state, prompt_set, day)
        if file_format is Format.PARQUET:
            if table is not None:
                raise ConfigurationError(
                    "--table is for --format csv: Parquet files are written all three, of one"
                    " moment. Leave it out, or add --format csv. Nothing was written"
                )
            folder = output or settings.layout.root / "ledger-export"
            for path in files.export_ledger(found, folder, only).files.values():
                typer.echo(str(path))
            return
        name = (table or Table.PURCHASES).value
        if output is None:
            with _until_enough():
                files.write_csv(found, name, sys.stdout, only)
            return
        from wan_pipeline.dataset.atomic import atomic_path  # noqa: PLC0415  keeps --help fast

        with atomic_path(output) as temp, temp.open("w", encoding="utf-8", newline="") as stream:
            files.write_csv(found, name, stream, only)
        typer.echo(str(output))


ledger.command()(adopt)
ledger.command()(release)
ledger.command("write-off")(write_off)


def _named(found: Ledger, beginnings: list[str] | None) -> list[str]:
    """The requests that are meant, each once."""
    return list(dict.fromkeys(find_request(found, each) for each in beginnings or ()))


@contextmanager
def _until_enough() -> Generator[None]:
    """End the block well when whoever reads our output wants no more of it, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered goes nowhere, without a word when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _require_sets(found: Ledger, names: list[str] | None) -> None:
    """That each named set has bought something, or at least may.

    Raises:
        ConfigurationError: a name is of none.
    """
    if not names:
        return
    bought = sets_that_bought(found)
    known = bought | set(scan(Settings().layout.prompts_dir).sets)
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"no set {', '.join(unknown)} has bought anything under profile {found.profile}, and"
            f" there is no prompt file of that name (bought: {', '.join(sorted(bought)) or 'none'})"
            ". Name one of those, or none for all"
        )


def _filter(
    named: list[str],
    state: list[PurchaseState] | None,
    prompt_set: list[str] | None,
    day: datetime | None,
) -> RowFilter:
    since = None if day is None else day.replace(tzinfo=UTC)
    return RowFilter(
        requests=named or None,
        states=[each.value for each in state] if state else None,
        prompt_sets=prompt_set or None,
        since=since,
        until=None if since is None else since + timedelta(days=1),
    )


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
