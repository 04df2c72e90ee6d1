"""`wan reproduce`: buy requests of a release once more; does the provider still make the same?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wan_pipeline.cli.amounts import read_budget
from wan_pipeline.cli.consent import ask
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.screen import open_console
from wan_pipeline.settings import Settings
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from decimal import Decimal

    from wan_pipeline.dataset.reproduction.naming import Series
    from wan_pipeline.dataset.reproduction.sample import Sample
    from wan_pipeline.generation.planning import Standing

__all__ = ["ReproductionPlan", "reproduce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionPlan:
    """What a reproduction would buy.

    Attributes:
        series: which reproduction of which release.
        sample: of the release.
        standing: how far the series is with it.
        price_usd: per image; None when it is not known.
    """

    series: Series
    sample: Sample
    standing: Standing
    price_usd: Decimal | None

    @property
    def cost_usd(self) -> Decimal | None:
        """What the images cost that are still to be bought."""
        return None if self.price_usd is None else self.price_usd * self.standing.images_to_buy

    def as_json(self) -> dict[str, Any]:
        """For scripts; money as strings."""
        return {
            "release": self.series.reference,
            "label": self.series.label,
            "series": self.series.name,
            "requests": len(self.sample.requests),
            "release_requests": self.sample.of,
            "rewritten": self.sample.rewritten,
            "stored": self.standing.stored,
            "in_flight": self.standing.in_flight,
            "not_to_be_had": self.standing.failed + self.standing.lost + self.standing.unknown,
            "to_buy": self.standing.to_buy,
            "images_to_buy": self.standing.images_to_buy,
            "price_usd": None if self.price_usd is None else f"{self.price_usd:f}",
            "cost_usd": None if self.cost_usd is None else f"{self.cost_usd:f}",
            "request_ids": [each.request.request_id for each in self.sample.requests],
        }


def reproduce(
    release: Annotated[
        str,
        typer.Argument(
            metavar="RELEASE", help="Name, for the newest version, or name@v3.", show_default=False
        ),
    ],
    *,
    sample: Annotated[
        str,
        typer.Option(
            metavar="K|all",
            help="How many of its requests. Those whose prompt is not rewritten come first, then"
            " the smaller request id, so that the choice is the same each time.",
        ),
    ] = "20",
    label: Annotated[
        str | None,
        typer.Option(
            help="Which reproduction; the UTC date when not given. The same label goes on with it"
            " and buys nothing twice, another one buys anew.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD",
            help="The most that this command may pay and reserve. Caps in the settings"
            " (WAN_BUDGET_...) hold as well.",
            show_default=False,
        ),
    ] = None,
    count_rewritten: Annotated[
        bool,
        typer.Option(
            "--count-rewritten",
            help="Let images of prompts that the provider rewrites (prompt_extend) count, too; they"
            " differ each time, whatever the model.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell the exact price and buy nothing; needs no key.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, for scripts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")] = False,
) -> None:
    """Buy requests of a release once more and compare: has the provider's model changed?

    Hashes the sample's files, tells the price and asks first: where a file is missing or damaged,
    nothing is sent. Equal bytes are equal; other pictures are compared by perceptual
    hash, and the page data/<profile>/reproductions/<release>/<label>/index.html shows old and new
    side by side, the worst first. The dataset is not touched. Ends with 0 when nothing has drifted,
    with 3 when something has, or not everything could be compared, with 4 when it was stopped.

    The last line reads submitted=N stored=N compared=N drifted=N cost_usd=X.XX verdict=WORD
    (creates sent, images stored by this run, images compared, of those drifted, cost of this run).
    """
    console = open_console(stderr=as_json)
    with explained(console):
        budget_usd, settings = read_budget(budget), Settings()
        plan = _plan(settings, release, sample, label)
        from wan_pipeline.cli.reproduced import show_plan  # noqa: PLC0415  keeps --help fast

        show_plan(console, plan)
        if dry_run:
            if as_json:
                typer.echo(json.dumps(plan.as_json(), indent=2))
            return
        if question := _question(plan):
            ask(console, question, yes=yes, otherwise="Nothing was bought")
        from wan_pipeline.cli.session import Session  # noqa: PLC0415  imports Dagster

        with Session(settings, console=console) as session:
            done = session.reproduce(
                plan.series, sample=sample, budget_usd=budget_usd, count_rewritten=count_rewritten
            )
        if as_json:
            typer.echo(json.dumps(done.as_json(), indent=2))
        else:
            done.show(console)
        typer.echo(done.last_line(), err=as_json)
    raise typer.Exit(done.exit_code())


def _plan(settings: Settings, reference: str, sample: str, label: str | None) -> ReproductionPlan:
    """Read the release and the ledger; writes nothing.

    Raises:
        ReleaseError: the release cannot be found or read, an image of the sample is damaged, or
            sample or label cannot be.
    """
    from wan_pipeline.dataset.release.reader import open_release  # noqa: PLC0415  imports pyarrow
    from wan_pipeline.dataset.reproduction.naming import (  # noqa: PLC0415  keeps --help fast
        Series,
        checked_label,
        label_of,
    )
    from wan_pipeline.dataset.reproduction.sample import choose, read_size  # noqa: PLC0415
    from wan_pipeline.dataset.reproduction.whole import require_whole  # noqa: PLC0415
    from wan_pipeline.generation.planning import Standing, standing_in  # noqa: PLC0415

    size, label = read_size(sample), checked_label(label or label_of(datetime.now(UTC)))
    release = open_release(settings.layout.releases, reference)
    series = Series(release=release.name, version=release.version, label=label)
    chosen = choose(release, size)
    require_whole(chosen, release)
    requests = [each.request for each in chosen.requests]
    if settings.has_ledger:
        with settings.open_ledger() as ledger:
            standing = standing_in(series.name, requests, ledger)
    else:  # the release came from another machine
        images = sum(each.n for each in requests)
        standing = Standing(to_buy=len(requests), images_to_buy=images)
    return ReproductionPlan(
        series=series,
        sample=chosen,
        standing=standing,
        price_usd=settings.account().price_usd,
    )


def _question(plan: ReproductionPlan) -> str | None:
    """What is asked before money is spent; None when there is nothing to buy.

    Raises:
        ConfigurationError: the price is not known.
    """
    if not plan.standing.to_buy:
        return None
    if plan.cost_usd is None:
        raise ConfigurationError(
            "the price per image is not known, so nothing is bought: set WAN_PRICE_USD to the price"
            " that your account pays, then run again"
        )
    from wan_pipeline.cli.console import usd  # noqa: PLC0415  keeps --help fast

    images = plan.standing.images_to_buy
    return f"Buy {images} image{'s' * (images != 1)} once more for {usd(plan.cost_usd)}?"
