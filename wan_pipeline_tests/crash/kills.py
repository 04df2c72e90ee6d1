"""Kill the pipeline at random moments, run it again, and count what was lost or bought twice.

    python -m wan_pipeline_tests.crash.kills --kills 20 --seed 7

Each round has a data folder of its own. The last line is for scripts; the exit code is 1 when any
promise was broken.
"""

# ruff: noqa: T201  a command that prints

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline_tests.crash.trial import REQUESTS, Command, Moment, Trial, Victim

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wan_pipeline_tests.crash.audit import Audit

__all__ = ["Kill", "kill_and_finish", "kills", "last_line", "main"]

BUYING_S = 4.0  # from the first intent to the last image, about
CREATE_S = 0.02  # from an intent to the record of its answer, about
KINDS = ("anywhere", "buying", "create")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Whom to kill, and when."""

    moment: Moment
    victim: Victim


def kills(count: int, *, seed: int, whole_s: float) -> Iterator[Kill]:
    """Seeded kills, spread over a whole run, over its buying, and right after an intent.

    The last kind is the likeliest to strike between a create and its answer.

    Args:
        count: how many.
        seed: the same one gives the same kills.
        whole_s: seconds that an undisturbed run takes.
    """
    random_ = random.Random(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        if kind == "anywhere":
            moment = Moment(after_s=random_.uniform(0.2, 0.9 * whole_s))
        elif kind == "buying":
            moment = Moment(intents=1, after_s=random_.uniform(0, BUYING_S))
        else:
            moment = Moment(
                intents=random_.randint(1, REQUESTS), after_s=random_.uniform(0, CREATE_S)
            )
        yield Kill(moment=moment, victim=list(Victim)[number % len(Victim)])


def kill_and_finish(trial: Trial, kill: Kill) -> tuple[bool, Audit]:
    """Start, kill, run again to the end; whether the kill met it alive, and what was found."""
    met = trial.run_and_kill(kill.moment, kill.victim)
    return met, trial.audit(trial.run())


def last_line(audits: Sequence[Audit]) -> str:
    """Sums over all rounds, for scripts."""
    bill = sum((each.bill_usd for each in audits), Decimal(0))
    paid = sum((each.ledger_usd for each in audits), Decimal(0))
    return (
        f"kills={len(audits)} double={sum(each.double for each in audits)}"
        f" lost={sum(each.lost for each in audits)}"
        f" unknown={sum(each.unknown for each in audits)} bill_usd={bill:.2f} ledger_usd={paid:.2f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rounds; 1 when a promise was broken."""
    options = _parser().parse_args(arguments)
    command = Command.make(options.checkout.resolve()) if options.command == "make" else Command()
    audits: list[Audit] = []
    broken = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        whole_s = _whole_run_s(Trial(folder=Path(folder), command=command))
    print(f"an undisturbed run takes {whole_s:.1f} s", flush=True)
    rounds = enumerate(kills(options.kills, seed=options.seed, whole_s=whole_s), start=1)
    for number, kill in rounds:
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            met, found = kill_and_finish(Trial(folder=Path(folder), command=command), kill)
        audits.append(found)
        broken += len(found.violations)
        print(_line(number, kill, found, met=met), flush=True)
        for violation in found.violations:
            print(f"     {violation}", flush=True)
    print(last_line(audits))
    return 1 if broken else 0


def _whole_run_s(trial: Trial) -> float:
    began = time.monotonic()
    ended = trial.run()
    took_s = time.monotonic() - began
    found = trial.audit(ended)
    if found.violations:
        raise SystemExit("\n".join(["an undisturbed run is not in order:", *found.violations]))
    return took_s


def _line(number: int, kill: Kill, found: Audit, *, met: bool) -> str:
    return (
        f"{number:3} {kill.victim:7} at {kill.moment!s:38} {'killed' if met else 'too late':8}"
        f" stored={found.stored} unknown={found.unknown} double={found.double} lost={found.lost}"
        f" bill={found.bill_usd} paid={found.ledger_usd}"
        f" {'ok' if not found.violations else 'BROKEN'}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wan_pipeline_tests.crash.kills")
    parser.add_argument("--kills", type=int, default=20, help="rounds")
    parser.add_argument("--seed", type=int, default=7, help="of the moments and the victims")
    parser.add_argument("--command", choices=("wan", "make"), default="wan", help="what is killed")
    parser.add_argument(
        "--checkout", type=Path, default=Path(), help="where `make run` is typed; an installed one"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
