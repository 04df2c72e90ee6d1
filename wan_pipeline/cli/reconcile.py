"""`wan reconcile`: make ledger, provider and disk agree as far as a machine can."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.screen import open_console, say, warn
from wan_pipeline.settings import Settings

__all__ = ["reconcile"]


def reconcile(
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Read every byte of every stored image. Else a file is read only when it was"
            " written to after it was stored.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")] = False,
) -> None:
    """Fetch what is paid, adopt tasks that are certainly ours, tell what stays unexplained.

    Polls and fetches everything that dead runs left, of all prompt sets. Where the provider lists
    its tasks, those of unknown requests are found and adopted if there is no doubt. Every stored
    image is compared with its file, and fetched again if that is gone or damaged. Never buys.

    Ends with 0 when everything is explained, else with 3. The last line reads unknown=N
    unknown_usd=X expired=N expired_usd=X lost=N lost_usd=X price=N price_usd=X orphans=N polled=N
    adopted=N: images and dollars of each kind that nobody can explain (unknown: a task may exist;
    expired: its result died unfetched; lost: paid and can no longer arrive; price: charged other
    than the price, or no amount), tasks that no request explains, purchases taken up, and tasks
    adopted.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        settings = Settings()
        from wan_pipeline.cli.opened import opened_ledger  # noqa: PLC0415  keeps --help fast
        from wan_pipeline.cli.reconciliation import Reconciler  # noqa: PLC0415  imports Dagster

        with opened_ledger(settings):
            pass  # there is one, and it can be read
        done = Reconciler(settings, console=console).run(deep=deep)
    if as_json:
        typer.echo(json.dumps(done.as_json(), indent=2))
    else:
        for table in done.tables():
            console.print(table)
    for note in done.notes:
        warn(console, note)
    if done.stopped:
        say(console, done.stopped)
    typer.echo(done.last_line(), err=as_json)
    raise typer.Exit(ExitCode.STOPPED if done.stopped else done.exit_code())
