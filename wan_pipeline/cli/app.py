"""The `wan` command: plan, run, status, emulator; the other commands have their own modules.

Says what happened and what to do next. Everything it does goes through `build_defs()`, the road
that the UI and the daemon take; Dagster is imported only by commands that need it.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wan_pipeline import __version__
from wan_pipeline.cli.amounts import read_budget
from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.ledger import ledger
from wan_pipeline.cli.pages import PAGES_OPTIONS, pages
from wan_pipeline.cli.reconcile import reconcile
from wan_pipeline.cli.release import release
from wan_pipeline.cli.reproduce import reproduce
from wan_pipeline.cli.screen import open_console, say, warn
from wan_pipeline.cli.trace import trace
from wan_pipeline.ledger.retries import Retry  # noqa: TC001  typer reads it at run time
from wan_pipeline.prompts.sets import scan
from wan_pipeline.settings import Settings
from wan_pipeline.speed_up import unusable_plan
from wan_pipeline.told import counted, dollars
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wan_pipeline.generation.planning import Plan
    from wan_pipeline.layout import DataLayout

__all__ = ["app"]


EXPLAINED = (
    "Exit codes: 0 everything complete, 1 unexpected error, 2 wrong setting, command or prompt file"
    " (nothing of it was bought or changed), 3 some requests are not complete, 4 stopped early"
    " (budget, no credit, bad key, disk, ...), 130 interrupted."
)

app = typer.Typer(
    name="wan",
    help="Turn tables of prompts into image datasets; every image is bought once.\n\n" + EXPLAINED,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Sets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SET]...",
        help="Prompt sets: names of files in data/prompts without their extensions. All of them"
        " when none is named.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Settings come from WAN_* environment variables; the README lists them."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def plan(sets: Sets = None, *, as_json: AsJson = False) -> None:
    """Validate prompt sets and tell the exact price of building them. Free, needs no key."""
    console = open_console(stderr=as_json)
    with explained(console):
        chosen = _chosen(sets, console)
        from wan_pipeline.cli.session import Session  # noqa: PLC0415  imports Dagster

        plans: list[Plan] = []
        with Session(Settings(), console=console) as session:
            for name in chosen.names:
                try:
                    plans.append(session.plan(name))
                except ConfigurationError as error:  # of its file; the others are told all the same
                    say(console, str(error))
    if as_json:
        typer.echo(json.dumps([json.loads(each.to_json()) for each in plans], indent=2))
    elif plans:
        _show_plans(plans, session.layout, console)
    if not chosen.whole or len(plans) < len(chosen.names):
        raise typer.Exit(ExitCode.USAGE)


def _show_plans(plans: Sequence[Plan], layout: DataLayout, console: Console) -> None:
    from wan_pipeline.cli.console import matrix_told, plans_table  # noqa: PLC0415  imports Dagster

    console.print(plans_table(plans))
    for each in plans:
        if each.matrix is not None:
            console.print(matrix_told(each.prompt_set, each.matrix), soft_wrap=True)
        if each.rejections:
            warn(
                console,
                f"{each.prompt_set}: {counted(each.rejections, 'rule')} broken by rows of"
                f" {each.source_file};"
                f" see {layout.tables(each.prompt_set)}/rejects.parquet",
            )
        if each.price_usd is None:
            warn(
                console,
                f"The price per image of profile {each.profile} is not published. Set"
                " WAN_PRICE_USD; without it nothing is bought.",
            )


@app.command()
def run(
    sets: Sets = None,
    *,
    retry: Annotated[
        list[Retry] | None,
        typer.Option(
            help="Buy again what failed for a reason that may pass (`failed`), or what was paid for"
            " and can no longer arrive (`lost`); give it twice for both. Costs money again. What"
            " moderation rejected or is invalid is never bought again unless its row changes.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD",
            help="The most that this command may pay and reserve, over all its sets. Caps in the"
            " settings (WAN_BUDGET_...) hold as well.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build prompt sets: buy what is missing, fetch it, write metadata and gallery.

    Run it again after anything went wrong: nothing is bought twice. The last line reads
    submitted=N stored=N failed=N cost_usd=X.XX (creates sent, images stored by this run, requests
    not complete, cost of this run).
    """
    console = open_console(stderr=as_json)
    with explained(console):
        budget_usd = read_budget(budget)
        chosen = _chosen(sets, console)
        from wan_pipeline.cli.order import Order  # noqa: PLC0415  keeps --help fast
        from wan_pipeline.cli.session import Session  # noqa: PLC0415  imports Dagster

        order = Order(retry=retry or (), budget_usd=budget_usd)
        with Session(Settings(), console=console) as session:
            total = session.build_all(chosen.names, order)
        if as_json:
            typer.echo(json.dumps([each.as_json() for each in total.built], indent=2))
        else:
            for each in total.built:
                each.show(console)
        if rest := total.rest():
            warn(console, rest)
        if unasked := total.unasked:
            warn(console, unasked)
        typer.echo(total.last_line(), err=as_json)
    raise typer.Exit(total.exit_code() if chosen.whole else max(total.exit_code(), ExitCode.USAGE))


@app.command()
def status(sets: Sets = None, *, as_json: AsJson = False) -> None:
    """Show what the ledger knows: states, money, budget, deadlines, unknowns. Sends nothing.

    Spent is paid. Reserved is set aside for requests in flight and for unknown ones: those whose
    create got no clear answer, so that a task may exist and cost money. They are never sent again
    by themselves; `wan reconcile` and `wan ledger` settle them.
    """
    console = open_console(stderr=as_json)
    with explained(console):
        from wan_pipeline.cli.status import read_status, status_tables  # noqa: PLC0415  keeps --help fast

        found = read_status(Settings(), sets or None)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=_plain))
    else:
        for table in status_tables(found):
            console.print(table)
    for note in found["notes"]:
        warn(console, note)
    for problem in found["damaged"]:
        say(console, problem)
    if found["damaged"]:
        raise typer.Exit(ExitCode.USAGE)


app.command(context_settings=PAGES_OPTIONS)(pages)
app.command()(reconcile)
app.command()(reproduce)
app.command()(trace)
app.add_typer(ledger, name="ledger")
app.add_typer(release, name="release")


@app.command()
def emulator(
    *,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0 takes a free one.")] = 8600,
    speed_up: Annotated[
        float, typer.Option(min=1, max=1000, help="How much faster than the real service.")
    ] = 1.0,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="JSON file with limits, latency law and faults."),
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder of its tasks and bill; data/emulator/emulator.")
    ] = None,
) -> None:
    """Serve the local provider alone, for any client, until Ctrl-C.

    It accepts any key, answers like the real API and keeps a bill at /_emulator/bill.
    """
    console = open_console()
    with explained(console):
        from wan_pipeline.emulator.plan import EmulatorPlan  # noqa: PLC0415  keeps --help fast
        from wan_pipeline.emulator.server import (  # noqa: PLC0415
            PortTakenError,
            StateDirInUseError,
            serve,
        )

        chosen = EmulatorPlan(speed_up=speed_up)
        if plan_file is not None:
            try:
                chosen = EmulatorPlan.load(plan_file)
            except (OSError, ValueError) as error:
                raise unusable_plan(plan_file, error, given_as=f"--plan {plan_file}") from error
        folder = state_dir or Settings().layout.emulator_dir
        try:
            serve(
                state_dir=folder,
                port=port,
                plan=chosen,
                standalone=True,
                announce=lambda url: say(console, f"emulator on {url}, state in {folder}"),
            )
        except (PortTakenError, StateDirInUseError) as error:
            raise ConfigurationError(str(error)) from error


def _plain(value: object) -> str:
    """What JSON has no form for; amounts as everywhere."""
    return dollars(value) if isinstance(value, Decimal) else str(value)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The sets that are meant.

    Attributes:
        names: of those that a file is there for.
        whole: whether these are all; not when all are meant and a prompt file cannot be a set.
    """

    names: list[str]
    whole: bool


def _chosen(sets: list[str] | None, console: Console) -> _Chosen:
    """The named sets, or all; names that are no prompt set are refused before anything starts."""
    settings = Settings()
    folder = settings.layout.prompts_dir
    found = scan(folder)
    known = found.sets
    for problem in found.problems:
        warn(console, problem.message)
    unknown = [name for name in sets or [] if name not in known]
    if unknown or not known:
        raise ConfigurationError(
            f"no prompt set {', '.join(unknown) or 'at all'} in {folder} (found:"
            f" {', '.join(sorted(known)) or 'none'}). Put a CSV, TSV, JSONL or Parquet file with a"
            " column `prompt` there, or a YAML file with templates"
        )
    if settings.sends_key_unencrypted:
        warn(
            console,
            "WAN_BASE_URL is plain http:// on another machine: the API key travels unencrypted, and"
            " whoever sees it can buy with it. Use https:// if the provider has it.",
        )
    whole = bool(sets) or not any(problem.hides_prompts for problem in found.problems)
    return _Chosen(names=list(dict.fromkeys(sets or known)), whole=whole)
