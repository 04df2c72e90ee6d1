"""The environment variables as typed fields: each with its default, its bounds and a sentence.

Every default is the safe choice. What follows from them is in `settings`.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wan_pipeline.dataset.quality.hamming import MAX_DISTANCE
from wan_pipeline.prompts.matrix.count import DEFAULT_MAX_PROMPTS
from wan_pipeline.speed_up import MAX_SPEED_UP
from wan_pipeline.wan.guard import problem_of_origin
from wan_pipeline.wan.profiles import ProfileName, RequestForm

__all__ = ["Variables"]

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
Cap = Annotated[Decimal, Field(ge=0, le=10**9, max_digits=18, decimal_places=9)]


class Variables(BaseSettings):
    """What a user may set; a field is the variable ``WAN_<NAME>``."""

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
        description="A run pauses creates when more than this share of them failed or brought no"
        " image that could be stored.",
    )
    paid_for_nothing: int = Field(
        default=5,
        ge=1,
        description="Likewise when the first so many tasks that it paid for brought no such image.",
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
    refused_in_a_row: int = Field(
        default=20,
        ge=1,
        description="Requests refused in a row, but for moderated ones, after which a run stops.",
    )
    unsent_in_a_row: int = Field(
        default=6,
        ge=1,
        description="Creates in a row that found no connection after which a run stops.",
    )
    throttle_patience_s: Seconds = Field(
        default=900.0,
        description="A run stops when no create was accepted for so many seconds because of 429.",
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
    proof_patience_s: Seconds | None = Field(
        default=None,
        description="Seconds that creates wait for the first task of a request form that no task"
        " has proven yet; the emulator's is scaled by its speed-up.",
    )
    confirm_s: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="Seconds over which a task that is done with fewer images than asked for is"
        " asked three times more; the emulator's is scaled by its speed-up.",
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
    wrong_size_allowed: Share = Field(
        default=0.0,
        description="A check fails when more than this share of a set's images have another size"
        " than their request asked for.",
    )
    missing_images_allowed: Share = Field(
        default=0.0,
        description="A check fails when more than this share of the images that a set asks for are"
        " not stored.",
    )
    unmarked_allowed: Share = Field(
        default=0.0,
        description="A check warns when more than this share of the images that should bear a"
        " watermark show no sign of it.",
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
    pages_url: str | None = Field(
        default=None,
        description="Origin and path under which data/<profile>/ is served, so that the UI can link"
        " to its pages; without it the UI tells where they lie.",
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

    @field_validator("pages_url")
    @classmethod
    def _takes_paths(cls, value: str | None) -> str | None:
        """A link that leads nowhere would stay in the run history for good."""
        if value is None:
            return None
        value = value.strip().rstrip("/")
        if problem := problem_of_origin(value):
            raise ValueError(
                f"WAN_PAGES_URL {problem}. Set it to where data/<profile>/ is served, such as"
                " http://127.0.0.1:3001, or unset it for paths instead of links"
            )
        return value
