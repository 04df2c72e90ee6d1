"""A trace on the terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.purchases import history_table, moment, money_of
from wan_pipeline.cli.screen import printable, warn
from wan_pipeline.ledger.incomplete import Explanation, state_told
from wan_pipeline.ledger.states import ImageState
from wan_pipeline.told import counted, reason_told

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console

    from wan_pipeline.dataset.trace.story import PromptRow, RequestStory, Trace
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["show_trace", "trace_as_json"]

ID_DIGITS = 12
SHOWN_EXPORTS = 12


def trace_as_json(found: Trace) -> dict[str, Any]:
    """Everything; money as text, times in ISO 8601."""
    told = asdict(found)
    told["cost_usd"], told["reserved_usd"] = found.cost_usd, found.reserved_usd
    for story, request in zip(told["requests"], found.requests, strict=True):
        story["cost_usd"], story["reserved_usd"] = request.cost_usd, request.reserved_usd
    return _plain(told)


def show_trace(console: Console, found: Trace, *, limit: int) -> None:
    """From the prompt to the image, request by request."""
    count = len(found.requests)
    money = f"{usd(found.cost_usd)} paid"
    if found.reserved_usd:
        money += f", {usd(found.reserved_usd)} set aside"
    head = f"{found.what}: {counted(count, 'request')}, {money}"
    console.print(printable(head), style="bold")
    for story in found.requests[:limit]:
        console.print()
        _show_story(console, story, set(found.image_ids))
    if count > limit:
        warn(console, f"{count - limit} more requests; --limit {count} tells them all")


def _show_story(console: Console, story: RequestStory, image_ids: Collection[str]) -> None:
    facts = Table(title=f"request {story.request_id}", title_justify="left", show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for each in story.prompts:
        facts.add_row("prompt row", printable(_row_in_words(each)))
        if each.columns != "{}":
            facts.add_row("its columns", printable(each.columns))
    for name, value in story.request.items():
        facts.add_row(name, printable("" if value is None else str(value)))
    for each in story.purchases:
        told = _purchase_in_words(each, state_told(each, story.images))
        facts.add_row(f"purchase {each.attempt}", printable(told))
    if not story.purchases:
        facts.add_row("purchases", "none: it was never bought")
    if story.reason:
        facts.add_row("not complete", printable(str(Explanation(story.reason, story.next_step))))
    console.print(facts)
    if story.images:
        console.print(_images_table(story, image_ids))
    places = _places_table(story, image_ids)
    if places.row_count:
        console.print(places)
    if story.events:
        console.print(history_table(story.events))


def _row_in_words(row: PromptRow) -> str:
    where = f"{row.prompt_set}, prompt {row.prompt_id}, replica {row.replica}"
    seed = f"seed {row.seed_source}"
    if row.row is None:
        return f"{where}, {seed}; no longer in the prompt set, known from a release"
    return f"{where}, {seed}; row {row.row} of {row.file or 'a file that is not there any more'}"


def _purchase_in_words(purchase: Purchase, state: str) -> str:
    parts = [
        f"{state}, {money_of(purchase)}",
        purchase.cost_source and f"({purchase.cost_source})",
        f"bought for {purchase.bought_by_set} at {moment(purchase.created_at)}",
        purchase.task_id and f"task {purchase.task_id}",
        f"run {purchase.run_id}, wan_pipeline {purchase.code_version}",
        purchase.problem,
    ]
    return "; ".join(part for part in parts if part).replace("; (", " (")


def _images_table(story: RequestStory, image_ids: Collection[str]) -> Table:
    table = Table(title="images", title_justify="left", header_style="bold")
    for heading in ("image", "attempt", "index", "state", "bytes", "size", "file or problem"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "file or problem")
    for each in story.images:
        told = (
            (each.image_id or "")[:ID_DIGITS],
            str(each.attempt),
            str(each.image_index),
            each.state.value,
            "" if each.bytes is None else f"{each.bytes:,}",
            f"{each.width}*{each.height}" if each.width else "",
            _file_or_problem(each),
        )
        asked_for = each.image_id is not None and each.image_id in image_ids
        table.add_row(*map(printable, told), style="bold" if asked_for else None)
    return table


def _file_or_problem(image: ImageRecord) -> str:
    if image.state is ImageState.STORED or not image.problem:
        return image.path or ""
    return reason_told(image.problem)


def _places_table(story: RequestStory, image_ids: Collection[str]) -> Table:
    """Releases and exports; only of the images that were asked for, where some were."""

    def wanted(image_id: str) -> bool:
        return not image_ids or image_id in image_ids

    table = Table(title="released and exported", title_justify="left", header_style="bold")
    for heading in ("image", "where", "prompt", "split or file"):
        table.add_column(heading, overflow="fold")
    for each in story.releases:
        if wanted(each.image_id):
            told = (
                each.image_id[:ID_DIGITS],
                each.release,
                f"{each.prompt_set}, {each.prompt_id}",
                each.split,
            )
            table.add_row(*map(printable, told))
    exports = [each for each in story.exports if wanted(each.image_id)]
    for each in exports[:SHOWN_EXPORTS]:
        place = "".join(
            (
                each.path,
                "" if each.member is None else f", member {each.member}",
                "" if each.row is None else f", row {each.row}",
            )
        )
        table.add_row(*map(printable, (each.image_id[:ID_DIGITS], each.export, "", place)))
    return table


def _plain(value: Any) -> Any:
    """What JSON has a form for."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value
