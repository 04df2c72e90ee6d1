"""How fast, and in how much memory, a large prompt file becomes a prompt table.

Generates a CSV of about the given size, reads it with one plain `pandas.read_csv`, which checks
nothing and keeps everything in memory, and builds its prompt and request tables. Each measurement
is a process of its own; memory is what it needs beyond its imports, ratios are to `read_csv`.

    python benchmarks/prompt_table.py            # 50 MB
    python benchmarks/prompt_table.py --mb 1000  # 1 GB
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import psutil

from wan_pipeline.prompts.plan_table import write_request_table
from wan_pipeline.prompts.table import build_prompt_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue

_PHRASES = (
    "a red kite over dunes at dawn",
    "long shadows",
    "grain of film, quiet sea",
    "old town with paper lanterns",
    "山 水 花 鸟",
    "soft light, wide angle",
    "snow on pines, a tea house",
    "blue hour",
)
_SIZES = ("1280*1280", "1280x1280", "16:9", "3:4", "768*2700", "")
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One finished measurement: seconds, and bytes of memory beyond the imports."""

    seconds: float
    memory: int


def write_csv(path: Path, size: int) -> int:
    """Write a varied CSV of about `size` bytes and return its number of rows."""
    random.seed(7)
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "negative_prompt", "size", "n", "seed", "category", "sku"])
        while file.tell() < size if rows % 1000 == 0 else True:
            prompt = ", ".join(random.choices(_PHRASES, k=random.randint(1, 16)))
            seed = random.choice(["", str(rows), f"{rows}.0"])
            size_text = random.choice(_SIZES)
            writer.writerow([prompt, "blur", size_text, rows % 4 + 1, seed, "benchmark", rows])
            rows += 1
    return rows


def prompt_table(source: Path, out: Path) -> None:
    """Validate the file and write the prompt table."""
    build_prompt_table(source, out_dir=out, set_name="benchmark")


def request_table(_source: Path, out: Path) -> None:
    """Expand the prompt table into the request table."""
    write_request_table(
        out / "prompts.parquet",
        out=out / "requests.parquet",
        model="wan25_t2i_preview_intl",
        base_seed=0,
    )


def one_shot(source: Path, _out: Path) -> None:
    """Do what the alternative does: read everything at once, check nothing."""
    pd.read_csv(source)


def _measured(
    work: Callable[[Path, Path], None], source: Path, out: Path, result: SimpleQueue[Measurement]
) -> None:
    process = psutil.Process()
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    work(source, out)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    result.put(Measurement(seconds=seconds, memory=peak - before))


def measure(work: Callable[[Path, Path], None], source: Path, out: Path) -> Measurement:
    """Run `work` in a fresh process and measure it there."""
    context = multiprocessing.get_context("spawn")
    result: SimpleQueue[Measurement] = context.SimpleQueue()
    process = context.Process(target=_measured, args=(work, source, out, result))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{work.__name__} failed with exit code {process.exitcode}; see its output above")
    return result.get()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=50, help="size of the CSV in megabytes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "benchmark.csv"), Path(folder, "out")
        rows = write_csv(source, arguments.mb * _MB)
        print(f"{source.stat().st_size / _MB:.0f} MB, {rows} rows")
        alternative = measure(one_shot, source, out)
        print(_line("pandas.read_csv", rows, alternative, alternative))
        for work in (prompt_table, request_table):
            print(_line(work.__name__, rows, measure(work, source, out), alternative))


def _line(name: str, rows: int, result: Measurement, alternative: Measurement) -> str:
    return (
        f"{name:16} {result.seconds:7.1f} s {rows / result.seconds:9.0f} rows/s "
        f"{result.memory / _MB:6.0f} MB   "
        f"time x {result.seconds / alternative.seconds:.1f}, "
        f"memory x {result.memory / alternative.memory:.2f}"
    )


if __name__ == "__main__":
    main()
