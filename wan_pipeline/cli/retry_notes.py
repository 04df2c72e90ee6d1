"""Why a request that is not complete was not bought again, and what a person can do about it."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.cli.console import usd
from wan_pipeline.ledger.incomplete import remedy_of
from wan_pipeline.ledger.retries import FINAL_KINDS, Retry, RetryRule
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.told import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wan_pipeline.generation.planning import UnfinishedRequest
    from wan_pipeline.ledger.records import Purchase

__all__ = ["next_steps", "with_retry_notes"]

ZERO = Decimal(0)
_FINAL_TOLD = {"moderation": "moderation rejected {}", "invalid": "{} had values that are refused"}
_RETRIED_BY = {
    PurchaseState.FAILED: Retry.FAILED,
    PurchaseState.REFUSED: Retry.FAILED,
    PurchaseState.EXPIRED: Retry.LOST,
    PurchaseState.WRITTEN_OFF: Retry.LOST,
    PurchaseState.STORED: Retry.LOST,  # among the incomplete ones: with a lost image
}


def with_retry_notes(
    requests: Sequence[UnfinishedRequest],
    purchases: Mapping[str, Purchase],
    *,
    retry: Collection[Retry],
    max_attempts: int,
    released: Mapping[str, int],
) -> list[UnfinishedRequest]:
    """The same, with why each that `retry` was to buy again was not, as its next step.

    Args:
        requests: those that are not complete.
        purchases: the newest attempt by request id.
        retry: what the run was asked to buy again.
        max_attempts: how often one request may be bought.
        released: attempts that a person released, by request id; they do not count.
    """
    found: list[UnfinishedRequest] = []
    for request in requests:
        purchase = purchases.get(request.request_id)
        note = None
        if purchase is not None and _RETRIED_BY.get(purchase.state) in retry:
            note = _not_retried(purchase, max_attempts, released.get(request.request_id, 0))
        found.append(replace(request, next_step=note) if note else request)
    return found


def next_steps(
    requests: Sequence[UnfinishedRequest],
    purchases: Mapping[str, Purchase],
    *,
    prompt_set: str,
    price_usd: Decimal | None,
    max_attempts: int,
    released: Mapping[str, int],
) -> list[str]:
    """What brings the incomplete requests further, each way with what it costs."""
    steps: list[str] = []
    standing = [purchases[each.request_id] for each in requests if each.request_id in purchases]
    for retry, why in ((Retry.FAILED, "failed for a reason that may pass"), (Retry.LOST, "lost")):
        rule = RetryRule(what=frozenset({retry}), max_attempts=max_attempts)
        again = [
            each
            for each in standing
            if rule.allows(each, lost=True, released=released.get(each.request_id, 0))
        ]
        if again:
            images = sum(each.n for each in again)
            cost = None if price_usd is None else price_usd * images
            steps.append(
                f"{len(again)} {why}: `wan run {shlex.quote(prompt_set)} --retry {retry.value}`"
                f" buys {counted(images, 'image')} again, for {usd(cost)}"
            )
    if final := Counter(kind for each in standing if (kind := _final_kind(each))):
        found = ", ".join(_FINAL_TOLD[kind].format(count) for kind, count in sorted(final.items()))
        steps.append(
            f"change the row: {found}; the same request would meet the same again, a changed one is"
            " bought as a new one"
        )
    if unknown := [each for each in standing if each.state is PurchaseState.UNKNOWN]:
        reserved = sum((each.reserved_usd for each in unknown), ZERO)
        steps.append(
            f"{len(unknown)} unknown, {usd(reserved)} set aside: `wan reconcile`, then look into"
            " the provider's console and decide with `wan ledger adopt`, `release` or `write-off`"
        )
    return steps


def _final_kind(purchase: Purchase) -> str | None:
    """Of a failed one: the kind of error that the same request would meet again."""
    failed = _RETRIED_BY.get(purchase.state) is Retry.FAILED
    return purchase.error_kind if failed and purchase.error_kind in FINAL_KINDS else None


def _not_retried(purchase: Purchase, max_attempts: int, released: int) -> str | None:
    if kind := _final_kind(purchase):
        return f"not retried: {kind}; {remedy_of(kind)}"
    bought = purchase.attempt - released
    if bought >= max_attempts:
        return f"bought {bought} times, WAN_MAX_ATTEMPTS is {max_attempts}"
    return None
