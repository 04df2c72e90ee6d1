"""Configuration to plain objects: the one place where the pipeline's parts are put together.

Nothing else in `defs/` opens a ledger, a client or a store, and nothing below `defs/` is told
where its parts come from.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import dagster as dg
from pydantic import Field, PrivateAttr

from wan_pipeline.dataset.keeper import ImageKeeper
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.defs.agreed import terms_of
from wan_pipeline.defs.dead_runs import tag_with_process
from wan_pipeline.emulator.launcher import ensure_emulator
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.generation.batch import recover, run_batch
from wan_pipeline.generation.interrupt import run_interruptibly
from wan_pipeline.generation.rescue import RescueFile
from wan_pipeline.generation.terms import Clock, Ports
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.retries import RetryRule
from wan_pipeline.prompts.matrix.count import DEFAULT_MAX_PROMPTS
from wan_pipeline.prompts.sets import find_prompt_file, scan
from wan_pipeline.settings import Settings
from wan_pipeline.speed_up import unusable_plan
from wan_pipeline.temp_files import sweep_temp_files
from wan_pipeline.wan.client import WanClient
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.dialects.listing import LISTERS, ListingAccess
from wan_pipeline.wan.download import Downloader
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline.wan.guard import host_of, is_loopback_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.generation.progress import BatchReport, Progress
    from wan_pipeline.generation.terms import Terms
    from wan_pipeline.layout import DataLayout
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.dialects.listing import ListedTask
    from wan_pipeline.wan.profiles import Profile

    _Batch = Callable[[Ports, Terms], Awaitable[BatchReport]]

__all__ = ["WanResource", "emulator_plan"]

_SECRET = {"ledger_url"}


def _said(name: str) -> str:
    """The sentence that explains a setting, written down once, in `Settings`."""
    return Settings.model_fields[name].description or ""


class WanResource(dg.ConfigurableResource):
    """The account, the ledger and the data folder of one profile.

    Holds configuration only. Two secrets are not part of it: the API key is read from the
    profile's variable when something is bought and goes nowhere but into the client; the ledger's
    URL, which may hold a password, is read from WAN_LEDGER_URL when the ledger is opened.
    """

    profile: str = Field("emulator", description=_said("profile"))
    data_dir: str = Field("data", description=_said("data_dir"))
    base_url: str | None = Field(None, description=_said("base_url"))
    price_usd: str | None = Field(None, description=_said("price_usd"))
    request_form: str = Field("auto", description=_said("request_form"))
    base_seed: int = Field(0, description=_said("base_seed"))
    truncate_prompts: bool = Field(default=False, description=_said("truncate_prompts"))
    matrix_max_prompts: int = Field(DEFAULT_MAX_PROMPTS, description=_said("matrix_max_prompts"))
    submissions_per_second: float | None = Field(None, description=_said("submissions_per_second"))
    running_at_once: int | None = Field(None, description=_said("running_at_once"))
    queries_per_second: float | None = Field(None, description=_said("queries_per_second"))
    task_patience_s: float | None = Field(None, description=_said("task_patience_s"))
    proof_patience_s: float | None = Field(None, description=_said("proof_patience_s"))
    budget_run_usd: str | None = Field(None, description=_said("budget_run_usd"))
    budget_day_usd: str | None = Field(None, description=_said("budget_day_usd"))
    budget_set_usd: str | None = Field(None, description=_said("budget_set_usd"))
    budget_total_usd: str | None = Field(None, description=_said("budget_total_usd"))
    max_attempts: int = Field(3, description=_said("max_attempts"))
    unknown_in_a_row: int = Field(3, description=_said("unknown_in_a_row"))
    failures_watched: int = Field(20, description=_said("failures_watched"))
    failures_allowed: float = Field(0.5, description=_said("failures_allowed"))
    paid_for_nothing: int = Field(5, description=_said("paid_for_nothing"))
    breaker_pause_s: float | None = Field(None, description=_said("breaker_pause_s"))
    breaker_pauses: int = Field(1, description=_said("breaker_pauses"))
    refused_in_a_row: int = Field(20, description=_said("refused_in_a_row"))
    unsent_in_a_row: int = Field(6, description=_said("unsent_in_a_row"))
    throttle_patience_s: float = Field(900.0, description=_said("throttle_patience_s"))
    confirm_s: float | None = Field(None, description=_said("confirm_s"))
    create_timeout_s: float = Field(60.0, description=_said("create_timeout_s"))
    download_timeout_s: float = Field(300.0, description=_said("download_timeout_s"))
    near_duplicate_distance: int = Field(4, description=_said("near_duplicate_distance"))
    blank_contrast: float = Field(4.0, description=_said("blank_contrast"))
    near_duplicates_allowed: float = Field(0.0, description=_said("near_duplicates_allowed"))
    blank_allowed: float = Field(0.0, description=_said("blank_allowed"))
    wrong_size_allowed: float = Field(0.0, description=_said("wrong_size_allowed"))
    missing_images_allowed: float = Field(0.0, description=_said("missing_images_allowed"))
    unmarked_allowed: float = Field(0.0, description=_said("unmarked_allowed"))
    moderated_allowed: float = Field(0.0, description=_said("moderated_allowed"))
    without_image_allowed: float = Field(0.0, description=_said("without_image_allowed"))
    c2pa_certificate: str | None = Field(None, description=_said("c2pa_certificate"))
    c2pa_key: str | None = Field(None, description=_said("c2pa_key"))
    drift_distance: int = Field(6, description=_said("drift_distance"))
    drift_share: float = Field(0.0, description=_said("drift_share"))
    canary_release: str | None = Field(None, description=_said("canary_release"))
    canary_sample: int = Field(4, description=_said("canary_sample"))
    pages_url: str | None = Field(None, description=_said("pages_url"))
    emulator_speed_up: float | None = Field(None, description=_said("emulator_speed_up"))
    emulator_plan: str | None = Field(None, description=_said("emulator_plan"))

    _settings: Settings | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """A run begins, whoever started it; see `defs.dead_runs`."""
        if context.run is not None and context.instance is not None:
            tag_with_process(context.instance, context.run)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The same values, in types that Dagster shows and lets a person override."""
        return cls(**json.loads(settings.model_dump_json(exclude=_SECRET)))

    def settings(self) -> Settings:
        """The typed settings, with every rule checked; once, since a run asks for them often."""
        if self._settings is None:
            values = {name: getattr(self, name) for name in type(self).model_fields}
            self._settings = Settings(**values)
        return self._settings

    @property
    def layout(self) -> DataLayout:
        """Where things lie."""
        return self.settings().layout

    @property
    def account(self) -> Profile:
        """The profile with the settings applied."""
        return self.settings().account()

    def prompt_file(self, prompt_set: str) -> Path:
        """The file of a prompt set.

        Raises:
            ConfigurationError: there is none.
            DuplicatePromptSetError: two files have that name.
        """
        folder = self.layout.prompts_dir
        file = find_prompt_file(folder, prompt_set)
        if file is None:
            known = ", ".join(scan(folder).sets) or "none"
            raise ConfigurationError(
                f"there is no prompt set {prompt_set!r} in {folder} (found:"
                f" {known}). Put its file there, or name one of those"
            )
        return file

    def ledger(self) -> Ledger:
        """The profile's ledger; to be closed."""
        return self.settings().open_ledger()

    def buy(
        self,
        requests: Iterable[GenerationRequest],
        *,
        prompt_set: str,
        run_id: str,
        progress: Progress,
        total: int | None = None,
        caps: Caps | None = None,
        retry: RetryRule | None = None,
        reproduction: bool = False,
    ) -> BatchReport:
        """Bring every request to its end; see `generation.batch.run_batch`.

        Args:
            requests: in the order in which they are bought.
            prompt_set: who buys; the name of the series when it is a reproduction.
            run_id: kept with every purchase.
            progress: told about every change.
            total: distinct requests, where it is known.
            caps: lower ones than the settings' for this run; higher ones change nothing.
            retry: what may be bought again; how often, the settings say.
            reproduction: buy once more to compare, whatever the dataset has.

        Raises:
            ConfigurationError: the key or the price is missing; nothing was sent.
        """
        settings = self.settings()
        settings.api_key()
        if settings.account().price_usd is None:
            raise ConfigurationError(
                f"profile {self.profile} has no published price per image, so nothing is bought:"
                " set WAN_PRICE_USD to the price that your account pays, then run again"
            )

        async def batch(ports: Ports, terms: Terms) -> BatchReport:
            tightened = terms.caps.tightened(caps or Caps())
            rule = dataclasses.replace(retry or RetryRule(), max_attempts=settings.max_attempts)
            agreed = dataclasses.replace(
                terms, caps=tightened, retry=rule, reproduction=reproduction
            )
            return await run_batch(
                requests, ports=ports, terms=agreed, progress=progress, total=total
            )

        return self._run(batch, prompt_set=prompt_set, run_id=run_id)

    def recover(self, *, prompt_set: str, run_id: str, progress: Progress) -> BatchReport:
        """Poll and fetch what dead runs left; see `generation.batch.recover`."""

        async def batch(ports: Ports, terms: Terms) -> BatchReport:
            return await recover(ports=ports, terms=terms, progress=progress)

        return self._run(batch, prompt_set=prompt_set, run_id=run_id)

    def list_tasks(self, since: datetime, until: datetime) -> Sequence[ListedTask] | None:
        """The provider's tasks of a time; None where its protocol cannot list them."""
        settings = self.settings()
        open_lister = LISTERS.get(settings.account().dialect)
        if open_lister is None:
            return None
        access = ListingAccess(
            base_url=self._base_url(settings),
            api_key=settings.api_key().get_secret_value(),
            timeouts=settings.timeouts(),
        )

        async def listed() -> Sequence[ListedTask]:
            async with open_lister(access) as lister:
                return await lister.list_tasks(since, until)

        return run_interruptibly(listed())

    def _run(self, batch: _Batch, *, prompt_set: str, run_id: str) -> BatchReport:
        settings = self.settings()
        key = settings.api_key().get_secret_value()
        for folder in settings.layout.written:
            sweep_temp_files(folder)
        terms = terms_of(settings, base_url=self._base_url(settings), prompt_set=prompt_set)

        async def session() -> BatchReport:
            async with AsyncExitStack() as stack:
                ledger = stack.enter_context(self.ledger())
                owner = stack.enter_context(ledger.owner(run_id))
                provider = await stack.enter_async_context(
                    WanClient(
                        base_url=terms.base_url,
                        api_key=key,
                        dialect=DIALECTS[terms.dialect],
                        timeouts=settings.timeouts(),
                    )
                )
                fetcher = await stack.enter_async_context(
                    Downloader(
                        allow_private=is_loopback_url(terms.base_url),
                        api_host=host_of(terms.base_url),
                        timeouts=settings.timeouts(),
                    )
                )
                ports = Ports(
                    ledger=ledger,
                    provider=provider,
                    fetcher=fetcher,
                    keeper=ImageKeeper(ImageStore(settings.layout.root)),
                    owner=owner,
                    rescue=stack.enter_context(RescueFile(settings.layout.rescue, owner.owner_id)),
                    clock=Clock(),
                )
                return await batch(ports, terms)

        return run_interruptibly(session())

    def _base_url(self, settings: Settings) -> str:
        base_url = settings.account().base_url
        if base_url is not None:
            return base_url.rstrip("/")
        return ensure_emulator(settings.layout.emulator_dir, emulator_plan(settings))


def emulator_plan(settings: Settings) -> EmulatorPlan:
    """The emulator's plan: the user's file, else the published behaviour, at the set speed.

    Raises:
        ConfigurationError: the file cannot be read or is no plan.
    """
    plan, path = EmulatorPlan(), settings.emulator_plan
    if path is not None:
        try:
            plan = EmulatorPlan.load(path)
        except (OSError, ValueError) as error:
            raise unusable_plan(path, error, given_as=f"WAN_EMULATOR_PLAN={path}") from error
    return plan.model_copy(update={"speed_up": settings.emulator_speed})
