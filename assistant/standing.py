"""How each option of the trials stands: its score with interval, what it took, and whether it is still in.

Owns how tries are put together for a person: those on other rows of one portion count as one, and a row that was
scored twice counts once. Refuses to decide who may win (`trainers.trials`) and to draw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prompts.metrics import Score, summarize
from trainers.trials.folder import ENDED
from trainers.trials.records import Candidate, Decision, Promise, TrialOrder, TrialsStatus, Tried

State = Literal[
    "advised", "as good", "leading", "being tried", "still in", "not yet", "not tried", "behind", "out", "failed"
]  # fmt: skip
_RANK: dict[State, int] = {
    "advised": 0, "as good": 1, "leading": 1, "being tried": 2, "still in": 2, "not yet": 4, "behind": 3, "out": 5,
    "not tried": 6, "failed": 7,
}  # fmt: skip
_ALIKE = "Cannot be told from the best."
GONE: frozenset[State] = frozenset({"out", "failed", "not tried"})


@dataclass(frozen=True)
class Point:
    """An option on one portion of the training rows. `seconds` is all that was spent on it up to here, `rows` the most
    that a try had."""

    portion: float
    score: Score
    rows: int
    seconds: float
    memory_gb: float


@dataclass(frozen=True)
class Standing:
    """An option as it stands now; `number` is its place in the order, which its colour goes by.

    `why` says what stands behind the state, `run` is that of its last try.
    """

    number: int
    candidate: Candidate
    state: State
    points: tuple[Point, ...] = ()
    seconds: float = 0.0
    memory_gb: float = 0.0
    why: str = ""
    run: str = ""
    promise: Promise | None = None

    @property
    def last(self) -> Point | None:
        """Where most rows were learned from."""
        return self.points[-1] if self.points else None

    @property
    def score(self) -> float:
        """The score that options are ordered by; below all others where there is none."""
        return self.last.score.value if self.last else -1.0


def standings(
    order: TrialOrder, status: TrialsStatus, tried: Sequence[Tried], decision: Decision | None
) -> tuple[Standing, ...]:
    """All options, the best first. A decision counts once the trials have ended."""
    by_key: defaultdict[str, list[Tried]] = defaultdict(list)
    for one in tried:
        by_key[one.tried.key].append(one)
    over = status.state in ENDED
    points = {candidate.key: _points(by_key[candidate.key]) for candidate in order.candidates}
    leading = _leader(points, status.out)
    promises = {promise.key: promise for promise in decision.promises} if decision else {}
    found = []
    for number, candidate in enumerate(order.candidates):
        mine, key = by_key[candidate.key], candidate.key
        state, why = _state(key, mine, status, decision if over else None, leading, over=over)
        found.append(
            Standing(
                number=number,
                candidate=candidate,
                state=state,
                points=points[key],
                seconds=sum(one.seconds for one in mine),
                memory_gb=max((one.memory_gb for one in mine), default=0.0),
                why=why,
                run=next((one.run for one in reversed(mine) if one.run and not one.failed), ""),
                promise=promises.get(key),
            )
        )
    return tuple(sorted(found, key=lambda one: (_RANK[one.state], -one.score, one.candidate.price)))


def _points(tried: Sequence[Tried]) -> tuple[Point, ...]:
    """One point a portion, the smallest first."""
    done = [one for one in tried if one.scores and not one.failed]
    found, spent = [], 0.0
    for portion in sorted({one.tried.portion for one in done}):
        here = [one for one in done if one.tried.portion == portion]
        spent += sum(one.seconds for one in here)
        found.append(
            Point(
                portion=portion,
                score=summarize(_by_row(here)),
                rows=max(one.rows for one in here),
                seconds=spent,
                memory_gb=max(one.memory_gb for one in here),
            )
        )
    return tuple(found)


def _by_row(tried: Sequence[Tried]) -> list[float]:
    """The mean score of each row that was asked."""
    scores: defaultdict[int, list[float]] = defaultdict(list)
    for one in tried:
        for row, score in one.scores.items():
            scores[row].append(score)
    return [sum(several) / len(several) for several in scores.values()]


def _leader(points: dict[str, tuple[Point, ...]], out: dict[str, str]) -> str:
    """The best of those that are in, on the largest portion that all of these were tried on; empty for none."""
    still = {key: line for key, line in points.items() if line and key not in out}
    if not still:
        return ""
    shared = min(line[-1].portion for line in still.values())
    scores = {key: next(p for p in reversed(line) if p.portion <= shared).score.value for key, line in still.items()}
    return max(scores, key=scores.__getitem__)


def _state(
    key: str, mine: Sequence[Tried], status: TrialsStatus, decision: Decision | None, leading: str, *, over: bool
) -> tuple[State, str]:
    """What is said of an option, and why."""
    if mine and all(one.failed for one in mine):
        return "failed", mine[-1].failed
    if decision and key == decision.advised:
        return "advised", "" if key == decision.best else _ALIKE
    if decision and key in decision.alike:
        return "as good", "Promises most." if key == decision.best else _ALIKE
    if not over and status.doing and status.doing.key == key:
        return "being tried", ""
    if not mine and (over or key in status.out):
        return "not tried", status.out.get(key, "The budget ended before.")
    if key in status.out:
        return "out", status.out[key]
    if not mine:
        return "not yet", ""
    if decision:
        return "behind", ""
    return ("leading", "") if key == leading else ("still in", "")
