"""What every test shares: which tools the machine has, and no settings from the outside."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import subprocess
from itertools import chain
from typing import TYPE_CHECKING

import hypothesis
import pytest

from wan_pipeline_tests.engines import keep_engines
from wan_pipeline_tests.postgres_fixture import missing_postgres, postgres_server, postgres_url

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["postgres_server", "postgres_url"]

PROCESSES = "PYTEST_XDIST_WORKER_COUNT"

# How long an example takes is a matter of the machine; what it shows is not.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")

keep_engines()
# Its collector walked what was imported again and again, for a tenth of the processor time.
gc.set_threshold(20_000, 20, 20)

# A shell ignores Ctrl-C for what it starts in the background, and children inherit that; tests send
# it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Settings of the person who runs the tests must not change what they test.
for name in [name for name in os.environ if name.startswith(("WAN_", "DAGSTER_", "PG"))]:
    del os.environ[name]


def _has_chinese_font() -> bool:
    lister = shutil.which("fc-list")
    if lister is None:
        return False
    found = subprocess.run([lister, ":lang=zh"], capture_output=True, check=False, text=True)
    return bool(found.stdout.strip())


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _missing() -> dict[str, str]:
    """What cannot be run here and why, by marker."""
    missing: dict[str, str] = {}
    if shutil.which("chromium") is None:
        missing["browser"] = "no chromium (Debian: apt-get install chromium)"
    elif not _has_chinese_font():
        missing["browser"] = "no Chinese font (Debian: apt-get install fonts-noto-cjk)"
    elif not _has_library("libatomic.so.1"):  # of the node that playwright brings
        missing["browser"] = "no libatomic (Debian: apt-get install libatomic1)"
    if shutil.which("exiftool") is None:
        missing["exiftool"] = "no exiftool (Debian: apt-get install libimage-exiftool-perl)"
    if (reason := missing_postgres()) is not None:
        missing["postgres"] = reason
    return missing


MISSING = _missing()


def pytest_configure() -> None:
    """On CI nothing may be missing."""
    if MISSING and os.environ.get("CI") == "true":
        pytest.exit(f"CI must run every test, but: {MISSING}", returncode=1)


def pytest_report_header() -> list[str]:
    """Name the groups that are left out."""
    return [f"left out: tests marked {group}, {reason}" for group, reason in MISSING.items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be run here."""
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in MISSING)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items[:] = _long_ones_first(items, processes=int(os.environ.get(PROCESSES, "1")))


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later collection of garbage: it stays anyway.

    Dagster, Arrow and the tests are 200,000 objects; walking them again and again took 4 % of the
    processor time.
    """
    gc.collect()
    gc.freeze()


def _long_ones_first(items: Sequence[pytest.Item], *, processes: int) -> list[pytest.Item]:
    """An order in which each test process begins with its share of the slow tests.

    pytest-xdist gives each process an equal part of the list, and what others take over later it
    takes from the end of a part. In their own order the slow ones are neighbours, and one process
    would still be at them when all else is done. Tests of a module share set-up and stay together,
    unless they are marked as `slow(apart=True)`.
    """
    slow: dict[object, list[pytest.Item]] = {}
    quick: list[pytest.Item] = []
    for item in items:
        mark = item.get_closest_marker("slow")
        if mark is None:
            quick.append(item)
        else:
            slow.setdefault(item if mark.kwargs.get("apart") else item.path, []).append(item)
    parts: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, together in enumerate(slow.values()):
        parts[number % processes] += together
    size = -(-len(items) // processes)
    for part in parts:
        room = max(size - len(part), 0)
        part.extend(quick[:room])
        del quick[:room]
    return [*chain.from_iterable(parts), *quick]
