"""What the scores on some portions promise for all rows: a learning curve for each candidate, with its uncertainty.

Owns the curve and the draws from it, on which halving and deciding rest. Refuses to choose.

The error of what is trained falls as a power of the rows (Hestness et al. 2017, https://arxiv.org/abs/1712.00409;
Figueroa et al. 2012, https://doi.org/10.1186/1472-6947-12-8, for classifiers of few rows; Viering and Loog 2023,
https://doi.org/10.1109/TPAMI.2022.3220744, review what else curves do). From two or three noisy points its exponent
cannot be read, so it has a prior, which the candidates of one task share in part: what one of them gained by more rows
tells of the others.

All candidates are drawn together. A draw weighs the asked rows anew (the Bayesian bootstrap of Rubin 1981), the same
for all candidates, so that differences are paired; draws the prior anew; and solves for the curves (randomised maximum
a posteriori, exact were all of it Gaussian). What one or two points leave open stands so in the draws.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainers.trials.records import Candidate, Promise, Tried

DRAWS = 2000
_SEED = 0
# The exponent by which errors fall, for hits and misses. Of a training of few steps it is steep: a LoRA had errors of
# 48 and 10 % after 4 and 12 steps (benchmarks/few_shot.py), another of 85 and 4 % after 15 and 96
# (benchmarks/advice.py, journey.py), exponents of 1.4 and 1.6; taken as half of that, since not all tasks are as
# easy. With more steps it comes near the 0.07 to 0.35 of Hestness et al.; soft prompts have hardly begun where LoRA
# is done (benchmarks/strategies.py). Graded scores, such as chrF, do not go towards 1 and rise less. Then how far
# tasks lie apart, and candidates of one.
_STEEP, _USUAL, _SOFT = 0.7, 0.5, 0.3
_FEW_STEPS, _MANY_STEPS = 100, 400
_LESS = 0.5
_SPREAD, _AMONG = 0.30, 0.15
# How far the logarithms of the errors on all rows lie apart, of two of one kind (two ranks of LoRA), and of the kinds.
_OF_A_KIND, _OF_KINDS = 0.15, 0.4
_MISFIT = 0.10  # of the logarithm of the error: no curve is a pure power
_DRIFT = 0.01  # of a score for each doubling of the rows, where examples or a wording are chosen from more of them
_PRIOR_ROWS = 1.0  # what all candidates scored together counts as so many rows of each: 0 of 6 is not nothing
_LEAST = 0.25  # of such a row is a hit, and a miss, also where all candidates had nothing else
_LEAST_ERROR = 0.005


@dataclass(frozen=True)
class Drawn:
    """Equally likely scores on all rows: `values` has the shape (draws, candidates), the columns in `keys`' order.

    `in_full` are those that were tried on all rows; `exponents` are the draws of how fast the others' errors fall.
    """

    keys: tuple[str, ...]
    values: Any
    in_full: frozenset[str] = frozenset()
    exponents: Mapping[str, Any] = field(default_factory=dict)

    def of(self, key: str) -> Any:
        """One candidate's draws."""
        return self.values[:, self.keys.index(key)]

    def mean(self, key: str) -> float:
        return float(self.of(key).mean())

    def better(self, first: str, second: str, by: float = 0.0) -> float:
        """How probable it is that the first scores more than the second, by more than so much."""
        return float((self.of(first) - self.of(second) > by).mean())

    def promise(self, key: str) -> Promise:
        """The mean with the middle 95 % of the draws."""
        value, low, high = _summed(self.of(key))
        return Promise(key=key, value=value, low=low, high=high, tried_in_full=key in self.in_full)

    def doubled(self, key: str) -> tuple[float, float, float]:
        """What twice the rows would gain, with the middle 95 %; for a key that has an exponent."""
        return _summed((1 - self.of(key)) * (1 - 2.0 ** -self.exponents[key]))

    @property
    def ranked(self) -> tuple[str, ...]:
        """The keys, the most promising first."""
        return tuple(sorted(self.keys, key=self.mean, reverse=True))


def _summed(draws: Any) -> tuple[float, float, float]:
    """The mean and the middle 95 %."""
    import numpy as np

    low, high = (float(bound) for bound in np.quantile(draws, [0.025, 0.975]))
    return min(max(float(draws.mean()), low), high), low, high


@dataclass(frozen=True)
class Point:
    """A candidate at one portion: what each row scored, and how many rows it had learned from."""

    portion: float
    rows: float
    scores: Mapping[int, float]
    certainty: Mapping[int, float]

    @property
    def score(self) -> float:
        return sum(self.scores.values()) / len(self.scores)


def points(tried: Sequence[Tried], key: str) -> tuple[Point, ...]:
    """A candidate's curve as it was measured, by portion; of several folds each row's mean. Failed tries are none."""
    at: dict[float, list[Tried]] = defaultdict(list)
    for one in tried:
        if one.tried.key == key and not one.failed and one.scores:
            at[one.tried.portion].append(one)
    return tuple(
        Point(
            portion,
            sum(one.rows for one in found) / len(found),
            _means([one.scores for one in found]),
            _means([one.certainty for one in found]),
        )
        for portion, found in sorted(at.items())
    )


def by_epoch(metrics: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """The mean train loss of each epoch of a run, from its metrics' lines; empty where none says its epoch."""
    losses: dict[int, list[float]] = defaultdict(list)
    for line in metrics:
        if "loss" in line and line.get("epoch"):
            losses[math.ceil(line["epoch"] - 1e-6)].append(float(line["loss"]))
    return tuple(sum(found) / len(found) for _, found in sorted(losses.items()))


def draw(candidates: Sequence[Candidate], tried: Sequence[Tried], *, draws: int = DRAWS, seed: int = _SEED) -> Drawn:
    """What each candidate that was tried may score on all rows. Raises ValueError where none has scores."""
    import numpy as np

    known = {one.key: found for one in candidates if (found := points(tried, one.key))}
    if not known:
        raise ValueError("nothing was tried that has scores")
    trains = {one.key: one.trains for one in candidates}
    drifts = {one.key: _drift(one) for one in candidates}
    rng = np.random.default_rng(seed)
    rows = sorted({row for found in known.values() for point in found for row in point.scores})
    weights = rng.standard_exponential((draws, len(rows)))
    column = {row: n for n, row in enumerate(rows)}
    middle = _middle(known)
    measured = {
        key: [_weighted(point.scores, weights, column, middle, rng) for point in found] for key, found in known.items()
    }
    curves = {key: found for key, found in known.items() if trains[key] and found[-1].portion < 1}
    learners = {one.key: one for one in candidates if one.key in curves}
    extrapolated, exponents = _extrapolated(curves, learners, measured, rng) if curves else ({}, {})
    values = {}
    for key, found in known.items():
        if key in extrapolated:
            values[key] = extrapolated[key]
        elif trains[key]:
            values[key] = measured[key][-1]
        else:
            pooled = _means([point.scores for point in found])
            values[key] = _weighted(pooled, weights, column, middle, rng)
            doublings = -math.log2(found[-1].portion)
            values[key] = values[key] + drifts[key] * doublings * (1 + rng.standard_normal(draws))
    keys = tuple(known)
    full = frozenset(key for key, found in known.items() if found[-1].portion >= 1 or not (trains[key] or drifts[key]))
    return Drawn(keys, np.clip(np.stack([values[key] for key in keys], axis=1), 0, 1), full, exponents)


def _drift(candidate: Candidate) -> float:
    """What more rows to choose from bring a candidate that is not trained, for each doubling."""
    chooses = candidate.plan.strategy.type == "few_shot" or len(candidate.wordings) > 1
    return _DRIFT if chooses and not candidate.trains else 0.0


def _means(of_rows: Sequence[Mapping[int, float]]) -> dict[int, float]:
    found: dict[int, list[float]] = defaultdict(list)
    for scores in of_rows:
        for row, score in scores.items():
            found[row].append(score)
    return {row: sum(scores) / len(scores) for row, scores in found.items()}


def _middle(known: Mapping[str, Sequence[Point]]) -> float:
    """What all candidates score together."""
    scores = [score for found in known.values() for point in found for score in point.scores.values()]
    return sum(scores) / len(scores)


def _weighted(scores: Mapping[int, float], weights: Any, column: Mapping[int, int], middle: float, rng: Any) -> Any:
    """A mean over the rows in each draw. The prior's rows are each one's own: two without a miss may still differ."""
    import numpy as np

    own = weights[:, [column[row] for row in scores]]
    hits = rng.gamma(_PRIOR_ROWS * max(middle, _LEAST), size=len(weights))
    misses = rng.gamma(_PRIOR_ROWS * max(1 - middle, _LEAST), size=len(weights))
    return (own @ np.asarray(list(scores.values())) + hits) / (own.sum(axis=1) + hits + misses)


def _extrapolated(
    curves: Mapping[str, Sequence[Point]],
    learners: Mapping[str, Candidate],
    measured: Mapping[str, list[Any]],
    rng: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The score on all rows in each draw, of candidates tried on portions below 1, and each curve's exponent.

    Solves for the logarithm of each one's error on all rows and for its exponent, and for what these are for its kind
    and for all, by least squares. The measured errors differ from draw to draw already, the prior's values are drawn
    here.
    """
    import numpy as np

    keys, kinds = list(curves), {key: one.plan.strategy.type for key, one in learners.items()}
    ways, graded = sorted(set(kinds.values())), _graded(curves)
    draws = len(measured[keys[0]][0])
    names = [("error", key) for key in keys] + [("exponent", key) for key in keys]
    names += [("error of", way) for way in ways] + [("error of", ""), ("exponent of", "")]
    place = {name: n for n, name in enumerate(names)}
    lines, wanted = [], []

    def add(line: dict[tuple[str, str], float], values: Any, sd: float) -> None:
        row = np.zeros(len(place))
        for name, factor in line.items():
            row[place[name]] = factor / sd
        lines.append(row)
        wanted.append(values / sd)

    def prior(line: dict[tuple[str, str], float], mean: float, sd: float) -> None:
        add(line, mean + sd * rng.standard_normal(draws), sd)

    for key in keys:
        for point, scores in zip(curves[key], measured[key], strict=True):
            error = np.log(np.maximum(1 - scores, _LEAST_ERROR)) + _MISFIT * rng.standard_normal(draws)
            sd = math.hypot(float(error.std()), _MISFIT)
            add({("error", key): 1.0, ("exponent", key): -math.log(point.portion)}, error, sd)
        usual = _exponent(learners[key], curves[key][-1], graded)
        prior({("exponent", key): 1.0, ("exponent of", ""): -1.0}, usual, _AMONG)
        prior({("error", key): 1.0, ("error of", kinds[key]): -1.0}, 0.0, _OF_A_KIND)
    for way in ways:
        prior({("error of", way): 1.0, ("error of", ""): -1.0}, 0.0, _OF_KINDS)
    prior({("exponent of", ""): 1.0}, 0.0, _SPREAD * (_LESS if graded else 1.0))
    solved = np.linalg.lstsq(np.asarray(lines), np.asarray(wanted), rcond=None)[0]
    scores, exponents = {}, {}
    for key in keys:
        error, exponents[key] = solved[place["error", key]], np.maximum(solved[place["exponent", key]], 0.0)
        # More rows do no harm: on all of them the curve is nowhere below where it is on the most that were tried.
        falls = np.minimum(solved[place["exponent", key]], 0.0) * math.log(curves[key][-1].portion)
        scores[key] = 1 - np.exp(np.minimum(error - falls, 0.0))
    return scores, exponents


def _exponent(candidate: Candidate, last: Point, graded: bool) -> float:
    """The usual exponent of a candidate's curve, by how it learns and by the steps of its training on all rows."""
    plan = candidate.plan
    rows = last.rows / last.portion + plan.data.general_rows
    steps = plan.strategy.rows_seen(round(rows), plan.training.epochs) / plan.training.effective_batch
    few, many = math.log(_FEW_STEPS), math.log(_MANY_STEPS)
    beyond = min(1.0, max(0.0, (math.log(max(steps, 1.0)) - few) / (many - few)))
    usual = _SOFT if plan.strategy.virtual else _STEEP + beyond * (_USUAL - _STEEP)
    return usual * (_LESS if graded else 1.0)


def _graded(curves: Mapping[str, Sequence[Point]]) -> bool:
    """Whether rows score more than hits and misses."""
    return any(score not in (0.0, 1.0) for found in curves.values() for p in found for score in p.scores.values())
