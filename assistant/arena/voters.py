"""Whether votes can be trusted: does a voter lean to one side, and do several voters agree.

Owns these two checks. Refuses to say who is preferred (that is `statistics`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from assistant.arena.statistics import ALPHA, DRAWS, Outcome, by_round, usable
from assistant.votes import Vote
from prompts.metrics import summarize

_FEWEST = 5  # rounds below which agreement is chance, as for the judge
_RELIABLE, _TENTATIVE = 0.8, 0.667


@dataclass(frozen=True)
class Share:
    """How many of `n` votes with a winner went to the left: the share, Wilson's 95 % interval, an exact p-value."""

    left: int
    n: int
    value: float
    low: float
    high: float
    p_value: float

    @property
    def told(self) -> str:
        """In one sentence."""
        if not self.n:
            return "There is no vote with a winner yet."
        went = f"{self.left} of {self.n} votes with a winner went to the left ({self.value:.0%}"
        figures = f"{went}, {self.low:.0%} to {self.high:.0%}; p = {self.p_value:.2g})."
        if self.p_value >= ALPHA:
            return f"No leaning to one side shows: {figures}"
        return f"These votes lean to the {'left' if 2 * self.left > self.n else 'right'}: {figures}"


def side_bias(votes: Sequence[Vote]) -> Share:
    """Whether a voter leans to one side, which swapping at random sets at 1/2: votes here, not rounds.

    Give it the votes of one voter: where several saw the same pair the same way round, the better answer moves them
    all to one side. Without a vote with a winner all is open: 0.5, from 0 to 1.
    """
    from scipy.stats import binomtest

    sides = [vote.verdict == "left" for vote in usable(votes) if vote.winner is not None]
    if not sides:
        return Share(left=0, n=0, value=0.5, low=0.0, high=1.0, p_value=1.0)
    score = summarize([float(left) for left in sides])
    p_value = float(binomtest(sum(sides), len(sides)).pvalue)
    return Share(sum(sides), len(sides), score.value, score.low, score.high, p_value)


@dataclass(frozen=True)
class Agreement:
    """How far voters agree on the `n` rounds that two or more of them judged.

    `equal` is the chance that two voters on the same round said the same, the mean over rounds. `alpha` is
    Krippendorff's for names, 1 for full agreement and 0 for what chance gives, with a 95 % interval; None where there
    are too few rounds, or all verdicts are the same.
    """

    n: int
    equal: float
    alpha: float | None
    low: float | None = None
    high: float | None = None

    @property
    def told(self) -> str:
        """In one or two sentences, read as Krippendorff (2004) reads it."""
        if self.alpha is None and self.n < _FEWEST:
            return f"Rounds judged by two or more: {self.n}; {_FEWEST} or more tell how far they agree."
        if self.alpha is None or self.low is None or self.high is None:
            return f"All verdicts on {self.n} rounds are the same: chance alone would agree as well."
        figures = f"alpha {self.alpha:.2f} ({self.low:.2f} to {self.high:.2f})"
        said = f"On {self.n} rounds judged by two or more, two voters agreed in {self.equal:.0%} of cases: {figures}."
        if self.alpha >= _RELIABLE:
            return f"{said} That is reliable."
        return f"{said} That is {'enough for tentative' if self.alpha >= _TENTATIVE else 'too little for'} conclusions."


def agreement(votes: Sequence[Vote]) -> Agreement | None:
    """How far voters agree on the rounds that several judged; None where there is no such round.

    What they said is told by arm, whichever side it stood on; of many arms, by which came first in the alphabet. The
    interval is from drawing rounds (Zapf et al. 2016, https://doi.org/10.1186/s12874-016-0200-9). Krippendorff's own
    bootstrap, which evalica has, takes the pairs of one round's votes for independent: with three voters it held an
    alpha of 0.64 in 84 of 100 trials, at 30 rounds as at 100, where this one held it in 95.
    """
    judged = [list(by_voter.values()) for by_voter in by_round(votes).values() if len(by_voter) > 1]
    if not judged:
        return None
    n, equal = len(judged), sum(_equal(said) for said in judged) / len(judged)
    if n < _FEWEST or len({verdict for said in judged for verdict in said}) < 2:
        return Agreement(n=n, equal=equal, alpha=None)
    alpha, low, high = _alpha_interval(judged)
    return Agreement(n=n, equal=equal, alpha=alpha, low=min(low, alpha), high=max(high, alpha))


def _equal(said: Sequence[Outcome]) -> float:
    """The share of pairs of voters with the same verdict."""
    return sum(math.comb(count, 2) for count in Counter(said).values()) / math.comb(len(said), 2)


def _alpha_interval(judged: Sequence[Sequence[Outcome]]) -> tuple[float, float, float]:
    """Krippendorff's alpha and the ends of its interval; draws in which all verdicts are the same have none."""
    import numpy as np

    outcomes, most = get_args(Outcome), max(len(said) for said in judged)
    # A row is no certain voter: alpha does not ask who said it.
    codes = np.full((most, len(judged)), np.nan)
    for column, said in enumerate(judged):
        codes[: len(said), column] = [outcomes.index(verdict) for verdict in said]
    random = np.random.default_rng(0)
    drawn = [_alpha(codes[:, random.integers(len(judged), size=len(judged))]) for _ in range(DRAWS)]
    low, high = np.nanquantile(drawn, [ALPHA / 2, 1 - ALPHA / 2])
    return _alpha(codes), float(low), float(high)


def _alpha(codes: Any) -> float:
    """Of verdicts by number, NaN for none; itself NaN where all are the same, of which evalica makes 1."""
    from evalica import alpha
    from pandas import DataFrame

    found = alpha(DataFrame(codes), distance="nominal")
    return float(found.alpha) if found.expected else math.nan
