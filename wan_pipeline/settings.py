"""Environment variables to typed settings. Every default is the safe choice.

Read once per process by whoever assembles the pipeline; nothing below reads the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.quality.hamming import MAX_DISTANCE
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.database import shown
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.matrix.count import DEFAULT_MAX_PROMPTS
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline.wan.guard import is_loopback_url, problem_of_origin
from wan_pipeline.wan.profiles import PROFILES, Limits, Profile, ProfileName, RequestForm

__all__ = ["EMULATOR_KEY", "DataLayout", "Settings", "unusable_plan"]

MIN_PATIENCE_S = 60.0
DEFAULT_SPEED_UP = 20.0
MAX_SPEED_UP = 1000.0
SHOWN_PROBLEMS = 5
EMULATOR_KEY = "emulator-needs-no-secret"
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
Cap = Annotated[Decimal, Field(ge=0, le=10**9, max_digits=18, decimal_places=9)]


class Settings(BaseSettings):
    """What a user may set; each name is the variable ``WAN_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix="WAN_",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # a base URL may hold a password
    )

    profile: ProfileName = Field(
        default=ProfileName.EMULATOR,
        description="Account to buy from: emulator, vtrix or seacloud.",
    )
    data_dir: Path = Field(
        default=Path("data"), description="Folder of prompt sets and of everything produced."
    )
    base_url: str | None = Field(
        default=None, description="Origin of the API, instead of the profile's; it gets the key."
    )
    price_usd: Decimal | None = Field(
        default=None,
        ge=0,
        le=100,
        max_digits=12,
        decimal_places=9,
        description="Price per image in USD; needed where the provider publishes none.",
    )
    budget_run_usd: Cap | None = Field(
        default=None, description="Most that one run may pay and reserve, in USD."
    )
    budget_day_usd: Cap | None = Field(
        default=None, description="Most that the purchases begun on one UTC day may cost, in USD."
    )
    budget_set_usd: Cap | None = Field(
        default=None, description="Most that one prompt set may cost, in USD."
    )
    budget_total_usd: Cap | None = Field(
        default=None, description="Most that may ever be paid and reserved, in USD."
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How often one request may be bought at most, whoever asks to retry it.",
    )
    unknown_in_a_row: int = Field(
        default=3,
        ge=1,
        description="Creates without a known outcome in a row after which a run pauses creates.",
    )
    failures_watched: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Of how many finished tasks the failures are counted.",
    )
    failures_allowed: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A run pauses creates when more than this share of them failed.",
    )
    breaker_pause_s: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="Seconds of such a pause, for every run of the account; after it one create"
        " goes alone. 0 stops the run at once; the emulator's is scaled by its speed-up.",
    )
    breaker_pauses: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Such pauses in a row, without anything getting better, before the run stops.",
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL URL of a ledger that several machines share, instead of the SQLite"
        " file in the data folder; may hold a password and is never shown.",
    )
    request_form: RequestForm = Field(
        default=RequestForm.AUTO,
        description="Layout of the create body: flat, wrapped, or auto to find out.",
    )
    base_seed: int = Field(
        default=0, ge=0, description="Changes every derived seed; explicit seeds stay as they are."
    )
    truncate_prompts: bool = Field(
        default=False,
        description="Cut prompts over 2000 and negative prompts over 500 characters instead of"
        " rejecting their rows.",
    )
    matrix_max_prompts: int = Field(
        default=DEFAULT_MAX_PROMPTS,
        ge=1,
        le=10_000_000,
        description="Most prompts that one prompt matrix (YAML) may make; it is counted before it"
        " is made.",
    )
    submissions_per_second: Rate | None = Field(
        default=None,
        description="Creates per second that the account allows, instead of the profile's.",
    )
    running_at_once: int | None = Field(
        default=None, ge=1, le=10_000, description="Tasks that the account runs at once."
    )
    queries_per_second: Rate | None = Field(
        default=None, description="Polls per second that the account allows."
    )
    task_patience_s: Seconds | None = Field(
        default=None,
        description="Seconds that one run waits for one task before the next run goes on.",
    )
    create_timeout_s: Seconds = Field(
        default=60.0,
        description="Seconds to wait for the answer to a create; after that it is unknown.",
    )
    download_timeout_s: Seconds = Field(
        default=300.0, description="Seconds for one image's download."
    )
    near_duplicate_distance: int = Field(
        default=4,
        ge=0,
        le=MAX_DISTANCE,
        description="Most bits of 64 in which the perceptual hashes of near duplicates differ;"
        " scaled or re-encoded copies differ in at most 4.",
    )
    blank_contrast: float = Field(
        default=4.0,
        ge=0,
        le=128,
        description="An image whose luma deviates less than this (0 to 127.5) is blank or nearly"
        " so; so is the corner of a watermark that is not there.",
    )
    near_duplicates_allowed: Share = Field(
        default=0.0,
        description="A check warns when more than this share of a set's images have a near"
        " duplicate.",
    )
    blank_allowed: Share = Field(
        default=0.0,
        description="A check warns when more than this share of a set's images are blank.",
    )
    moderated_allowed: Share = Field(
        default=0.0,
        description="A check warns when moderation rejected more than this share of a set's"
        " requests.",
    )
    without_image_allowed: Share = Field(
        default=0.0,
        description="A check fails when more than this share of a set's prompts have no image.",
    )
    c2pa_certificate: Path | None = Field(
        default=None,
        description="PEM file with the certificate chain that signs exported images (C2PA).",
    )
    c2pa_key: Path | None = Field(
        default=None, description="PEM file with the certificate's private key, no password."
    )
    drift_distance: int = Field(
        default=6,
        ge=0,
        le=64,
        description="Most bits of 64 in which the perceptual hashes of an image and its"
        " reproduction may differ; a picture that was only encoded anew differs in at most 4.",
    )
    drift_share: Share = Field(
        default=0.0,
        description="A reproduction tells drift when more than this share of the images compared"
        " have drifted.",
    )
    canary_release: str | None = Field(
        default=None,
        description="Release that the schedule weekly_canary buys a few requests of once more, such"
        " as canary@v1; the schedule skips when it is not set.",
    )
    canary_sample: int = Field(
        default=4, ge=1, le=10_000, description="How many of its requests are bought each week."
    )
    emulator_speed_up: float | None = Field(
        default=None,
        ge=1,
        le=MAX_SPEED_UP,
        description="How much faster than the real service the emulator works: latency, rate"
        " limits and URL lifetime alike; 20, or what the emulator's plan says.",
    )
    emulator_plan: Path | None = Field(
        default=None, description="JSON file with the emulator's limits, latency law and faults."
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        """A mistyped origin is found out now, not when requests hang in doubt because of it."""
        if value is None:
            return None
        value = value.strip()
        if problem := problem_of_origin(value):
            raise ValueError(
                f"WAN_BASE_URL {problem}. Set it to the origin of the API, such as"
                " https://cloud.vtrix.ai, or unset it for the profile's own. Nothing was sent"
            )
        return value

    # --- what follows from it ---

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
            return _speed_in(self.emulator_plan)
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
            breaker_pause_s=profile.breaker_pause_s / speed
            if self.breaker_pause_s is None
            else self.breaker_pause_s,
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
        """The profile's ledger; to be closed.

        Raises:
            ConfigurationError: what the data folder holds was bought with another one.
            LedgerError: it cannot be opened.
        """
        layout = self.layout
        if self.ledger_url is None:
            if layout.served_ledger.exists():
                raise ConfigurationError(
                    f"what is in {layout.root} was bought with a ledger on a server, which"
                    f" {layout.served_ledger} names, and WAN_LEDGER_URL is not set: with an empty"
                    " ledger all of it would be bought a second time. Set WAN_LEDGER_URL; or remove"
                    " that file, if nothing was bought with that ledger. Nothing was sent"
                )
            return Ledger(layout.ledger, self.profile.value)
        self._refuse_beside_a_file()
        url = self.ledger_url.get_secret_value().strip()
        ledger = Ledger(url, self.profile.value)
        if not layout.served_ledger.exists():
            with suppress(OSError):  # a folder that can only be looked at: nothing is bought there
                layout.root.mkdir(parents=True, exist_ok=True)
                layout.served_ledger.write_text(f"{shown(url)}\n", encoding="utf-8")
        return ledger

    def _refuse_beside_a_file(self) -> None:
        """A ledger on a server does not know what the folder's own file bought."""
        file = self.layout.ledger
        if not file.exists():
            return
        with Ledger(file, self.profile.value) as ledger:
            bought = sum(ledger.counts().values())
        if bought:
            raise ConfigurationError(
                f"WAN_LEDGER_URL is set, and the ledger {file} has {bought} purchases that its"
                " ledger does not know: they would be bought a second time. Unset WAN_LEDGER_URL;"
                " or move that file away, if its purchases are not to count. Nothing was sent"
            )

    @property
    def has_ledger(self) -> bool:
        """Whether there is one; opening would make it."""
        layout = self.layout
        found = layout.ledger.exists() or layout.served_ledger.exists()
        return found or self.ledger_url is not None

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


def unusable_plan(path: Path, error: Exception, *, given_as: str) -> ConfigurationError:
    """What is wrong with an emulator's plan, under the name by which the user gave it."""
    if isinstance(error, ValidationError):
        problems = [
            f"{'.'.join(str(part) for part in each['loc']) or 'the file'}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        what = "; ".join(problems[:SHOWN_PROBLEMS])
    elif isinstance(error, OSError):
        what = error.strerror or type(error).__name__
    elif isinstance(error, UnicodeDecodeError):
        what = "it is no text"
    else:
        what = str(error)
    return ConfigurationError(
        f"{given_as}: {path.absolute()} cannot be used as the emulator's plan: {what}. Name a JSON"
        ' file that holds an object, such as {"speed_up": 100}, or name none. Nothing was sent'
    )


def _speed_in(path: Path) -> float:
    """The speed-up that a plan asks for; 1 when it says nothing about it."""
    found: object = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004  a wrong value in a file
    speed: object = cast("dict[str, object]", found).get("speed_up", 1.0)
    if isinstance(speed, bool) or not isinstance(speed, int | float):
        raise ValueError("speed_up is not a number")  # noqa: TRY004  same
    if not 1 <= speed <= MAX_SPEED_UP:
        raise ValueError(f"speed_up is not between 1 and {MAX_SPEED_UP:.0f}")
    return float(speed)
