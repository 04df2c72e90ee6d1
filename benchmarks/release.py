"""What making, opening, verifying and comparing a release costs, in time and memory.

Run it as ``python benchmarks/release.py [ROWS]``: it makes up that many images of one prompt each
(100,000 unless told otherwise) with a ledger and tables, in a temporary folder that needs 5 KB per
row. The named alternative is a loop that reads and hashes the same image files with hashlib, which
no release can be made without; all rows come from one run, so that the ratios hold on a busy
machine. Memory is the peak of a process that does that step alone.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq

from wan_pipeline.dataset.release.diff import diff_releases
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.verify import verify_release
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png
from wan_pipeline_tests.ledger.entries import event_row, image_row, purchase_row

ROWS = 100_000
CHUNK = 5_000
STEPS = ("hashlib", "create", "open and read", "verify", "diff")


def make_up(folder: Path, rows: int) -> None:
    """A data folder with `rows` prompts, each with a stored image."""
    with Workshop(folder) as shop:
        lines = (f"p{n},a kite number {n},{n},{n % 977}\n" for n in range(rows))
        csv = "prompt_id,prompt,seed,sku\n" + "".join(lines)
        shop.build("many", csv, leave=lambda _: True)
        part = []
        for request in iter_requests(shop.layout.tables("many") / REQUESTS_FILE):
            part.append(_bought(request, folder / "emulator"))
            if len(part) == CHUNK:
                shop.add(*zip(*part, strict=True))
                part = []
        if part:
            shop.add(*zip(*part, strict=True))
        shop.publish("many")


def _bought(request, root):  # noqa: ANN001, ANN202  rows of three tables
    request_id = request.request_id
    data = tiny_png(request_id)
    image_id = hashlib.sha256(data).hexdigest()
    path = f"images/{image_id[:2]}/{image_id}.png"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)  # the store would wait for the disk, file by file
    return (
        purchase_row(
            request_id,
            request=request.request.canonical_json().decode(),
            cost_usd=Decimal("0.03"),
            final_answer='{"status":"succeeded"}' * 20,
        ),
        image_row(request_id, image_id=image_id, path=path, bytes=len(data)),
        event_row(request_id),
    )


def do(step: str, folder: Path) -> None:
    """One step, by itself."""
    releases = folder / "emulator" / "releases"
    match step:
        case "hashlib":
            table = pq.read_table(folder / "emulator/metadata/many.parquet", columns=["path"])
            for path in table["path"].to_pylist():
                hashlib.sha256((folder / "emulator" / path).read_bytes()).hexdigest()
        case "create":
            with Workshop(folder) as shop:
                shop.release("many", "many")
        case "open and read":
            for _ in open_release(releases, "many").rows():
                pass
        case "verify":
            if not verify_release(releases, "many").whole:
                raise SystemExit("the release is not whole")
        case _:
            release = open_release(releases, "many")
            diff_releases(release, release)


def main() -> None:
    """Make up the folder, then each step in a process of its own."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_up(folder, rows)
        print(f"{rows:,} images")
        base = 0.0
        for step in STEPS:
            done = subprocess.run(
                [sys.executable, __file__, "--step", step, temporary],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds, megabytes = map(float, done.stdout.split())
            base = base or seconds
            print(f"{step:14} {seconds:7.1f} s {seconds / base:6.1f}x {megabytes:6.0f} MB")


def alone(step: str, folder: Path) -> None:
    """Print seconds and peak memory of one step."""
    start = time.perf_counter()
    do(step, folder)
    seconds = time.perf_counter() - start
    # What getrusage tells begins with the parent's peak.
    status = Path("/proc/self/status").read_text()
    print(seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        alone(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
