"""Settings: the environment's variables and what follows from them.

Read once per process by whoever assembles the pipeline; nothing below reads the environment.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from pydantic import SecretStr

from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.choice import has_ledger, ledger_to_look_at, open_ledger
from wan_pipeline.speed_up import DEFAULT_SPEED_UP, speed_up_in, unusable_plan
from wan_pipeline.variables import Variables
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline.wan.guard import is_loopback_url
from wan_pipeline.wan.profiles import PROFILES, Limits, Profile, ProfileName

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from wan_pipeline.ledger.ledger import Ledger

__all__ = ["EMULATOR_KEY", "DataLayout", "Settings"]

MIN_PATIENCE_S = 60.0
MIN_PROOF_PATIENCE_S = 15.0
EMULATOR_KEY = "emulator-needs-no-secret"


class Settings(Variables):
    """What a user may set; each name is the variable ``WAN_<NAME>``."""

    @property
    def layout(self) -> DataLayout:
        """Where everything of the chosen profile lies."""
        return DataLayout(self.data_dir.resolve(), self.profile.value)

    @property
    def starts_emulator(self) -> bool:
        """Whether the provider is a local server that the pipeline starts by itself."""
        return PROFILES[self.profile].base_url is None and self.base_url is None

    @property
    def emulator_speed(self) -> float:
        """The emulator's speed-up, from the setting, else from its plan, else the default."""
        if self.emulator_speed_up is not None:
            return self.emulator_speed_up
        if self.emulator_plan is None:
            return DEFAULT_SPEED_UP
        try:
            return speed_up_in(self.emulator_plan)
        except (OSError, ValueError, RecursionError) as error:
            raise unusable_plan(
                self.emulator_plan, error, given_as=f"WAN_EMULATOR_PLAN={self.emulator_plan}"
            ) from error

    @property
    def sends_key_unencrypted(self) -> bool:
        """Whether the key would travel over plain HTTP to another machine."""
        url = self.account().base_url
        return url is not None and url.casefold().startswith("http://") and not is_loopback_url(url)

    def account(self) -> Profile:
        """The profile with the user's settings applied.

        Raises:
            ConfigurationError: the emulator's plan cannot be read.
        """
        profile = PROFILES[self.profile]
        speed = self.emulator_speed if self.starts_emulator else 1.0
        known = profile.limits
        limits = Limits(
            submissions_per_second=self.submissions_per_second
            or known.submissions_per_second * speed,
            running_at_once=self.running_at_once or known.running_at_once,
            queries_per_second=self.queries_per_second or known.queries_per_second * speed,
        )
        priced = self.price_usd is not None
        return dataclasses.replace(
            profile,
            base_url=self.base_url or profile.base_url,
            limits=limits,
            price_usd=self.price_usd if priced else profile.price_usd,
            price_source="WAN_PRICE_USD" if priced else profile.price_source,
            result_lifetime_s=profile.result_lifetime_s / speed,
            task_patience_s=self.task_patience_s
            or max(profile.task_patience_s / speed, MIN_PATIENCE_S),
            proof_patience_s=self.proof_patience_s
            or max(profile.proof_patience_s / speed, MIN_PROOF_PATIENCE_S),
            breaker_pause_s=profile.breaker_pause_s / speed
            if self.breaker_pause_s is None
            else self.breaker_pause_s,
            confirm_s=profile.confirm_s / speed if self.confirm_s is None else self.confirm_s,
        )

    @property
    def caps(self) -> Caps:
        """The budget."""
        return Caps(
            run=self.budget_run_usd,
            day=self.budget_day_usd,
            prompt_set=self.budget_set_usd,
            total=self.budget_total_usd,
        )

    @property
    def thresholds(self) -> Thresholds:
        """Where the flags of images begin to hold."""
        return Thresholds(
            near_duplicate_distance=self.near_duplicate_distance,
            blank_contrast=self.blank_contrast,
        )

    def open_ledger(self) -> Ledger:
        """The profile's ledger; to be closed. See `ledger.choice`.

        Raises:
            ConfigurationError: what the data folder holds was bought with another one.
            LedgerError: it cannot be opened.
        """
        return open_ledger(self.layout, self._ledger_url)

    def ledger_to_look_at(self) -> AbstractContextManager[Ledger]:
        """The same for a block that changes nothing, also where nothing may be written."""
        return ledger_to_look_at(self.layout, self._ledger_url)

    @property
    def _ledger_url(self) -> str | None:
        return None if self.ledger_url is None else self.ledger_url.get_secret_value().strip()

    @property
    def has_ledger(self) -> bool:
        """Whether there is one; opening would make it."""
        return self.ledger_url is not None or has_ledger(self.layout)

    def api_key(self) -> SecretStr:
        """The profile's key.

        Raises:
            ConfigurationError: a real profile's variable is not set.
        """
        variable = PROFILES[self.profile].key_variable
        key = os.environ.get(variable, "").strip()
        if not key and self.profile is ProfileName.EMULATOR:
            key = EMULATOR_KEY
        if not key:
            raise ConfigurationError(
                f"profile {self.profile.value} needs an API key: set the environment variable"
                f" {variable}, then run again. Nothing was sent"
            )
        # Anything else would end up, key and all, in the HTTP library's error message.
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigurationError(
                f"the environment variable {variable} does not hold a key: a key has only ASCII"
                " letters, digits and signs, no space or line break. Nothing was sent"
            )
        return SecretStr(key)

    def timeouts(self) -> Timeouts:
        """Bounds of the client's exchanges."""
        return Timeouts(
            create_read_s=self.create_timeout_s,
            create_total_s=self.create_timeout_s * 1.5,
            download_total_s=self.download_timeout_s,
        )
