"""Checks of `spend`: what the ledger says against what is there. None blocks, each reads it anew.

So a person who has decided about an unknown, or brought a file back, runs the check alone and sees
it pass.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import dagster as dg

from wan_pipeline.dataset.inventory import take_inventory
from wan_pipeline.defs import ui
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.ledger.cap_use import cap_uses
from wan_pipeline.ledger.review import (
    OpenPurchase,
    PriceDifference,
    price_differences,
    stored_files,
    unfinished,
    unknowns,
)
from wan_pipeline.ledger.snapshot import snapshot

__all__ = ["money_checks"]

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
ZERO = Decimal(0)
SHOWN = 50
REMEDY = "Restore them from a backup; or run again, which fetches what its URL still gives"
SOON = 12  # the last twelfth of the results' lifetime: two hours of a day


@dg.asset_check(asset="spend")
def no_unknowns(wan: WanResource) -> dg.AssetCheckResult:
    """Every create got a clear answer; the ones that did not are listed, with what they reserve."""
    with wan.ledger() as ledger, snapshot(ledger) as view:
        found = unknowns(view)
    reserved = sum((purchase.reserved_usd for purchase in found), ZERO)
    return dg.AssetCheckResult(
        passed=not found,
        severity=WARN,
        description=f"unknown purchases: {len(found)}, reserving {reserved:f} USD. Look for their"
        " tasks in the provider's console, then `wan ledger adopt` what is there, `wan ledger"
        " release` what is not, `wan ledger write-off` what nobody can tell"
        if found
        else "every create got a clear answer",
        metadata={
            "unknown": len(found),
            "reserved_usd": ui.money(reserved),
            "purchases": ui.table_rows([_open(purchase) for purchase in found[:SHOWN]]),
        },
    )


@dg.asset_check(asset="spend")
def nothing_about_to_expire(wan: WanResource) -> dg.AssetCheckResult:
    """No paid result is in the last twelfth of its lifetime (two hours of a day), or past it."""
    now = datetime.now(UTC)
    last_moment = now + timedelta(seconds=wan.account.result_lifetime_s / SOON)
    with wan.ledger() as ledger, snapshot(ledger) as view:
        found = unfinished(view)
    dying = [
        purchase
        for purchase in found
        if purchase.deadline_at is not None and purchase.deadline_at <= last_moment
    ]
    return dg.AssetCheckResult(
        passed=not dying,
        severity=WARN,
        description=f"not fetched yet: {len(found)} purchases; their results die before"
        f" {last_moment:%Y-%m-%d %H:%M} UTC: {len(dying)}"
        + (". Run the job `recover`, or `wan run`, now" if dying else ""),
        metadata={
            "unfinished": len(found),
            "about_to_expire": len(dying),
            "purchases": ui.table_rows([_open(purchase) for purchase in dying[:SHOWN]]),
        },
    )


@dg.asset_check(asset="spend")
def ledger_agrees_with_files(wan: WanResource) -> dg.AssetCheckResult:
    """Every image that the ledger calls stored has its file, with the length that was recorded."""
    with wan.ledger() as ledger, snapshot(ledger) as view:
        found = take_inventory(wan.layout.root, stored_files(view))
    wrong = [
        *({"path": path, "recorded": "", "found": "no file"} for path in found.missing),
        *(
            {"path": path, "recorded": recorded, "found": length}
            for path, (recorded, length) in found.wrong_length.items()
        ),
    ]
    return dg.AssetCheckResult(
        passed=found.agrees,
        severity=ERROR,
        description=f"files recorded: {found.files}, missing: {len(found.missing)}, of another"
        f" length: {len(found.wrong_length)}; files known to no row: {len(found.unknown)}"
        + ("" if found.agrees else f". {REMEDY}"),
        metadata={
            "files": found.files,
            "missing": len(found.missing),
            "wrong_length": len(found.wrong_length),
            "unknown_files": len(found.unknown),
            "unknown_bytes": found.unknown_bytes,
            "disagreements": ui.table_rows(wrong[:SHOWN]),
            "known_to_no_row": ui.table_rows([{"path": path} for path in found.unknown[:SHOWN]]),
        },
    )


@dg.asset_check(asset="spend")
def reported_cost_is_the_price(wan: WanResource) -> dg.AssetCheckResult:
    """What the provider reports is the price of the images received; what it reports is stored.

    What it reports and is no amount is listed as it was told; the price counts there.
    """
    with wan.ledger() as ledger, snapshot(ledger) as view:
        found = price_differences(view)
    surplus = sum((each.surplus_usd for each in found), ZERO)
    unreadable = sum(bool(each.told) for each in found)
    return dg.AssetCheckResult(
        passed=not found,
        severity=WARN,
        description=_differences_told(found) or "every reported cost is the price of its images",
        metadata={
            "differences": len(found),
            "unreadable": unreadable,
            "surplus_usd": ui.money(surplus),
            "purchases": ui.table_rows(
                [
                    {
                        "request_id": each.request_id,
                        "set": each.prompt_set,
                        "images": each.images,
                        "reported_usd": each.told or f"{each.cost_usd:f}",
                        "expected_usd": f"{each.expected_usd:f}",
                        "task_id": each.task_id or "",
                    }
                    for each in found[:SHOWN]
                ]
            ),
        },
    )


@dg.asset_check(asset="spend")
def spend_within_budget(wan: WanResource) -> dg.AssetCheckResult:
    """What is paid and reserved is within every cap: for ever, today, of today's runs, per set."""
    with wan.ledger() as ledger, snapshot(ledger) as view:
        used = cap_uses(view, wan.settings().caps, now=datetime.now(UTC))
        spent, reserved = ledger.spent(), ledger.reserved()
    over = [use for use in used if use.left_usd < 0]
    description = f"{spent:f} USD spent and {reserved:f} USD reserved"
    if not used:
        description += "; no cap is set (WAN_BUDGET_TOTAL_USD and its like)"
    elif over:
        description += (
            f"; caps passed: {len(over)}. Nothing more is bought under them: look at the costs"
            " reported, then raise the cap or leave it"
        )
    return dg.AssetCheckResult(
        passed=not over,
        severity=ERROR,
        description=description,
        metadata={
            "spent_usd": ui.money(spent),
            "reserved_usd": ui.money(reserved),
            "caps_passed": len(over),
            "caps": ui.table_rows(
                [
                    {
                        "cap": use.cap,
                        "of": use.of,
                        "limit_usd": f"{use.limit_usd:f}",
                        "spent_usd": f"{use.spent_usd:f}",
                        "reserved_usd": f"{use.reserved_usd:f}",
                        "left_usd": f"{use.left_usd:f}",
                    }
                    for use in sorted(used, key=lambda use: use.left_usd)[:SHOWN]
                ]
            ),
        },
    )


def _differences_told(found: Sequence[PriceDifference]) -> str:
    """How many there are, by how much, what to do about each kind; empty when there are none."""
    if not found:
        return ""
    surplus = sum((each.surplus_usd for each in found), ZERO)
    count = f"{len(found)}, by {surplus:+f} USD together"
    told = [
        f"reported costs that are not the price of their images: {count}",
        "The reported cost counts",
    ]
    failed = sum(each.failed for each in found)
    unreadable = sum(bool(each.told) for each in found)
    if len(found) > failed + unreadable:
        told.append("Where the price has changed, set WAN_PRICE_USD")
    if failed:
        told.append(
            f"Of these are for tasks that failed: {failed}. Ask the provider's support for the"
            " money, by the task's id"
        )
    if unreadable:
        told.append(
            f"Of these cannot be read: {unreadable}. The price counts there; compare it with the"
            " provider's bill"
        )
    return ". ".join(told)


def _open(purchase: OpenPurchase) -> dict[str, str]:
    return {
        "request_id": purchase.request_id,
        "set": purchase.prompt_set,
        "state": purchase.state.value,
        "since": purchase.since.isoformat(),
        "deadline": "" if purchase.deadline_at is None else purchase.deadline_at.isoformat(),
        "reserved_usd": f"{purchase.reserved_usd:f}",
        "task_id": purchase.task_id or "",
        "reason": purchase.reason,
        "prompt": purchase.prompt,
    }


money_checks = [
    no_unknowns,
    nothing_about_to_expire,
    ledger_agrees_with_files,
    reported_cost_is_the_price,
    spend_within_budget,
]
