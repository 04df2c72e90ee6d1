"""A batch on a disk that fills up, in a mount namespace of its own, and again with space.

    python -m wan_pipeline_tests.reliability.small_disk MOUNT_POINT BASE_URL AFTER

To be started by `unshare`; prints one JSON line that says what both runs did. The disk is a tmpfs
that is gone with the process.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests
from wan_pipeline_tests.reliability.accounts import rescued_tasks, temp_files

if TYPE_CHECKING:
    from wan_pipeline.generation.progress import Tally

__all__ = ["REQUESTS", "main"]

REQUESTS = 12
DISK_BYTES = 64 * 1024 * 1024
FILL_BYTES = 4096
NEVER = 10**9


@dataclass
class Filler:
    """Takes all space of the disk as soon as so many creates were sent."""

    folder: Path
    after: int

    def update(self, tally: Tally) -> None:
        """Fill, once."""
        if tally.created >= self.after and not self.ballast.exists():
            self.fill()

    @property
    def ballast(self) -> Path:
        """The file that takes the space."""
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave nothing."""
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * FILL_BYTES):
                    pass
            except OSError:
                return


def buy(disk: Path, base_url: str, after: int) -> dict[str, Any]:
    """One batch; what it reported, or the error that ended it."""
    bench = Workbench(folder=disk / "data", base_url=base_url)
    filler = Filler(disk, after)
    if not after:
        filler.fill()
    try:
        report = asyncio.run(bench.buy(make_requests(REQUESTS), progress=filler))
    except (LedgerUnavailableError, OSError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {
        "stop": report.stop,
        "detail": report.stop_detail,
        "created": report.tally.created,
        "done": report.tally.done + report.tally.already_stored,
    }


def in_a_process(*arguments: str) -> dict[str, Any]:
    """The same in a process that is dead afterwards, as a run of `wan` is."""
    ended = subprocess.run(
        [sys.executable, "-m", "wan_pipeline_tests.reliability.small_disk", "--batch", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def main(mount_point: str, base_url: str, after: str) -> int:
    """Mount, fill, buy, make room, buy."""
    disk = Path(mount_point)
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", mount_point], check=True)
    full = in_a_process(mount_point, base_url, after)
    full["temp_files"] = list(map(str, temp_files(disk)))
    Filler(disk, 0).ballast.unlink()
    bench = Workbench(folder=disk / "data", base_url=base_url)
    known = {purchase.task_id for purchase in bench.books().purchases.values()}
    full["known"] = sorted(map(str, (known | rescued_tasks(disk / "data/rescue")) - {None}))
    then = in_a_process(mount_point, base_url, str(NEVER))
    books = bench.books()
    then |= {"spent": str(books.spent), "reserved": str(books.reserved), "states": books.states()}
    then["temp_files"] = list(map(str, temp_files(disk)))
    sys.stdout.write(json.dumps({"full": full, "then": then}) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--batch":
        folder, url, creates = sys.argv[2:]
        sys.stdout.write(json.dumps(buy(Path(folder), url, int(creates))) + "\n")
        sys.exit(0)
    sys.exit(main(*sys.argv[1:]))
