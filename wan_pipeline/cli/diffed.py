"""The difference of two releases as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.screen import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wan_pipeline.dataset.release.diff import DiffedRow, ReleaseDiff

__all__ = ["diff_as_json", "show_diff"]

ID_DIGITS = 12
VALUE_LENGTH = 60
BEFORE_DIFFERENCE = 30  # characters shown that two values share, such as the key in a JSON text


def diff_as_json(found: ReleaseDiff) -> dict[str, Any]:
    """Everything, every row; money as text."""
    return {
        **asdict(found),
        "columns": [
            {
                "column": each.column,
                "rows": each.rows,
                "examples": [
                    dict(
                        zip(
                            ("prompt_set", "prompt_id", "image_id", "before", "after"),
                            example,
                            strict=True,
                        )
                    )
                    for example in each.examples
                ],
            }
            for each in found.columns
        ],
        "moved_prompts": [
            {"prompt_id": prompt, "before": before, "after": after}
            for prompt, before, after in found.moved_prompts
        ],
        **{
            name: f"{getattr(found, name).normalize():f}"
            for name in ("cost_before_usd", "cost_after_usd", "bought_usd", "dropped_usd")
        },
    }


def show_diff(console: Console, found: ReleaseDiff, *, limit: int) -> None:
    """Counts and money first, then the rows of each kind."""
    table = Table(
        title=f"from {found.before} to {found.after}", title_justify="left", show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    cost = found.cost_after_usd - found.cost_before_usd
    for name, value in (
        ("content", "the same" if found.same_content else "different"),
        ("images added", f"{len(found.added):,}"),
        ("images removed", f"{len(found.removed):,}"),
        ("images made anew", _anew_in_words(found)),
        ("images unchanged", f"{found.unchanged:,}"),
        ("prompts on another side", f"{len(found.moved_prompts):,}"),
        (
            "cost USD",
            (
                f"{usd(found.cost_before_usd)} -> {usd(found.cost_after_usd)}"
                f" ({'-' if cost < 0 else '+'}{usd(abs(cost))}); bought {usd(found.bought_usd)},"
                f" no longer in it {usd(found.dropped_usd)}"
            ),
        ),
    ):
        table.add_row(name, value)
    console.print(table)
    for title, rows in (
        ("added", found.added),
        ("removed", found.removed),
        ("made anew", found.regenerated),
    ):
        if rows:
            console.print(_rows_table(title, rows, limit, reasons=rows is found.regenerated))
    if found.columns:
        console.print(_columns_table(found))
    for prompt, before, after in found.moved_prompts[:limit]:
        console.print(printable(f"prompt {prompt}: {before} -> {after}"))


def _anew_in_words(found: ReleaseDiff) -> str:
    """How many, and why."""
    count = len(found.regenerated)
    changed = sum(bool(each.changed) for each in found.regenerated)
    if not count:
        return "0"
    return f"{count:,}: {changed:,} of a changed request, {count - changed:,} of the same request"


def _why(row: DiffedRow) -> str:
    if row.changed:
        return f"request changed: {', '.join(row.changed)}"
    return "the same request, other bytes"


def _rows_table(
    title: str, rows: Sequence[DiffedRow], limit: int, *, reasons: bool = False
) -> Table:
    more = f" (the first {limit} of {len(rows):,}; --limit shows more)" if len(rows) > limit else ""
    table = Table(title=f"{title}{more}", title_justify="left", header_style="bold")
    why = ("why",) if reasons else ()
    for heading in ("set", "prompt", "request", "image", "before", "after", *why):
        table.add_column(heading, overflow="fold")
    for row in rows[:limit]:
        told = (
            row.prompt_set,
            row.prompt_id,
            row.request_id[:ID_DIGITS],
            str(row.image_index),
            (row.before or "")[:ID_DIGITS],
            (row.after or "")[:ID_DIGITS],
            *((_why(row),) if reasons else ()),
        )
        table.add_row(*map(printable, told))
    return table


def _columns_table(found: ReleaseDiff) -> Table:
    table = Table(
        title="other columns, of images that are the same",
        title_justify="left",
        header_style="bold",
    )
    for heading in ("column", "rows", "for example", "before", "after"):
        table.add_column(heading, overflow="fold")
    for each in found.columns:
        prompt_set, prompt_id, _, before, after = each.examples[0]
        told = (_short(f"{prompt_set}, {prompt_id}"), *_apart(before, after))
        table.add_row(*map(printable, (each.column, f"{each.rows:,}", *told)))
    return table


def _apart(before: Any, after: Any) -> tuple[str, str]:
    """Two different values as two different texts, each cut to where they begin to differ."""
    first, second = _text(before), _text(after)
    if printable(first) == printable(second):
        first, second = ascii(before), ascii(after)
    start = 0
    if max(len(first), len(second)) > VALUE_LENGTH:
        start = max(0, _alike(first, second) - BEFORE_DIFFERENCE)
    return _short(first, start), _short(second, start)


def _alike(first: str, second: str) -> int:
    """How many characters two different texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    shorter = min(len(first), len(second))
    return next((place for place, (one, other) in pairs if one != other), shorter)


def _text(value: Any) -> str:
    return "(empty)" if value in (None, "", []) else str(value)


def _short(text: str, start: int = 0) -> str:
    """A part of a text; an ellipsis stands for what is left out."""
    part = text[start : start + VALUE_LENGTH]
    return f"{'…' if start else ''}{part}{'…' if start + VALUE_LENGTH < len(text) else ''}"
