"""What votes between models say: who is preferred, and how sure that is.

Owns rounds, counts, the test that may be looked at after every vote, and strengths. Refuses to know storage, screens,
and which votes deserve to count: whoever asks leaves out those that were not blind or whose answer gave its model away.
Votes without two answers are of earlier versions and say nothing here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from assistant.votes import Vote
from prompts.metrics import Score, summarize

Outcome = Literal["first", "second", "tie", "both bad"]
ALPHA = 0.05
DRAWS = 1000
# The prior of the sequential test: Beta(2, 2) on the chance to win. Of 0.5 to 30 it needs the fewest rounds over true
# chances of 0.65, 0.75 and 0.85: a median of 82, 28 and 16, where 1 needs 88, 28, 16, and 10 needs 87, 38, 23.
_PRIOR = 2.0
_FAR = 300  # rounds beyond which a forecast is no help


@dataclass(frozen=True)
class Round:
    """One pair of answers: its arms by `ArmAnswer.arm` in alphabetical order, and what its voters made of it."""

    id: str
    arms: tuple[str, str]
    verdict: Outcome
    voters: int


def per_round(votes: Sequence[Vote]) -> list[Round]:
    """The rounds in the order in which each was first judged: what more than half of its voters said, else a tie.

    So a round counts once, however many judged it, and a voter's last word on it counts. Several rounds on the same
    message all count: each has answers drawn anew and was judged by itself. An arm against itself is left out.
    """
    found = []
    for (id, *arms), by_voter in by_round(votes).items():
        [(verdict, most)] = Counter(by_voter.values()).most_common(1)
        agreed: Outcome = verdict if 2 * most > len(by_voter) else "tie"
        found.append(Round(id, (arms[0], arms[1]), agreed, len(by_voter)))
    return found


def by_round(votes: Sequence[Vote]) -> dict[tuple[str, str, str], dict[str, Outcome]]:
    """What each voter said of each round, whichever answer stood on the left for them."""
    rounds: dict[tuple[str, str, str], dict[str, Outcome]] = {}
    for vote in usable(votes):
        low, high = sorted(answer.arm for answer in vote.answers)
        if low == high:
            continue
        said: Outcome = "tie" if vote.verdict == "tie" else "both bad"
        if vote.winner is not None:
            said = "first" if vote.winner.arm == low else "second"
        rounds.setdefault((vote.round, low, high), {})[vote.voter] = said
    return rounds


def usable(votes: Sequence[Vote]) -> list[Vote]:
    """Those on two answers, the oldest first; earlier versions kept no time, and then the given order stands."""
    return sorted((vote for vote in votes if len(vote.answers) == 2), key=lambda vote: vote.created)


def _titles(votes: Sequence[Vote]) -> dict[str, str]:
    """What each arm was called last."""
    return {answer.arm: answer.title or answer.model for vote in usable(votes) for answer in vote.answers}


# Two arms.


@dataclass(frozen=True)
class Sequential:
    """Where the test stands after so many wins and losses.

    `e_value` is the evidence now against equal chances: what a bet on that would have made of 1. `decided_after` is
    the number of outcomes that decided it, and `better` whether it was for the wins; both are None before, and later
    outcomes do not take them back. `low` and `high` bound the chance to win, at every look at once. `steady` is False
    where no single chance fits all looks; the bounds are then those of the counts alone. `votes_more` is about how
    many more outcomes would decide, None where that is done or more than 300.
    """

    wins: int
    losses: int
    e_value: float
    decided_after: int | None
    better: bool | None
    low: float
    high: float
    votes_more: int | None
    steady: bool = True

    def tell(self, first: str, second: str) -> str:
        """In one sentence, the losses being wins of the first."""
        n = self.wins + self.losses
        if not n:
            return f"There is no round with a winner between {first} and {second} yet."
        if self.better is not None:
            title, won = (second, self.wins) if self.better else (first, self.losses)
            if self.steady and 2 * won > n:
                settled = f", settled after {self.decided_after}" if self.decided_after != n else ""
                return f"{title} is preferred: it won {won} of {n} rounds with a winner{settled}."
            early = f"{title} was preferred after {self.decided_after} rounds with a winner"
            return f"{early}, but has won {won} of {n} by now: that was chance, or what is compared has changed since."
        title, won = (second, self.wins) if self.wins >= self.losses else (first, self.losses)
        apart, so_far = f"{first} and {second} cannot be told apart", f"{title} won {won} of {n} rounds with a winner"
        if self.votes_more is None:
            return f"{apart}: {so_far}, and if that goes on, {_FAR} more would not do."
        return f"{apart} yet: {so_far}; about {self.votes_more} more would do."


def sequential(outcomes: Sequence[bool], alpha: float = ALPHA) -> Sequential:
    """A test of equal chances, two-sided, that may be looked at after every outcome; `outcomes` come oldest first.

    The evidence is the mixture martingale of Robbins (1970) with a Beta(2, 2) over the chance to win:
    B(2 + wins, 2 + losses) / B(2, 2) * 2^n. With equal chances it reaches 1 / alpha at any time with a probability of
    at most alpha (Ville 1939), so the test decides where it first does, and needs the order. The bounds hold the
    chances that the same martingale has rejected at no look, a confidence sequence (Howard, Ramdas, McAuliffe and
    Sekhon 2021, https://arxiv.org/abs/1810.08240). The forecast goes on at the rate so far, with one win and one loss
    added (Laplace's rule of succession). It is rough: seen from 15 rounds, half of the forecasts were right within a
    factor of two, and from 0.7 upwards most were too long. Raises ValueError unless 0 < alpha < 1.
    """
    import numpy as np

    if not 0 < alpha < 1:
        raise ValueError("alpha must lie between 0 and 1")
    limit = -math.log(alpha)
    won = np.cumsum(np.asarray(outcomes, dtype=int))
    lost = np.arange(1, len(won) + 1) - won
    crossed = np.flatnonzero(log_evidence(won, lost) >= limit)
    after = int(crossed[0]) + 1 if len(crossed) else None
    wins, losses = (int(won[-1]), int(lost[-1])) if len(won) else (0, 0)
    low, high, steady = _bounds(won.tolist(), lost.tolist(), limit)
    return Sequential(
        wins=wins,
        losses=losses,
        e_value=math.exp(min(700.0, float(log_evidence(wins, losses)))),  # beyond that a float overflows
        decided_after=after,
        better=None if after is None else bool(won[after - 1] > lost[after - 1]),
        low=low,
        high=high,
        votes_more=_more(max(wins, losses), min(wins, losses), limit) if after is None else None,
        steady=steady,
    )


def log_evidence(wins: Any, losses: Any) -> Any:
    """Logarithm of the e-value against equal chances; numbers or arrays, whole or not."""
    return _log_mixture(wins, losses) + (wins + losses) * math.log(2)


def _log_mixture(wins: Any, losses: Any) -> Any:
    from scipy.special import betaln

    return betaln(_PRIOR + wins, _PRIOR + losses) - betaln(_PRIOR, _PRIOR)


def _bounds(won: Sequence[int], lost: Sequence[int], limit: float) -> tuple[float, float, bool]:
    """The chances that no look has rejected, and whether there are any; else those that the last has not."""
    lows, highs = [0.0], [1.0]
    for wins, losses in zip(won, lost, strict=True):
        lows.append(_low_end(wins, losses, limit))
        highs.append(1 - _low_end(losses, wins, limit))
    low, high = max(lows), min(highs)
    return (low, high, True) if low <= high else (lows[-1], highs[-1], False)


def _low_end(wins: int, losses: int, limit: float) -> float:
    """The lowest chance to win whose own martingale is below the limit after these counts."""
    from scipy.optimize import brentq
    from scipy.special import xlog1py, xlogy

    if not wins:
        return 0.0
    mixture = float(_log_mixture(wins, losses)) - limit
    return float(brentq(lambda p: mixture - xlogy(wins, p) - xlog1py(losses, -p), 1e-300, wins / (wins + losses)))


def _more(ahead: int, behind: int, limit: float) -> int | None:
    """Outcomes until the limit is reached at the rate so far, as one more win and loss would have it."""
    import numpy as np

    rate, coming = (ahead + 1) / (ahead + behind + 2), np.arange(1, _FAR + 1)
    enough = np.flatnonzero(log_evidence(ahead + rate * coming, behind + (1 - rate) * coming) >= limit)
    return int(enough[0]) + 1 if len(enough) else None


@dataclass(frozen=True)
class Tally:
    """Rounds between two arms, which go by their titles.

    `rate` is the share that the second won of the rounds with a winner, with Wilson's interval: right for one look at
    a number of rounds fixed before. Whoever looks while votes come in goes by `sequential`; its wins are the second's.
    """

    first: str
    second: str
    first_wins: int
    second_wins: int
    ties: int
    both_bad: int
    rate: Score | None  # None where no round had a winner
    sequential: Sequential

    @property
    def decisive(self) -> int:
        """Rounds with a winner."""
        return self.first_wins + self.second_wins

    @property
    def told(self) -> str:
        """The verdict and what was left out of it, for a person."""
        rest = [f"{self.ties} tied"] * bool(self.ties) + [f"in {self.both_bad} both were bad"] * bool(self.both_bad)
        return self.sequential.tell(self.first, self.second) + (f" Besides, {' and '.join(rest)}." if rest else "")


def tally(votes: Sequence[Vote], first: str, second: str) -> Tally:
    """The rounds between two arms, each named as `ArmAnswer.arm`, and the sequential verdict at 5 %.

    The promise of that test is for verdicts that stay. A second voter may turn a round that counted, and so take a
    decision back. What stands when the voters are through is wrong in at most 5 %; but where three voters with no
    opinion went through 60 rounds one after the other, 10 % of the trials showed a decision at some look.
    """
    low, high = sorted((first, second))
    verdicts = [found.verdict for found in per_round(votes) if found.arms == (low, high)]
    mine: Outcome = "second" if second == high else "first"
    outcomes = [verdict == mine for verdict in verdicts if verdict in ("first", "second")]
    titles = _titles(votes)
    names = [titles.get(arm, arm) for arm in (first, second)]
    if names[0] == names[1]:
        names = [f"{name} ({place})" for name, place in zip(names, ("first", "second"), strict=True)]
    return Tally(
        first=names[0],
        second=names[1],
        first_wins=len(outcomes) - sum(outcomes),
        second_wins=sum(outcomes),
        ties=verdicts.count("tie"),
        both_bad=verdicts.count("both bad"),
        rate=summarize([float(won) for won in outcomes]) if outcomes else None,
        sequential=sequential(outcomes),
    )


# Two or more arms.


@dataclass(frozen=True)
class Strength:
    """How an arm stands among those it can be compared with.

    `value` is the chance to win a round against the other arms of its group, each as often as any other: 0.5 is the
    average, and of two arms it is the one's share of the wins. `low` and `high` are a 95 % interval, `n` the rounds.
    Arms of different `group`s never met, not even through others: their values cannot be compared.
    """

    arm: str
    title: str
    n: int
    value: float
    low: float
    high: float
    group: int = 0


def strengths(votes: Sequence[Vote], seed: int = 0) -> list[Strength]:
    """Strengths by the model of Bradley and Terry (1952), strongest first; the group with the most rounds comes first.

    A tie is half a win for either, both bad says nothing. Each pair that met has half a win added on both sides, so
    that an arm that always won stays finite: two arms get (wins + 0.5) / (n + 1). The intervals are from the Bayesian
    bootstrap over rounds (Rubin 1981), those half wins among them, which for two arms without ties is Jeffreys'
    interval. Drawing whole rounds, as evalica's bootstrap does, finds no doubt at all in five wins of five: it held
    the truth in 80 of 100 trials for two arms with 6 rounds and in 91 for five arms with 4 a pair, this one in 97 and
    96.
    """
    import numpy as np

    met: dict[tuple[str, str], Counter[Outcome]] = {}
    for found in per_round(votes):
        if found.verdict != "both bad":
            met.setdefault(found.arms, Counter())[found.verdict] += 1
    titles, random = _titles(votes), np.random.default_rng(seed)
    table: list[Strength] = []
    for group, arms in enumerate(_groups(met)):
        within = {pair: counted for pair, counted in met.items() if pair[0] in arms}
        ranked = _ranked(arms, within, random)
        table += (Strength(arm, titles[arm], *figures, group=group) for arm, figures in ranked)
    return table


def _groups(met: dict[tuple[str, str], Counter[Outcome]]) -> list[list[str]]:
    """Arms that met, directly or through others, the group with the most rounds first."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    arms = sorted({arm for pair in met for arm in pair})
    if not arms:
        return []
    ends = [[arms.index(pair[side]) for pair in met] for side in (0, 1)]
    _, labels = connected_components(coo_matrix(([1] * len(met), ends), shape=(len(arms), len(arms))), directed=False)
    groups: dict[int, list[str]] = {}
    for arm, label in zip(arms, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(arm)
    return sorted(groups.values(), key=lambda group: -sum(met[pair].total() for pair in met if pair[0] in group))


def _ranked(
    arms: list[str], met: dict[tuple[str, str], Counter[Outcome]], random: Any
) -> list[tuple[str, tuple[int, float, float, float]]]:
    """The arms of one group, strongest first, each with its rounds, its value, and the ends of its interval."""
    import numpy as np

    pairs = [(arms.index(one), arms.index(other)) for one, other in met]
    counts = np.array([[counted[outcome] for counted in met.values()] for outcome in get_args(Outcome)[:3]], float)
    counts[:2] += 0.5
    drawn = random.standard_gamma(counts, size=(DRAWS, *counts.shape))
    drawn[:, :2] = np.maximum(drawn[:, :2], 1e-6)  # at 0 the fit would divide by it
    values = _chances(pairs, counts)
    low, high = np.quantile([_chances(pairs, weights) for weights in drawn], [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    rounds = [sum(counted.total() for pair, counted in met.items() if arm in pair) for arm in arms]
    bounds = zip(values.tolist(), np.minimum(low, values).tolist(), np.maximum(high, values).tolist(), strict=True)
    rows = [(arm, (n, *figures)) for arm, n, figures in zip(arms, rounds, bounds, strict=True)]
    return sorted(rows, key=lambda row: -row[1][1])


def _chances(pairs: Sequence[tuple[int, int]], weights: Any) -> Any:
    """Each arm's mean chance against the others; `weights` are wins of the first, of the second, and ties, by pair."""
    from evalica import Winner, bradley_terry, pairwise_scores

    first, second = ([pair[side] for pair in pairs] * 3 for side in (0, 1))
    winners = [winner for winner in (Winner.X, Winner.Y, Winner.Draw) for _ in pairs]
    fitted = bradley_terry(first, second, winners, weights=weights.ravel().tolist(), limit=1000)
    chances = pairwise_scores(fitted.scores.sort_index().to_numpy())
    return (chances.sum(axis=1) - 0.5) / (len(chances) - 1)  # without the chance against itself
