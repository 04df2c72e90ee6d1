"""The console of the `wan` command, and how it says a sentence. Imports nothing heavy."""

from __future__ import annotations

import os

from rich.console import Console

__all__ = ["open_console", "printable", "say", "warn"]

# Escape sequences begin with one of these, and the last ones turn the order of letters around.
_NOT_PRINTED = dict.fromkeys(
    [
        *(code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ],
    "\N{REPLACEMENT CHARACTER}",
)
UNFOLDED = 240  # columns where nobody looks: a path in a log or a pipe stays in one piece


def open_console(*, stderr: bool = False) -> Console:
    """A console that prints prompts, file names and providers' messages as they are.

    With rich's markup on, a `[/b]` in one of them would be an error, and a `[b]` would vanish.
    """
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNFOLDED
    return console


def printable(text: str) -> str:
    """Words of others, unable to move the cursor, recolour or rewrite what stands on a terminal."""
    return text.translate(_NOT_PRINTED)


def say(console: Console, text: str) -> None:
    """An error; never wrapped, so that a script or a person can search for it."""
    console.print(printable(text), style="red", soft_wrap=True)


def warn(console: Console, text: str) -> None:
    """Something to know that is no error."""
    console.print(printable(text), style="yellow", soft_wrap=True)
