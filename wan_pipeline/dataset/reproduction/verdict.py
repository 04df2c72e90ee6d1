"""What a comparison comes to: counts, verdict, and report.json, which says them to scripts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.atomic import write_atomic
from wan_pipeline.dataset.reproduction.compare import DRIFTED, DriftRow, Outcome
from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from wan_pipeline.dataset.reproduction.compare import DriftRule
    from wan_pipeline.dataset.reproduction.naming import Series
    from wan_pipeline.dataset.reproduction.sample import Sample

__all__ = [
    "REPORT_FILE",
    "CostDifference",
    "DriftReport",
    "Verdict",
    "judge",
    "read_report",
    "worst_first",
    "write_report",
]

REPORT_FILE = "report.json"
ZERO = Decimal(0)
_PLACES = (
    *(Outcome.MISSING, Outcome.RESIZED, Outcome.UNDECODABLE, Outcome.NOT_BROUGHT),
    *(Outcome.CHANGED, Outcome.ALIKE, Outcome.EXTRA, Outcome.IDENTICAL),
)


class Verdict(StrEnum):
    """What is to be said of the sample as a whole; the first that fits.

    Attributes:
        DRIFT: more images than allowed have drifted.
        INCOMPLETE: not every request came to its end with an image that can be compared.
        NOTHING_COMPARED: no image counts: the provider rewrites every prompt of the sample.
        NO_DRIFT: the provider still brings what it brought.
    """

    DRIFT = "drift"
    INCOMPLETE = "incomplete"
    NOTHING_COMPARED = "nothing_compared"
    NO_DRIFT = "no_drift"


# Purchases that a reproduction with the same label neither fetches nor buys again.
_ENDED = frozenset(
    state.value
    for state in (
        *(PurchaseState.REFUSED, PurchaseState.FAILED, PurchaseState.EXPIRED),
        *(PurchaseState.RELEASED, PurchaseState.WRITTEN_OFF, PurchaseState.STORED),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDifference:
    """A request that costs something else than it did; told, never counted as drift."""

    request_id: str
    old_usd: Decimal
    new_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What one reproduction found.

    Attributes:
        release: reference of the release.
        label: which reproduction.
        series: its name in the ledger.
        profile: account that was asked.
        run_id: of the run that compared.
        created_at: when this was written.
        verdict: of the sample.
        requests: in the sample.
        release_requests: in the release.
        images: compared or not; rows of the table.
        outcomes: images by outcome.
        counted: images that count for the verdict.
        drifted: of those, how many have drifted.
        farthest: the largest distance of a counted image; None when there is none.
        rewritten: images of prompts that the provider rewrote otherwise.
        rewritten_differing: of those, how many differ; not counted unless the rule says so.
        incomplete: requests by their state, where not every image came.
        rule: what counts as drift.
        old_cost_usd: what the release's images of the sample cost.
        new_cost_usd: what reproducing them has cost so far.
        cost_differences: requests complete on both sides whose costs differ.
    """

    release: str
    label: str
    series: str
    profile: str
    run_id: str
    created_at: datetime
    verdict: Verdict
    requests: int
    release_requests: int
    images: int
    outcomes: dict[str, int]
    counted: int
    drifted: int
    farthest: int | None
    rewritten: int
    rewritten_differing: int
    incomplete: dict[str, int]
    rule: DriftRule
    old_cost_usd: Decimal
    new_cost_usd: Decimal
    cost_differences: tuple[CostDifference, ...]

    @property
    def share(self) -> float:
        """Of the images that count, how many have drifted."""
        return self.drifted / self.counted if self.counted else 0.0

    @property
    def sentence(self) -> str:
        """The verdict in words, with what to do where it is not a good one."""
        left = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in self.incomplete.items())
        match self.verdict:
            case Verdict.DRIFT:
                more = f"; of other requests nothing came ({left})" if left else ""
                return (
                    f"{self.drifted} of {self.counted} images have drifted ({self.share:.0%},"
                    f" allowed {self.rule.share:.0%}): the provider answers the same requests"
                    f" otherwise than when the release was made{more}"
                )
            case Verdict.INCOMPLETE:
                return (
                    f"not every request could be compared ({left or 'a file is damaged'}):"
                    f" {self._further}"
                )
            case Verdict.NOTHING_COMPARED:
                return (
                    "nothing can be said: the provider rewrites the prompt of every request in the"
                    " sample, each time otherwise. Release a set whose rows have prompt_extend"
                    " false, or count them all the same"
                )
            case Verdict.NO_DRIFT:
                return (
                    f"no drift: {self.counted} images compared, {self.drifted} drifted;"
                    f" {self.outcomes['identical']} of {self.images} images are identical"
                )

    @property
    def _further(self) -> str:
        """What brings those further that could not be compared."""
        if self.incomplete and set(self.incomplete) <= _ENDED:
            return (
                f"under the label {self.label} they are at their end; another --label buys the"
                " sample anew"
            )
        sample = "all" if self.requests == self.release_requests else self.requests
        again = f"wan reproduce {self.release} --sample {sample} --label {self.label}"
        person = "what is unknown needs a person (`wan ledger show --state unknown`)"
        unknown = f", and {person}" if PurchaseState.UNKNOWN.value in self.incomplete else ""
        return f"`{again}` goes on{unknown}"

    def as_json(self) -> dict[str, Any]:
        """For scripts; money as strings."""
        found = asdict(self)
        found |= {
            "created_at": self.created_at.isoformat(),
            "verdict": self.verdict.value,
            "share": round(self.share, 6),
            "old_cost_usd": _plain(self.old_cost_usd),
            "new_cost_usd": _plain(self.new_cost_usd),
            "cost_differences": [
                {
                    "request_id": each.request_id,
                    "old_usd": _plain(each.old_usd),
                    "new_usd": _plain(each.new_usd),
                }
                for each in self.cost_differences
            ],
            "sentence": self.sentence,
        }
        return found


def judge(
    rows: Sequence[DriftRow],
    *,
    sample: Sample,
    series: Series,
    rule: DriftRule,
    profile: str,
    run_id: str,
    new_cost_usd: Decimal,
    now: datetime,
) -> DriftReport:
    """Sum up a comparison.

    Args:
        rows: as `compare` made them.
        sample: what was compared.
        series: whose reproduction it is.
        rule: what counts as drift.
        profile: account that was asked.
        run_id: of this run.
        new_cost_usd: what the series paid for the sample.
        now: the time.
    """
    counted = [row for row in rows if row.counted]
    drifted = sum(row.drifted for row in counted)
    rewritten = [row for row in rows if row.rewritten]
    incomplete = _incomplete(rows)
    outcomes = Counter(row.outcome for row in rows)
    if counted and drifted / len(counted) > rule.share:
        verdict = Verdict.DRIFT
    elif incomplete or outcomes[Outcome.UNDECODABLE]:
        verdict = Verdict.INCOMPLETE
    else:
        verdict = Verdict.NO_DRIFT if counted else Verdict.NOTHING_COMPARED
    return DriftReport(
        release=series.reference,
        label=series.label,
        series=series.name,
        profile=profile,
        run_id=run_id,
        created_at=now,
        verdict=verdict,
        requests=len(sample.requests),
        release_requests=sample.of,
        images=len(rows),
        outcomes={outcome.value: outcomes[outcome] for outcome in Outcome},
        counted=len(counted),
        drifted=drifted,
        farthest=max((row.distance for row in counted if row.distance is not None), default=None),
        rewritten=len(rewritten),
        rewritten_differing=sum(row.outcome in DRIFTED for row in rewritten),
        incomplete=incomplete,
        rule=rule,
        old_cost_usd=sum((each.cost_usd for each in sample.requests), ZERO),
        new_cost_usd=new_cost_usd,
        cost_differences=tuple(_cost_differences(rows)),
    )


def write_report(report: DriftReport, out: Path) -> None:
    """Write report.json, replacing an older one at once.

    Raises:
        OSError: the disk refused; an older report stays.
    """
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
    # A lone surrogate, legal in JSON input, has no UTF-8 form.
    write_atomic(out, text.encode("utf-8", errors="replace"))


def read_report(path: Path, *, run_id: str | None = None) -> dict[str, Any] | None:
    """What `write_report` wrote, and that run, if one is named; None when there is nothing."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found if run_id in (None, found["run_id"]) else None


def worst_first(rows: Iterable[DriftRow]) -> list[DriftRow]:
    """Drifted images first, then the other ones that count, then the rest; the farthest first."""
    return sorted(
        rows,
        key=lambda row: (
            not row.drifted,
            row.rewritten,
            _PLACES.index(row.outcome),
            -(row.distance or 0),
            row.request_id,
            row.image_index,
        ),
    )


def _plain(amount: Decimal) -> str:
    """An amount without the zeros that a table's column adds."""
    return f"{amount.normalize():f}"


def _incomplete(rows: Iterable[DriftRow]) -> dict[str, int]:
    """Requests by state, of those with an image that was not brought."""
    states = {row.request_id: row.state for row in rows if row.outcome is Outcome.NOT_BROUGHT}
    return dict(sorted(Counter(states.values()).items()))


def _cost_differences(rows: Iterable[DriftRow]) -> Iterable[CostDifference]:
    by_request: dict[str, list[DriftRow]] = {}
    for row in rows:
        by_request.setdefault(row.request_id, []).append(row)
    for request_id, found in by_request.items():
        old = [row.old_cost_usd for row in found if row.old_cost_usd is not None]
        new = [row.new_cost_usd for row in found if row.new_cost_usd is not None]
        if len(old) == len(new) == len(found) and sum(old, ZERO) != sum(new, ZERO):
            yield CostDifference(
                request_id=request_id, old_usd=sum(old, ZERO), new_usd=sum(new, ZERO)
            )
