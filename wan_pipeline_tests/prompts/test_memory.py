"""A large prompt file within a memory limit that the operating system enforces."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Of the data segment, beyond what the imports take.
LIMIT = 400_000_000
FILE_SIZE = 50_000_000

SCRIPT = """
import re, resource, sys
from pathlib import Path
import psutil
from wan_pipeline.prompts.plan_table import write_request_table
from wan_pipeline.prompts.table import build_prompt_table

source, limit = Path(sys.argv[1]), int(sys.argv[2])
before = psutil.Process().memory_info()
if sys.platform == "linux":  # elsewhere there is no such limit
    resource.setrlimit(resource.RLIMIT_DATA, (before.data + limit, before.data + limit))
out = source.parent / "out"
table = build_prompt_table(source, out_dir=out, set_name="large")
plan = write_request_table(
    out / "prompts.parquet", out=out / "requests.parquet", model="m", base_seed=0
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, but on Linux
if sys.platform == "linux":  # there it is kB, and never less than what the test runner had
    peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
print(table.rows_read, table.accepted, table.duplicates, plan.rows, peak - before.rss)
"""


@pytest.mark.slow
def test_a_large_file_within_a_memory_limit(tmp_path: Path) -> None:
    """50 MB of CSV are validated and planned with at most 400 MB; every tenth row is equal."""
    source = tmp_path / "large.csv"
    line = ", ".join(["a red kite over pale dunes"] * 16)
    rows = 0
    random.seed(7)
    with source.open("w", encoding="utf-8", newline="") as file:
        size = file.write("prompt,n,seed,style\n")
        while size < FILE_SIZE:
            number = rows if rows % 10 else 0
            size += file.write(f'"{line} 山 {number}",{number % 4 + 1},,{number % 7}\n')
            rows += 1
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(LIMIT)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    read, accepted, duplicates, planned, grown = map(int, result.stdout.split())
    assert read == rows
    assert accepted == planned == rows - duplicates
    assert duplicates == (rows + 9) // 10 - 1
    assert grown < LIMIT
