"""The search itself: rounds of candidates by successive halving, then one confirmation on unseen rows.

Owns the outcome: never a version of which the confirming rows cannot tell that it is better than the person's. One
candidate alone is held against these rows, so that the test's error rate is that of one test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from prompts.demonstrations import by_worth, orders, sets, varied
from prompts.errors import EngineError
from prompts.metrics import Comparison
from prompts.search.budget import Budget
from prompts.versions import Demonstration, PromptVersion

_FIRST_RUNG = 16
_PATIENCE = 6  # rounds without a better set of examples
_BEFORE_REFLECTION = 0.6
_MOST_FOR_PROOF = 0.4  # of the budget
_FEWEST_TO_CONFIRM = 12


class Trials(Protocol):
    """What the search asks: scores in [0, 1] of a version on rows for searching, and a comparison on those for proof.

    Row numbers count within each of the two sets. May raise `EngineError`.
    """

    def scores(self, version: PromptVersion, rows: Sequence[int]) -> list[float]: ...

    def cost(self, version: PromptVersion, rows: Sequence[int]) -> int:
        """How many answers would have to be asked for."""
        ...

    def confirm(self, first: PromptVersion, second: PromptVersion, rows: Sequence[int]) -> Comparison: ...


class Line(BaseModel):
    """What was seen of one candidate: its mean score on `rows` rows for searching."""

    model_config = ConfigDict(frozen=True)

    version: PromptVersion
    reason: str
    rows: int
    score: float


@dataclass(frozen=True)
class Progress:
    """Where a search is: what it does, how many candidates are left in this generation, and the best so far."""

    doing: str
    left: int
    best: Line | None
    fraction: float


class Outcome(BaseModel):
    """What a search ends with. `kept` is the person's own version unless `better`."""

    model_config = ConfigDict(frozen=True)

    kept: PromptVersion
    better: bool
    sentence: str
    best: PromptVersion | None = None
    comparison: Comparison | None = None
    table: tuple[Line, ...] = ()
    calls: int = 0
    notes: tuple[str, ...] = ()


class Halted(Exception):
    """Somebody asked the search to end."""


# From the best version so far and training rows to further versions; may ask a language model, and so raise.
Reflect = Callable[[PromptVersion, Budget], Iterable[PromptVersion]]


@dataclass
class Search:
    """One search for a version better than `yours`.

    `pool` are training rows to show as examples, `searching` and `confirming` how many rows there are for each.
    """

    yours: PromptVersion
    candidates: Sequence[PromptVersion]
    pool: Sequence[Demonstration]
    searching: int
    confirming: int
    trials: Trials
    budget: Budget
    seed: int = 0
    reflect: Reflect | None = None
    on_progress: Callable[[Progress], None] = lambda progress: None
    _scores: dict[str, dict[int, float]] = field(default_factory=dict, init=False)
    _versions: dict[str, PromptVersion] = field(default_factory=dict, init=False)
    _seconds: dict[str, float] = field(default_factory=dict, init=False)  # an answer of each version
    _notes: list[str] = field(default_factory=list, init=False)

    def run(self) -> Outcome:
        """Search, confirm, and say what came of it. An error or a halt ends it with the best so far, unconfirmed."""
        try:
            best = self._searched()
            return self._confirmed(best)
        except Halted:
            return self._unconfirmed("Stopped.")
        except EngineError as error:
            return self._unconfirmed(str(error))

    # The generations

    def _searched(self) -> PromptVersion:
        """Wordings first; then, round after round, examples for the best of them, as long as the budget lasts."""
        ranked = self._halved("wordings", [self.yours, *self.candidates], 0)
        best, wordings, lost, number = ranked[0], ranked[:2], 0, 0
        share = _BEFORE_REFLECTION if self.reflect else 1.0
        while self.pool and lost < _PATIENCE and self._goes_on(share):
            winner = self._halved("examples", [best, *self._with_examples(best, wordings, number)], number)[0]
            lost, best, number = (lost + 1 if winner.id == best.id else 0), winner, number + 1
        return self._halved("reflections", [best, *self._reflected(best)], number)[0]

    def _reflected(self, best: PromptVersion) -> list[PromptVersion]:
        """What reflection makes of the best; where its endpoint fails, that is noted and the search goes on."""
        if self.reflect is None or not self._goes_on():
            return []
        self.on_progress(Progress("reflection on what went wrong", 1, self._best(), self.budget.used))
        try:
            return list(self.reflect(best, self.budget))
        except EngineError as error:
            self._notes.append(f"Reflection was left out: {error}")
            return []

    def _with_examples(
        self, best: PromptVersion, wordings: Sequence[PromptVersion], number: int
    ) -> list[PromptVersion]:
        """A round's candidates: at first sets chosen in several ways, then also variations of the best set so far."""
        seed = self.seed + 100 * number
        ways = sets(self.pool, seed)
        if number and best.demonstrations:
            shown = best.demonstrations
            ways = {way: found for way, found in ways.items() if "drawn" in way}
            ways |= {f"{len(shown)} varied examples ({n + 1})": varied(shown, self.pool, seed + n) for n in range(3)}
            ways |= {f"{len(shown)} examples, {way}": order for way, order in orders(shown, seed).items()}
            ways["the examples seen to be worth most"] = by_worth(self.pool, self._worth(), len(shown), seed)
        tried = wordings if not number else [best]
        return [
            wording.revised(demonstrations=shown, author="tunewright", reason=f"{_wording(wording)}; {way}")
            for way, shown in ways.items()
            for wording in tried
        ]

    def _goes_on(self, share: float = 1.0) -> bool:
        """Whether something is left of a share of what the confirmation does not take."""
        return self.budget.used < share * (1 - self._kept())

    def _kept(self) -> float:
        """The share of the budget that the confirmation takes, as far as is known: what cannot be proved is nothing."""
        each = max(self._seconds.values(), default=0.0) + self._seconds.get(self.yours.id, 0.0)
        by_time = each * self.confirming / self.budget.seconds if self.budget.seconds else 0.0
        by_calls = 2 * self.confirming / self.budget.calls if self.budget.calls else 0.0
        return min(_MOST_FOR_PROOF, 1.2 * max(by_time, by_calls))

    def _worth(self) -> dict[Demonstration, float]:
        """The mean score of the versions that each example stood in, over the rows that they were asked."""
        held: dict[Demonstration, list[float]] = {}
        for id, scores in self._scores.items():
            for shown in self._versions[id].demonstrations:
                held.setdefault(shown, []).append(sum(scores.values()) / len(scores))
        return {shown: sum(means) / len(means) for shown, means in held.items()}

    # Successive halving (Jamieson and Talwalkar 2016): all on few rows, the better half on twice as many, and so on.

    def _halved(self, kind: str, versions: Sequence[PromptVersion], number: int) -> list[PromptVersion]:
        """The versions, the best first. Each round begins at other rows, lest the first few decide over all rounds.

        Ends early where the budget does.
        """
        left = list({version.id: version for version in versions}.values())
        order = random.Random(self.seed).sample(range(self.searching), self.searching)
        begin = number * _FIRST_RUNG % self.searching
        order = order[begin:] + order[:begin]
        rows = min(_FIRST_RUNG, self.searching)
        out: list[PromptVersion] = []
        while True:
            for version in left:
                doing = f"{len(left)} {kind} on {rows} rows"
                if not self._try(version, order[:rows], doing, len(left)):
                    return [*self._ranked(left, order[:rows]), *out]
            ranked = self._ranked(left, order[:rows])
            if rows == self.searching or len(left) == 1:
                return [*ranked, *out]
            half = max(2, len(left) // 2)
            left, out = ranked[:half], [*ranked[half:], *out]
            rows = min(2 * rows, self.searching)

    def _try(self, version: PromptVersion, rows: Sequence[int], doing: str, left: int) -> bool:
        """Score a version on rows that it was not asked yet; False where the budget does not allow it."""
        known = self._scores.get(version.id, {})
        missing = [row for row in rows if row not in known]
        if not missing:
            return True
        calls = self.trials.cost(version, missing)
        seconds = calls * self._seconds.get(version.id, max(self._seconds.values(), default=0.0))
        if self._scores and not self.budget.affords(calls, seconds, self._kept()):
            return False
        self.on_progress(Progress(doing, left, self._best(), self.budget.used))
        begun = self.budget.elapsed
        scores = self.trials.scores(version, missing)
        self.budget.spent += calls
        if calls:
            self._seconds[version.id] = (self.budget.elapsed - begun) / calls
        self._versions[version.id] = version
        self._scores.setdefault(version.id, {}).update(zip(missing, scores, strict=True))
        self.on_progress(Progress(doing, left, self._best(), self.budget.used))
        return True

    def _ranked(self, versions: Sequence[PromptVersion], rows: Sequence[int]) -> list[PromptVersion]:
        """The best first, by the rows that all were asked; who was not asked them all comes last."""

        def key(version: PromptVersion) -> float:
            scores = self._scores.get(version.id, {})
            return sum(scores[row] for row in rows) if scores.keys() >= set(rows) else -1.0

        return sorted(versions, key=key, reverse=True)

    # The outcome

    def _confirmed(self, best: PromptVersion) -> Outcome:
        if best.id == self.yours.id:
            return self._outcome(self.yours, False, "Nothing that was tried looks better than your prompt.")
        each = self._seconds.get(best.id, 0.0) + self._seconds.get(self.yours.id, 0.0)
        rows = min(self.confirming, self.budget.rows(each, 2))
        if rows < _FEWEST_TO_CONFIRM:
            told = f"The budget was spent before {_FEWEST_TO_CONFIRM} unseen rows could be asked; give it more."
            return self._unconfirmed(told)
        order = random.Random(self.seed).sample(range(self.confirming), self.confirming)
        doing = f"the best against yours on {rows} rows that the search never saw"
        self.on_progress(Progress(doing, 1, self._best(), self.budget.used))
        found = self.trials.confirm(self.yours, best, order[:rows])
        self.budget.spent += 2 * rows
        sentence = f"{found.told[:1].upper()}{found.told[1:]}, on rows that the search never saw."
        better = found.verdict == "better"
        if not better:
            sentence += " Your prompt stays."
        return self._outcome(best if better else self.yours, better, sentence, best, found)

    def _unconfirmed(self, why: str) -> Outcome:
        best = self._best()
        if best is None or best.version.id == self.yours.id:
            return self._outcome(self.yours, False, f"{why} Your prompt stays.")
        seen = f"The best so far is listed, {best.score:.0%} on {best.rows} rows, but not proved: your prompt stays."
        return self._outcome(self.yours, False, f"{why} {seen}", best.version)

    def _outcome(
        self,
        kept: PromptVersion,
        better: bool,
        sentence: str,
        best: PromptVersion | None = None,
        comparison: Comparison | None = None,
    ) -> Outcome:
        values = {"kept": kept, "better": better, "sentence": sentence, "best": best, "comparison": comparison}
        return Outcome(**values, table=tuple(self._table()), calls=self.budget.spent, notes=tuple(self._notes))

    def _best(self) -> Line | None:
        return next(iter(self._table()), None)

    def _table(self) -> list[Line]:
        """Every version that was asked: those that came farthest first, and among them the best."""
        lines = [
            Line(
                version=version,
                reason="your prompt" if version.id == self.yours.id else version.reason,
                rows=len(self._scores[version.id]),
                score=sum(self._scores[version.id].values()) / len(self._scores[version.id]),
            )
            for version in self._versions.values()
        ]
        return sorted(lines, key=lambda line: (line.rows, line.score), reverse=True)


def _wording(version: PromptVersion) -> str:
    """A version's reason without what it says of examples."""
    return version.reason.split(";")[0]
