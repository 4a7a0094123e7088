"""How sure a score is, and whether one arm is better than another on the same rows.

Owns intervals, the paired tests, and how many more rows would settle it. Refuses to know what was scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["better", "worse", "cannot tell"]
_SEED = 0
_ALPHA, _POWER = 0.05, 0.8
_DRAWS = 4999  # resamples of a figure that is no mean
_BATCH = 500  # resamples held at once: with all of them, 4,000 rows took 2.8 GB


class Score(BaseModel):
    """A mean over n rows, with its 95 % interval. All in [0, 1]."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%}, n={self.n})"


class Comparison(BaseModel):
    """Two arms on the same rows: the mean difference (second minus first), its interval, and a verdict."""

    model_config = ConfigDict(frozen=True)

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    verdict: Verdict
    more: int | None = None  # about how many rows more would tell, were the difference as it looks now

    @property
    def told(self) -> str:
        """The verdict with its figures, as a sentence without its first word's capital."""
        points = f"{self.difference * 100:+.0f} points ({self.low * 100:+.0f} to {self.high * 100:+.0f}, n={self.n})"
        if self.verdict != "cannot tell":
            return f"{self.verdict}: {points}"
        if self.difference == 0:
            return f"cannot tell: the two score alike on {self.n} rows"
        rest = f"; about {self.more:,} more rows would do" if self.more else ""
        return f"cannot tell yet: {points}{rest}"


def summarize(scores: Sequence[float]) -> Score:
    """Mean and interval: Wilson's for hits and misses, a bootstrap (BCa) for graded scores.

    Raises ValueError for no rows.
    """
    if not scores:
        raise ValueError("there are no rows to score")
    n, mean = len(scores), sum(scores) / len(scores)
    if all(s in (0.0, 1.0) for s in scores):
        from scipy.stats import binomtest

        bounds = binomtest(int(sum(scores)), n).proportion_ci(method="wilson")
        return Score(value=mean, low=float(bounds.low), high=float(bounds.high), n=n)
    low, high = _bootstrap(scores)
    return Score(value=mean, low=max(0.0, low), high=min(1.0, high), n=n)


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Paired sign-flip permutation test of two arms on the same rows, two-sided at 5 %.

    Raises ValueError where the rows are not the same.
    """
    if len(first) != len(second) or not first:
        raise ValueError("both arms need scores for the same rows, at least one")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    mean, n = sum(differences) / len(differences), len(differences)
    if not any(differences):
        return _compared(0.0, (0.0, 0.0), 1.0, n, 0.0)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / n)
    return _compared(mean, _bootstrap(differences), _sign_flip_p(differences), n, spread)


def _compared(difference: float, bounds: tuple[float, float], p_value: float, n: int, spread: float) -> Comparison:
    """`spread` is the standard deviation of one row's difference."""
    sure = p_value < _ALPHA
    verdict: Verdict = "cannot tell" if not sure else "better" if difference > 0 else "worse"
    more = None if sure or not difference else max(1, _rows_needed(abs(difference), spread) - n)
    values = {"difference": difference, "low": bounds[0], "high": bounds[1], "p_value": p_value}
    return Comparison(**values, n=n, verdict=verdict, more=more)


def _rows_needed(difference: float, spread: float) -> int:
    """Rows at which a difference of this size is found four times in five.

    Connor 1987 for pairs of hits and misses, where the variance without a difference is that with it and its square;
    graded scores have the same form.
    """
    from scipy.stats import norm

    alpha, beta = float(norm.ppf(1 - _ALPHA / 2)), float(norm.ppf(_POWER))
    under_none = math.sqrt(spread**2 + difference**2)
    return math.ceil(((alpha * under_none + beta * spread) / difference) ** 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for having looked so often, in their order (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, worst = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected


# Figures that are no mean over rows. Each row gives counts, and the figure is a function of their sums.

Total = Callable[[Any], Any]  # from sums of shape (resamples, counts) to figures of shape (resamples,)


def summarize_counts(counts: Any, total: Total) -> Score:
    """A figure of all rows with a percentile bootstrap over them; `counts` has the shape (rows, counts)."""
    import numpy as np

    n = len(counts)
    if not n:
        raise ValueError("there are no rows to score")
    figures = total(_resampled(n) @ counts)
    low, high = np.quantile(figures, [_ALPHA / 2, 1 - _ALPHA / 2])
    value = float(total(counts.sum(axis=0, keepdims=True))[0])
    return Score(value=value, low=min(float(low), value), high=max(float(high), value), n=n)


def compare_counts(first: Any, second: Any, total: Total) -> Comparison:
    """Paired permutation test: under no difference a row's two answers could change places."""
    import numpy as np

    n = len(first)
    if n != len(second) or not n:
        raise ValueError("both arms need scores for the same rows, at least one")
    difference = float((total(second.sum(axis=0, keepdims=True)) - total(first.sum(axis=0, keepdims=True)))[0])
    if (first == second).all():
        return _compared(0.0, (0.0, 0.0), 1.0, n, 0.0)
    swapped = (np.random.default_rng(_SEED).random((_DRAWS, n)) < 0.5).astype(float)
    change = swapped @ (first - second)
    drawn = total(second.sum(axis=0) + change) - total(first.sum(axis=0) - change)
    p_value = float((1 + (np.abs(drawn) >= abs(difference) - 1e-12).sum()) / (1 + _DRAWS))
    weights = _resampled(n)
    resampled = total(weights @ second) - total(weights @ first)
    low, high = (float(bound) for bound in np.quantile(resampled, [_ALPHA / 2, 1 - _ALPHA / 2]))
    return _compared(difference, (low, high), p_value, n, float(resampled.std()) * math.sqrt(n))


def _resampled(n: int) -> Any:
    """How often each row stands in each bootstrap sample, of shape (resamples, rows)."""
    import numpy as np

    return np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=_DRAWS).astype(float)


def _sign_flip_p(differences: Sequence[float]) -> float:
    import numpy as np
    from scipy.stats import permutation_test

    values = np.asarray([d for d in differences if d])  # a tie has no sign to flip
    if len(values) == 1:
        return 1.0
    result = permutation_test(
        (values, np.zeros_like(values)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        batch=_BATCH,
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap

    data = np.asarray(values)
    if np.ptp(data) <= 1e-9 * np.abs(data).max():  # BCa divides by the spread
        return float(data[0]), float(data[0])
    bounds = bootstrap(
        (data,), np.mean, n_resamples=4999, batch=_BATCH, method="BCa", rng=np.random.default_rng(_SEED)
    ).confidence_interval
    return float(bounds.low), float(bounds.high)
