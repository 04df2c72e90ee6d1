"""``python -m wan_pipeline.emulator``: one emulator in the foreground."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from wan_pipeline.emulator.endpoint import PLAN_FILE
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.emulator.server import PortTakenError, StateDirInUseError, serve

_log = logging.getLogger("wan_pipeline.emulator")


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; 0 after a normal end, 1 if serving was impossible."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(
            state_dir=options.state_dir,
            host=options.host,
            port=options.port,
            plan=_plan(options.plan, options.state_dir),
            lease_pids=tuple(options.lease_pid),
            standalone=options.standalone,
        )
    except (OSError, PortTakenError, StateDirInUseError, ValidationError) as error:
        _log.error("the emulator cannot start: %s", error)
        return 1
    return 0


def _plan(path: Path | None, state_dir: Path) -> EmulatorPlan:
    last = state_dir / PLAN_FILE
    if path is None and not last.exists():
        return EmulatorPlan()
    return EmulatorPlan.load(path or last)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wan_pipeline.emulator", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="folder of book and plan")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 takes a free one")
    parser.add_argument("--plan", type=Path, help="plan as JSON; by default the folder's last one")
    parser.add_argument(
        "--lease-pid",
        type=int,
        action="append",
        default=[],
        help="live no longer than this process and others with a lease; may be repeated",
    )
    parser.add_argument("--standalone", action="store_true", help="live until interrupted")
    return parser


if __name__ == "__main__":
    sys.exit(main())
