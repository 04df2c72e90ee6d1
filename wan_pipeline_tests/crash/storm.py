"""Kill batches at random moments under a provider that misbehaves at random, and count the losses.

    python -m wan_pipeline_tests.crash.storm --kills 200 --seed 7

Each round has requests, faults, caps and kills of its own, all drawn from the seed and the round's
number; `--round N` plays one of them again. When a kill strikes is a matter of the machine too, so
a round that failed may have to be played more than once. The last line is for scripts; the exit
code is 1 when any promise was broken.
"""

# ruff: noqa: T201  a command that prints

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.wan.profiles import Limits, RequestForm
from wan_pipeline_tests.crash.case import Case
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import PRICE, make_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wan_pipeline.emulator.faults import Step
    from wan_pipeline_tests.crash.proof import Proof

__all__ = ["Round", "Storm", "last_line", "main"]

K = FaultKind
ON: dict[Step, tuple[FaultKind, ...]] = {
    "create": (
        *(K.RATE_LIMITED_NO_RETRY_AFTER, K.RATE_LIMITED, K.ERROR_500_BEFORE, K.ERROR_503_BEFORE),
        *(K.ERROR_500_AFTER, K.ERROR_504_AFTER, K.RESET_BEFORE, K.RESET_AFTER, K.HUNG_BEFORE),
        *(K.HUNG_AFTER, K.MALFORMED_JSON, K.OK_UNREADABLE, K.OK_WITHOUT_ID_WITH_ERROR),
        *(K.REFUSED_400, K.REFUSED_422, K.TASK_FAILED, K.TASK_FAILED_BILLED),
        *(K.MODERATION_FAILED, K.MISSING_IMAGES),
    ),
    "poll": (
        *(K.UNKNOWN_TASK, K.ERROR_503_BEFORE, K.RESET_BEFORE, K.HUNG_BEFORE, K.MALFORMED_JSON),
        K.RATE_LIMITED_NO_RETRY_AFTER,
    ),
    "download": (
        *(K.TRUNCATED_IMAGE, K.CORRUPTED_IMAGE, K.HTML_IMAGE, K.EMPTY_IMAGE, K.EXPIRED_URL),
        *(K.ERROR_503_BEFORE, K.RESET_AFTER, K.REDIRECT),
    ),
}
KILLS = (1, 3)  # in one round
LONGEST_S = 0.5  # a batch takes about so long
PAUSE_S = 1.0  # of the breaker; hundredths of that on the batch's clock
FOREVER_S = 1e9  # result URLs outlive a round on the slowest machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of one round.

    Attributes:
        number: of the round.
        met: kills that met a batch at work.
        proof: what was found in the end.
    """

    number: int
    met: int
    proof: Proof


class Storm:
    """Rounds, one after the other, against one emulator.

    Args:
        folder: an empty one; what a broken round left stays there.
        seed: of everything that is drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def rounds(self, kills: int) -> Iterator[Round]:
        """As many rounds as it takes to meet so many batches at work."""
        met = 0
        with RunningEmulator(self._folder / "provider") as emulator:
            for number in itertools.count():
                found = self._round(number, emulator, most=kills - met)
                met += found.met
                yield found
                if met >= kills:
                    return

    def round(self, number: int) -> Round:
        """One of them, again."""
        with RunningEmulator(self._folder / "provider") as emulator:
            return self._round(number, emulator, most=KILLS[1])

    def _round(self, number: int, emulator: RunningEmulator, *, most: int) -> Round:
        random_ = random.Random(f"{self._seed}/{number}")
        plan, caps = _plan(random_), _caps(random_)
        emulator.set_plan(plan)
        case = Case(
            folder=self._folder / f"round-{number}",
            emulator=emulator,
            requests=_requests(random_, f"storm {self._seed}/{number}"),
            terms={
                "caps": caps,
                "form": RequestForm.AUTO,
                "limits": _limits(random_),
                "breaker_pause_s": PAUSE_S,
            },
        )
        case.data.mkdir(parents=True)
        broken: list[str] = []
        met = 0
        for _ in range(min(random_.randint(*KILLS), most)):
            met += case.batch(kill_after_s=random_.uniform(0.02, LONGEST_S)).killed
            broken += _passed(case, caps, plan)
            if random_.random() < 0.3:  # a person who looks in between
                case.decide()
        case.finish()
        broken += _passed(case, caps, plan)
        proof = case.prove(broken)
        if not proof.violations:
            shutil.rmtree(case.folder)
        return Round(number=number, met=met, proof=proof)


def last_line(rounds: Sequence[Round]) -> str:
    """Sums over all rounds, for scripts."""
    bill = sum((each.proof.bill_usd for each in rounds), Decimal(0))
    paid = sum((each.proof.ledger_usd for each in rounds), Decimal(0))
    return (
        f"kills={sum(each.met for each in rounds)}"
        f" double={sum(each.proof.double for each in rounds)}"
        f" lost={sum(each.proof.lost for each in rounds)}"
        f" bill_usd={bill:.2f} ledger_usd={paid:.2f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the storm; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m wan_pipeline_tests.crash.storm")
    parser.add_argument("--kills", type=int, default=200, help="batches to kill")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is drawn")
    parser.add_argument("--round", type=int, help="play only this round")
    options = parser.parse_args(arguments)
    rounds: list[Round] = []
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    storm = Storm(folder, options.seed)
    one = options.round is not None
    for found in [storm.round(options.round)] if one else storm.rounds(options.kills):
        rounds.append(found)
        print(_line(found), flush=True)
        for violation in found.proof.violations:
            print(f"     {violation}", flush=True)
        if found.proof.violations:
            print(f"     again: {_again(options.seed, found.number)}", flush=True)
    broken = any(found.proof.violations for found in rounds)
    if broken:
        print(f"what is left of the broken rounds lies in {folder}")
    else:
        shutil.rmtree(folder)
    print(last_line(rounds))
    return 1 if broken else 0


def _again(seed: int, number: int) -> str:
    return f"python -m wan_pipeline_tests.crash.storm --seed {seed} --round {number}"


def _line(found: Round) -> str:
    states = " ".join(f"{state.value}={count}" for state, count in found.proof.states.items())
    return (
        f"{found.number:3} kills={found.met} {states} bill={found.proof.bill_usd}"
        f" paid={found.proof.ledger_usd} {'BROKEN' if found.proof.violations else 'ok'}"
    )


# --- drawing ---


def _plan(random_: random.Random) -> EmulatorPlan:
    """Some faults, each striking a share of the events of its step."""
    faults = [
        Fault(
            kind=random_.choice(ON[step]),
            on=step,
            probability=random_.choice((0.1, 0.2, 0.4)),
            retry_after_s=random_.choice((0, 1, 5)),
        )
        for step in random_.choices(list(ON), weights=(3, 1, 2), k=random_.randint(1, 5))
    ]
    return EmulatorPlan(
        speed_up=1000,
        seed=random_.randrange(2**31),
        url_lifetime_s=FOREVER_S,
        # Sometimes the provider takes more, or less, than the price table says.
        price_usd=random_.choice((PRICE, PRICE, PRICE, Decimal("0.02"), Decimal("0.035"))),
        faults=tuple(faults),
    )


def _requests(random_: random.Random, tag: str) -> list[Any]:
    return [
        make_request(f"{tag}: kite {number}", n=random_.choice((1, 1, 1, 2, 3)), seed=number)
        for number in range(random_.randint(3, 9))
    ]


def _caps(random_: random.Random) -> Caps:
    """None in most rounds; else one that may stop the batch."""
    cap = PRICE * random_.randint(2, 12)
    name = random_.choice((None, None, "run", "day", "prompt_set", "total"))
    return Caps() if name is None else Caps(**{name: cap})


def _limits(random_: random.Random) -> Limits:
    return Limits(
        submissions_per_second=random_.choice((10, 100, 500)),
        queries_per_second=2000,
        running_at_once=random_.choice((1, 5, 20)),
    )


def _passed(case: Case, caps: Caps, plan: EmulatorPlan) -> list[str]:
    """Caps that are passed; a reported cost above the price may pass one, and is no fault."""
    if plan.price_usd > PRICE:
        return []
    with case.ledger() as ledger:
        committed = {name: ledger.committed() for name in ("day", "prompt_set", "total")}
        runs = (ledger.committed(run_id=f"run-{number + 1}") for number in range(case.runs))
        committed["run"] = max(runs, default=Decimal(0))
    return [
        f"the cap {name} of {cap} USD is passed: {committed[name]} USD are spent or reserved"
        for name, cap in caps.named().items()
        if committed[name] > cap
    ]


if __name__ == "__main__":
    sys.exit(main())
