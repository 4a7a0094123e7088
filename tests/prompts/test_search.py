"""The search on simulated models whose true quality is known: what it finds, what it claims, and how it ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from prompts.errors import EngineError
from prompts.metrics import Comparison, compare
from prompts.search import Budget, Outcome, Progress, Search
from prompts.search.search import Halted
from prompts.versions import Demonstration, PromptVersion

YOURS = PromptVersion(system="yours")
POOL = tuple(Demonstration(input=f"row {n} about {'ab'[n % 2]}", output="ab"[n % 2]) for n in range(20))


@dataclass
class Simulated:
    """Answers right with a version's true share, the same for a version and row whenever it is asked."""

    quality: Callable[[PromptVersion], float]
    asked: dict[str, int] = field(default_factory=dict)
    confirmed: list[tuple[str, str]] = field(default_factory=list)
    breaks_after: int = 10**9
    error: Exception = field(default_factory=lambda: EngineError("The server is gone."))
    seed: int = 0

    def _score(self, version: PromptVersion, place: str, row: int) -> float:
        return float(random.Random(f"{self.seed}{version.id}{place}{row}").random() < self.quality(version))

    def scores(self, version: PromptVersion, rows: Sequence[int]) -> list[float]:
        if sum(self.asked.values()) + len(rows) > self.breaks_after:
            raise self.error
        self.asked[version.id] = self.asked.get(version.id, 0) + len(rows)
        return [self._score(version, "search", row) for row in rows]

    def cost(self, version: PromptVersion, rows: Sequence[int]) -> int:
        return len(rows)

    def confirm(self, first: PromptVersion, second: PromptVersion, rows: Sequence[int]) -> Comparison:
        assert len(set(rows)) == len(rows)
        self.confirmed.append((first.id, second.id))
        one, other = ([self._score(v, "confirm", row) for row in rows] for v in (first, second))
        return compare(one, other)


def wordings(count: int) -> list[PromptVersion]:
    return [PromptVersion(system=f"wording {n}", reason=f"wording {n}") for n in range(count)]


def search(trials: Simulated, candidates: Sequence[PromptVersion], calls: int = 600, **how: object) -> Outcome:
    values = {"pool": (), "searching": 64, "confirming": 60, "seed": trials.seed, **how}
    return Search(YOURS, candidates, trials=trials, budget=Budget(calls=calls), **values).run()  # type: ignore[arg-type]


def test_what_is_clearly_better_is_found_and_proved() -> None:
    trials = Simulated(lambda v: 0.9 if v.system == "wording 3" else 0.4)
    found = search(trials, wordings(6))
    assert found.better and found.kept.system == "wording 3"
    assert found.comparison is not None and found.comparison.verdict == "better"
    assert found.sentence.startswith("Better: +") and "never saw" in found.sentence
    assert found.table[0].version == found.kept and found.table[0].rows == 64
    assert found.calls <= 600
    assert trials.confirmed == [(YOURS.id, found.kept.id)], "one look at the confirming rows"


def test_good_examples_are_found_by_their_worth() -> None:
    good = set(POOL[:6])
    trials = Simulated(lambda v: 0.3 + 0.6 * sum(d in good for d in v.demonstrations) / max(1, len(v.demonstrations)))
    found = search(trials, wordings(2), calls=3000, pool=POOL)
    assert found.better
    drawn = 0.3 + 0.6 * len(good) / len(POOL)  # what sets drawn without looking come to
    assert trials.quality(found.kept) > drawn + 0.1


def test_nothing_better_leaves_yours() -> None:
    found = search(Simulated(lambda v: 0.9 if v == YOURS else 0.2), wordings(5))
    assert (found.kept, found.better) == (YOURS, False)
    assert "Nothing that was tried" in found.sentence and found.comparison is None


def test_chance_is_rarely_called_better() -> None:
    """120 searches among equals; the looks are at fresh rows, so that at most 2.5 % may claim it."""
    claimed = sum(search(Simulated(lambda v: 0.5, seed=seed), wordings(5), calls=400).better for seed in range(120))
    assert claimed <= 7, claimed


def test_halving_finds_the_best_more_often_than_spending_evenly() -> None:
    """12 wordings between 30 % and 63 %, 250 answers for searching: how often the best two are among what is proved."""
    quality = {f"wording {n}": 0.3 + 0.03 * n for n in range(12)}
    halved = even = 0
    for seed in range(60):
        trials = Simulated(lambda v: quality.get(v.system, 0.1), seed=seed)
        found = search(trials, wordings(12), calls=420, confirming=60)
        halved += bool(found.best and quality.get(found.best.system, 0) >= 0.6)
        each = 300 // 12
        means = {c.system: sum(trials.scores(c, range(each))) for c in wordings(12)}
        even += quality[max(means, key=lambda name: means[name])] >= 0.6
    assert halved >= even, (halved, even)


@pytest.mark.parametrize("error", [EngineError("The server is gone.", hint="Start it."), Halted()])
def test_what_was_found_before_it_broke_off_is_listed_but_not_claimed(error: Exception) -> None:
    trials = Simulated(lambda v: 0.9 if v.system == "wording 1" else 0.2, breaks_after=150, error=error)
    found = search(trials, wordings(4))
    assert (found.kept, found.better) == (YOURS, False)
    assert found.best is not None and found.best.system == "wording 1"
    assert "not proved" in found.sentence
    assert ("gone" in found.sentence) == isinstance(error, EngineError)


def test_an_error_at_once_leaves_nothing_but_yours() -> None:
    found = search(Simulated(lambda v: 0.5, breaks_after=0), wordings(2))
    assert (found.kept, found.best, found.table) == (YOURS, None, ())


def test_too_small_a_budget_proves_nothing() -> None:
    trials = Simulated(lambda v: 0.9 if v.system == "wording 1" else 0.2)
    found = search(trials, wordings(2), calls=40)
    assert not found.better and trials.confirmed == []


def test_time_ends_it_and_leaves_enough_for_the_proof() -> None:
    now = [0.0]
    trials = Simulated(lambda v: 0.9 if v.system == "wording 1" else 0.2)
    asked = trials.scores

    def slow(version: PromptVersion, rows: Sequence[int]) -> list[float]:
        now[0] += 0.1 * len(rows)
        return asked(version, rows)

    trials.scores = slow  # type: ignore[method-assign]
    seen: list[Progress] = []
    budget = Budget(seconds=60, clock=lambda: now[0])
    how = {"searching": 64, "confirming": 60, "trials": trials, "budget": budget, "on_progress": seen.append}
    found = Search(YOURS, wordings(8), (), **how).run()  # type: ignore[arg-type]
    assert found.better and now[0] <= 60 - 12  # 60 rows, two versions, a tenth of a second each
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)
    assert seen[-1].best is not None and "never saw" in seen[-1].doing
