"""Accounts at providers: base URL, key variable, dialect, limits, price.

A profile holds facts about a provider; what a user changes comes from settings. Secrets are not
part of it, only the name of the variable that holds the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.wan.prices import price_of

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["PROFILES", "Limits", "Profile", "ProfileName", "RequestForm"]

MODEL = "wan25_t2i_preview_intl"


class ProfileName(StrEnum):
    """The profiles that this version knows."""

    EMULATOR = "emulator"
    VTRIX = "vtrix"
    SEACLOUD = "seacloud"


class RequestForm(StrEnum):
    """How the create body is laid out."""

    AUTO = "auto"
    FLAT = "flat"
    WRAPPED = "wrapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the account allows.

    The defaults are those published for the model in Singapore, per root account over all keys:
    5 submissions per second, 5 tasks processing at once (more are queued), 20 queries per second.
    """

    submissions_per_second: float = 5.0
    running_at_once: int = 5
    queries_per_second: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One account at one provider.

    Attributes:
        name: also the folder under `data/` that keeps its purchases apart from all others.
        base_url: origin that gets the API key; None when the emulator is to be started.
        key_variable: environment variable that holds the API key.
        dialect: wire protocol, a key of `dialects.DIALECTS`.
        model: model id sent with every request.
        first_form: body layout that `auto` tries first.
        limits: what the account allows.
        price_usd: per image; None where the provider publishes none that we could read.
        price_source: where the price comes from and of which date.
        result_lifetime_s: seconds until result URLs and task records die.
        task_patience_s: seconds that one run waits for one task before it leaves it to the next.
        proof_patience_s: seconds that creates wait for the first task of a form of the body that
            no task has proven yet; most tasks take one or two minutes.
        breaker_pause_s: seconds that creates pause when too many of them, or of the tasks, fail.
        confirm_s: seconds over which a task that is done with fewer images than asked for is asked
            again.
    """

    name: ProfileName
    base_url: str | None
    key_variable: str
    dialect: str = "gateway"
    model: str = MODEL
    first_form: RequestForm = RequestForm.WRAPPED
    limits: Limits = Limits()
    price_usd: Decimal | None = None
    price_source: str = "not published"
    result_lifetime_s: float = 24 * 3600.0
    task_patience_s: float = 1800.0
    proof_patience_s: float = 300.0
    breaker_pause_s: float = 30.0
    confirm_s: float = 30.0


PROFILES: dict[ProfileName, Profile] = {
    ProfileName.EMULATOR: Profile(
        name=ProfileName.EMULATOR,
        base_url=None,
        key_variable="WAN_EMULATOR_API_KEY",
        first_form=RequestForm.FLAT,
        price_usd=price_of(MODEL).usd_per_image,
        price_source=price_of(MODEL).spoken,
    ),
    ProfileName.VTRIX: Profile(
        name=ProfileName.VTRIX,
        base_url="https://cloud.vtrix.ai",
        key_variable="VTRIX_API_KEY",
    ),
    ProfileName.SEACLOUD: Profile(
        name=ProfileName.SEACLOUD,
        base_url="https://cloud.seaart.ai",
        key_variable="SEACLOUD_API_KEY",
    ),
}
