"""Scoring answers, and saying how sure a score is.

Owns per-row metrics in [0, 1], their mean with a 95 % interval, and the paired comparison of two arms on the same
rows. Refuses to know who gave the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from prompts.spec import OutputFormat

Verdict = Literal["better", "worse", "cannot tell"]
_SEED = 0
_ALPHA = 0.05
_BATCH = 500  # resamples held at once: with all of them, 4,000 rows took 2.8 GB


def exact_match(answer: str, expected: str) -> float:
    """1 where the answer equals the expected one, surrounding white space aside."""
    return float(answer.strip() == expected.strip())


def json_match(answer: str, expected: str) -> float:
    """1 where both are the same JSON value, whatever the spacing and the order of keys."""
    try:
        return float(_json_value(answer) == _json_value(expected))
    except (ValueError, ArithmeticError, RecursionError):  # a model that repeats itself may nest thousands deep
        return 0.0


def _json_value(text: str) -> Any:
    """The value, its numbers marked and exact: Python holds 1 and true for equal, and long ids round to one float."""

    def number(digits: str) -> tuple[str, Decimal]:
        return "number", Decimal(digits)

    return json.loads(text, parse_int=number, parse_float=number)


def chrf(answer: str, expected: str) -> float:
    """Character n-gram F-score of one answer in [0, 1] (Popović 2015, as sacreBLEU computes it)."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(answer, [expected]).score) / 100


METRICS: dict[str, Callable[[str, str], float]] = {
    "exact match": exact_match,
    "JSON match": json_match,
    "chrF": chrf,
}


def metric_for(output_format: OutputFormat | None) -> str:
    """The name of the metric that fits an answer's shape."""
    return {"json": "JSON match", "text": "chrF"}.get(output_format or "label", "exact match")


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
        return Comparison(difference=0.0, low=0.0, high=0.0, p_value=1.0, n=n, verdict="cannot tell")
    p_value = _sign_flip_p(differences)
    low, high = _bootstrap(differences)
    sure = p_value < _ALPHA
    verdict: Verdict = "cannot tell" if not sure else "better" if mean > 0 else "worse"
    return Comparison(difference=mean, low=low, high=high, p_value=p_value, n=n, verdict=verdict)


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
    if np.ptp(data) == 0:  # BCa divides by the spread
        return float(data[0]), float(data[0])
    bounds = bootstrap(
        (data,), np.mean, n_resamples=4999, batch=_BATCH, method="BCa", rng=np.random.default_rng(_SEED)
    ).confidence_interval
    return float(bounds.low), float(bounds.high)
