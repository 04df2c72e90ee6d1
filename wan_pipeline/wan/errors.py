"""Errors of the API client.

Exceptions end a batch or an exchange; what happens to one create is a value, not an exception
(see `answers.CreateOutcome`), because each outcome has its own row in the ledger.

    WanError
    +-- ConfigurationError      a setting is missing or wrong; nothing was sent
    +-- ExchangeError           one poll or download gave up within its bounds
    |   +-- PollError           the task goes on remotely; ask again later
    |   +-- DownloadError       the image is still at the provider while its URL lives
    |       +-- DamagedImageDownloadError  every attempt brought a broken image
    |       +-- UrlExpiredError the host answers that the URL is gone
    |       +-- ForbiddenUrlError  the URL leads where we do not go; not fetched
    +-- AccountStopError        key, credit or model: no request of the batch can succeed
    +-- RunHistoryError         Dagster cannot keep the history of runs: a full disk, a moved folder
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AccountStopError",
    "ConfigurationError",
    "DamagedImageDownloadError",
    "DownloadError",
    "ExchangeError",
    "ForbiddenUrlError",
    "PollError",
    "RunHistoryError",
    "StopReason",
    "UrlExpiredError",
    "WanError",
]


class StopReason(StrEnum):
    """Why a batch stops submitting; what is not bought by then stays to be bought."""

    NO_CREDIT = "no_credit"
    BAD_KEY = "bad_key"
    FORBIDDEN = "forbidden"
    MISSING_MODEL = "missing_model"
    BODY_NOT_UNDERSTOOD = "body_not_understood"
    UNKNOWN_CREATES = "unknown_creates"
    REFUSALS = "refusals"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    FAILURES = "failures"
    BUDGET = "budget"
    DISK = "disk"

    @property
    def remedy(self) -> str:
        """What a person does about it, as the end of a sentence."""
        return _REMEDIES[self]


_REMEDIES = {
    StopReason.NO_CREDIT: "top up the account, then run again; nothing is bought twice",
    StopReason.BAD_KEY: "set the profile's key variable to a valid API key, then run again",
    StopReason.FORBIDDEN: "check the account's balance and its permission for the model, then run"
    " again",
    StopReason.MISSING_MODEL: "check WAN_BASE_URL and that the account may use the model",
    StopReason.BODY_NOT_UNDERSTOOD: "the provider takes the body and does not do what it says."
    " With WAN_REQUEST_FORM=auto the next run tries the other form, unless that is known to be"
    " misunderstood too; with flat or wrapped it tries that one again, for when the provider has"
    " been repaired",
    StopReason.UNKNOWN_CREATES: "look at the provider's console for tasks that the ledger does not"
    " know (`wan status` lists them) before you run again",
    StopReason.REFUSALS: "where the reasons are about the account, the address or the body, check"
    " the key's account, WAN_BASE_URL and WAN_REQUEST_FORM; where they are about the requests"
    " (`wan ledger show REQUEST`), mend their rows. Then run again: it goes on with the rest, and"
    " `--retry failed` buys what was refused for a reason that may pass. A higher"
    " WAN_REFUSED_IN_A_ROW stops later",
    StopReason.UNREACHABLE: "check the network and WAN_BASE_URL, then run again. A higher"
    " WAN_UNSENT_IN_A_ROW waits longer",
    StopReason.THROTTLED: "the account stays over its rate limit; lower WAN_SUBMISSIONS_PER_SECOND"
    " or stop the other users of the key, then run again. A higher WAN_THROTTLE_PATIENCE_S waits"
    " longer",
    StopReason.FAILURES: "read the reasons in the table of incomplete requests; run again to go on"
    " with the rest, with `--retry failed` to buy what failed anew. Images that did not arrive are"
    " tried for by each run; where they lie elsewhere than the provider says, ask it first",
    StopReason.BUDGET: "raise the cap that is named, then run again; what was in flight is kept",
    StopReason.DISK: "free space on the data folder's disk, or bring the ledger's server back, then"
    " run again; what was paid for is fetched then",
}


class WanError(Exception):
    """Base of everything the client raises."""


class ConfigurationError(WanError):
    """A setting is missing or wrong. Raised before anything is sent."""


class ExchangeError(WanError):
    """A poll or download did not succeed within its attempts and total time."""


class PollError(ExchangeError):
    """A task could not be asked for; it goes on remotely."""


class DownloadError(ExchangeError):
    """An image could not be fetched; it stays at the provider while its URL lives."""


class DamagedImageDownloadError(DownloadError):
    """Every attempt brought bytes that are no intact image."""


class UrlExpiredError(DownloadError):
    """The provider says that the URL is no longer valid (403, 404 or 410)."""


class ForbiddenUrlError(DownloadError):
    """The URL, or a redirect of it, leads where this client does not go."""


class AccountStopError(WanError):
    """No request of the batch can succeed until a person acts."""

    def __init__(self, reason: StopReason, detail: str) -> None:
        told = detail.rstrip(" .")
        words = reason.value.replace("_", " ")
        super().__init__(f"stopped by {words}: {told}. What to do: {reason.remedy}.")
        self.reason = reason
        self.detail = detail


class RunHistoryError(WanError):
    """The Dagster instance cannot be read or written, so a run cannot be recorded.

    Args:
        home: folder of the instance.
        reason: the database's or the system's own words.
    """

    def __init__(self, home: str, reason: str) -> None:
        super().__init__(
            f"the history of runs in {home} cannot be kept: {reason.rstrip(' .')}. What was bought"
            " is in the ledger, or in a rescue file beside it, and is not bought again. What to"
            " do: make room on that folder's disk, put the folder back if it was moved, or bring"
            " the history's database server back; then run again."
        )
