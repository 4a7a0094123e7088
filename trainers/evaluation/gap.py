"""How much better rows that were trained on fare than unseen ones, and when that is more than chance. No torch.

Owns the gap between two different sets of rows, with its interval and test, and the sizes at which a gate speaks up.
Refuses to know what was scored (exact match, words recalled) and to word what came of it.

Rows to train on may be the easier ones. The base has seen neither set: only what its own gap does not explain counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prompts.metrics.certainty import Comparison, Score, Verdict, summarize
from trainers.evaluation.records import Level

ALPHA = 0.05
# A difference that nobody would act on is no alarm, however sure it is; of the size that is, few runs are healthy.
NOTABLE, SERIOUS = 0.05, 0.25
# Below so many rows on a side, two sets that have nothing in common could just be told apart at 5 %.
FEWEST = 8
_SEED, _DRAWS, _BATCH = 0, 4999, 500


@dataclass(frozen=True)
class Gap:
    """Mean on seen rows less mean on unseen ones, of each arm; `excess` is the tuned model's less the base's.

    `p_value` is of the tuned model's own gap. `seen` and `unseen` count rows.
    """

    base: Score
    tuned: Score
    excess: Comparison
    p_value: float
    seen: int
    unseen: int

    @property
    def level(self) -> Level:
        """By size, where neither chance nor the base explains it. Two tests have to agree, so few are alarmed twice."""
        if min(self.seen, self.unseen) < FEWEST:
            return "unknown"
        size = min(self.tuned.value, self.excess.difference)
        if max(self.p_value, self.excess.p_value) >= ALPHA or size < NOTABLE:
            return "passed"
        return "failed" if size >= SERIOUS else "warning"

    @property
    def told(self) -> str:
        """The tuned model's gap in points, such as "12 points (3 to 20)"."""
        low, high = self.tuned.low * 100, self.tuned.high * 100
        return f"{self.tuned.value * 100:.0f} points ({low:.0f} to {high:.0f})"


def measure(
    base_seen: Sequence[float], tuned_seen: Sequence[float], base_unseen: Sequence[float], tuned_unseen: Sequence[float]
) -> Gap:
    """The gap of scores in [0, 1]. Raises ValueError where a side has no rows, or the arms differ in number."""
    seen = [tuned - base for base, tuned in zip(base_seen, tuned_seen, strict=True)]
    unseen = [tuned - base for base, tuned in zip(base_unseen, tuned_unseen, strict=True)]
    p_value = _permuted(seen, unseen)
    difference = sum(seen) / len(seen) - sum(unseen) / len(unseen)
    low, high = _bootstrapped(seen, unseen)
    verdict: Verdict = "cannot tell" if p_value >= ALPHA else "worse" if difference > 0 else "better"
    n = len(seen) + len(unseen)
    return Gap(
        base=_gap(base_seen, base_unseen),
        tuned=_gap(tuned_seen, tuned_unseen),
        excess=Comparison(difference=difference, low=low, high=high, p_value=p_value, n=n, verdict=verdict),
        p_value=_permuted(tuned_seen, tuned_unseen),
        seen=len(seen),
        unseen=len(unseen),
    )


def _gap(seen: Sequence[float], unseen: Sequence[float]) -> Score:
    """The difference with an interval out of the two means' own (Newcombe 1998, method 10; Zou and Donner 2008).

    A bootstrap of both would call a gap of 5 rows of 5 and 48 of 48 certain.
    """
    first, second = summarize(seen), summarize(unseen)
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Score(value=value, low=value - below, high=value + above, n=first.n + second.n)


def _permuted(seen: Sequence[float], unseen: Sequence[float]) -> float:
    """Two-sided: had it learned no row by heart, which rows it was shown would not matter."""
    import numpy as np
    from scipy.stats import permutation_test

    if len({*seen, *unseen}) == 1:
        return 1.0
    result = permutation_test(
        (np.asarray(seen), np.asarray(unseen)),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="independent",
        n_resamples=_DRAWS,
        batch=_BATCH,
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def _bootstrapped(seen: Sequence[float], unseen: Sequence[float]) -> tuple[float, float]:
    """Each side resampled by itself; percentiles."""
    import numpy as np
    from scipy.stats import bootstrap

    bounds = bootstrap(
        (np.asarray(seen), np.asarray(unseen)),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        n_resamples=_DRAWS,
        batch=_BATCH,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(bounds.low), float(bounds.high)
