"""What votes between models say, against values worked out by hand, independent formulas, and planted truths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import beta, binom

from assistant.arena import statistics
from assistant.arena.statistics import log_evidence, per_round, sequential, strengths, tally
from assistant.arena.voters import agreement, side_bias
from assistant.votes import ArmAnswer, Verdict, Vote

OLD = Vote(message="m", answers=())
Array = NDArray[Any]


def answer(name: str, title: str | None = None) -> ArmAnswer:
    return ArmAnswer(title=name.title() if title is None else title, model=name, prompt_id="p", text="x")


BASE, TUNED = answer("base").arm, answer("tuned").arm


def vote(left: str, right: str, verdict: Verdict, **values: Any) -> Vote:
    """A judgement on two models by name; a round of its own unless it is told which."""
    return Vote(message="m", answers=(answer(left), answer(right)), verdict=verdict, **values)


def run(wins: int, losses: int = 0, ties: int = 0, one: str = "base", other: str = "tuned") -> list[Vote]:
    """Rounds that `other` won, then rounds that it lost, then ties; sides change from round to round."""
    found = []
    for i, winner in enumerate([other] * wins + [one] * losses + [""] * ties):
        left, right = (one, other) if i % 2 else (other, one)
        found.append(vote(left, right, "tie" if not winner else "left" if winner == left else "right"))
    return found


def judged(said: str, round: str, one: str = "base", other: str = "tuned") -> list[Vote]:
    """A round by its voters: f for the one, s for the other, t for a tie, b for both bad; every second one swapped."""
    votes = []
    for i, word in enumerate(said):
        left, right = (one, other) if i % 2 else (other, one)
        sides: dict[str, Verdict] = {"t": "tie", "b": "both bad"}
        verdict = sides.get(word) or ("left" if {"f": one, "s": other}[word] == left else "right")
        votes.append(vote(left, right, verdict, round=round, voter=f"voter {i}"))
    return votes


# Rounds.


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("f", "first"), ("s", "second"), ("t", "tie"), ("b", "both bad"),
        ("ffs", "first"), ("sfs", "second"), ("bbs", "both bad"), ("ttf", "tie"),
        ("fs", "tie"), ("ft", "tie"), ("bt", "tie"), ("ffst", "tie"), ("fffst", "first"),
    ],
)  # fmt: skip
def test_more_than_half_of_the_voters_make_a_verdict(said: str, verdict: str) -> None:
    [found] = per_round(judged(said, "r"))
    assert (found.arms, found.verdict, found.voters) == ((BASE, TUNED), verdict, len(said))


def test_rounds_stand_in_the_order_of_their_first_vote() -> None:
    votes = [
        vote("base", "tuned", "right", round="late", created=3.0),
        vote("base", "tuned", "left", round="early", created=1.0),
        vote("tuned", "base", "right", round="early", voter="other", created=9.0),
    ]
    assert [(found.id, found.verdict) for found in per_round(votes)] == [("early", "first"), ("late", "second")]


def test_the_last_word_of_a_voter_counts() -> None:
    votes = [vote("base", "tuned", verdict, round="r", created=at) for verdict, at in (("left", 2.0), ("right", 1.0))]  # type: ignore[arg-type]
    [found] = per_round(votes)
    assert (found.verdict, found.voters) == ("first", 1)


def test_what_says_nothing_about_two_arms_is_no_round() -> None:
    three = Vote(message="m", answers=(answer("base"), answer("tuned"), answer("third")), verdict="left")
    assert per_round([OLD, three, vote("base", "base", "left")]) == []


# The test that may be looked at after every vote.


def bets(outcomes: Array, p: float = 0.5) -> Array:
    """The same martingale another way: a bet on each outcome at the odds of what came before. Logarithms."""
    won = np.cumsum(outcomes, axis=-1) - outcomes
    n = np.arange(outcomes.shape[-1])
    chance = (2 + won) / (4 + n)
    return np.cumsum(np.where(outcomes, np.log(chance / p), np.log((1 - chance) / (1 - p))), axis=-1)


def sequences(p: float, rows: int, n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((rows, n)) < p


def evidence(outcomes: Array) -> Array:
    won = np.cumsum(outcomes, axis=1)
    return np.asarray(log_evidence(won, np.arange(1, outcomes.shape[1] + 1) - won))


def test_the_evidence_of_a_few_outcomes_by_hand() -> None:
    # B(2 + 2, 2) / B(2, 2) * 4 = (1/20) / (1/6) * 4
    assert math.exp(log_evidence(2, 0)) == pytest.approx(1.2)
    # B(3, 3) / B(2, 2) * 4 = (1/30) / (1/6) * 4
    assert math.exp(log_evidence(1, 1)) == pytest.approx(0.8)
    # B(11, 2) / B(2, 2) * 2^9 = 6 * 512 / 132
    assert sequential([True] * 9).e_value == pytest.approx(6 * 512 / 132)


def test_the_evidence_is_what_bets_on_each_outcome_make() -> None:
    outcomes = sequences(0.7, 20, 150)
    assert evidence(outcomes) == pytest.approx(bets(outcomes))


def test_a_decision_stands_where_the_evidence_first_reached_the_limit() -> None:
    found = set()
    for outcomes in np.concatenate([sequences(p, 15, 60, seed=4) for p in (0.2, 0.5, 0.8)]):
        reached = np.flatnonzero(bets(outcomes) >= math.log(20))
        result = sequential(outcomes.tolist())
        assert result.decided_after == (reached[0] + 1 if len(reached) else None)
        ahead = outcomes[: result.decided_after].mean() > 0.5 if len(reached) else None
        assert result.better is (None if ahead is None else bool(ahead))
        found.add(result.better)
    assert found == {True, False, None}


def test_looking_after_every_vote_raises_no_false_alarm() -> None:
    """And the simulation can tell: a binomial test at 5 %, looked at as often, cries wolf in every other sequence."""
    outcomes = sequences(0.5, 2000, 500, seed=1)
    alarms = (evidence(outcomes) >= math.log(20)).any(axis=1).mean()
    assert alarms <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)
    assert alarms > 0.02, "one that never decides would be no test"
    won, n = np.cumsum(outcomes, axis=1), np.arange(1, 501)
    naive = (2 * binom.cdf(np.minimum(won, n - won), n, 0.5) <= 0.05).any(axis=1).mean()
    assert naive > 0.3


@pytest.mark.parametrize(("p", "median", "most"), [(0.65, 90, 200), (0.75, 32, 68), (0.85, 18, 31)])
def test_a_difference_is_found_after_few_votes(p: float, median: int, most: int) -> None:
    reached = evidence(sequences(p, 2000, 600, seed=2)) >= math.log(20)
    needed = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 10_000)
    assert np.median(needed) <= median
    assert np.quantile(needed, 0.9) <= most


def test_the_prior_is_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beta(2, 2) needs no more rounds over the three chances than flatter and steeper ones, a tenth of one aside."""
    outcomes = [sequences(p, 2000, 600, seed=3) for p in (0.65, 0.75, 0.85)]

    def needed(prior: float) -> float:
        monkeypatch.setattr(statistics, "_PRIOR", prior)
        reached = [evidence(rows) >= math.log(20) for rows in outcomes]
        return float(sum(np.where(r.any(axis=1), r.argmax(axis=1) + 1, 600).mean() for r in reached))

    chosen = needed(2.0)
    assert all(chosen < needed(prior) for prior in (0.5, 1.0, 5.0, 10.0))


def test_a_verdict_is_not_lost_by_later_votes() -> None:
    result = sequential([True] * 9 + [True, False] * 4)
    assert result.e_value < 20
    assert (result.decided_after, result.better, result.votes_more) == (9, True, None)
    assert result.low > 0.5
    told = result.tell("base", "tuned")
    assert told == "tuned is preferred: it won 13 of 17 rounds with a winner, settled after 9."


@pytest.mark.parametrize("losses", [9, 60])
def test_a_verdict_that_later_votes_gainsay_is_told_with_them(losses: int) -> None:
    result = sequential([True] * 9 + [False] * losses)
    assert (result.decided_after, result.better) == (9, True)
    told = result.tell("base", "tuned")
    assert told.startswith(f"tuned was preferred after 9 rounds with a winner, but has won 9 of {9 + losses} by now")


def test_where_no_chance_fits_all_looks_the_bounds_are_of_the_counts() -> None:
    result = sequential([True] * 9 + [False] * 60)
    assert not result.steady
    assert 0 < result.low < 9 / 69 < result.high < 0.5


def test_the_bounds_hold_what_no_look_has_rejected() -> None:
    for outcomes in (sequences(0.6, 1, 80)[0], sequences(0.9, 1, 40)[0]):
        result = sequential(outcomes.tolist())
        for p in np.linspace(0.005, 0.995, 199):
            inside = result.low <= p <= result.high
            assert inside == (bets(outcomes, p).max() < math.log(20)), p


def test_the_bounds_hold_the_chance_at_every_look() -> None:
    results = [sequential(outcomes.tolist()) for outcomes in sequences(0.7, 200, 150, seed=5)]
    held = np.mean([result.steady and result.low <= 0.7 <= result.high for result in results])
    assert held >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean([result.high - result.low for result in results]) < 0.3


def test_wins_and_losses_are_treated_alike() -> None:
    outcomes = sequences(0.6, 1, 60, seed=6)[0]
    one, other = sequential(outcomes.tolist()), sequential((~outcomes).tolist())
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert one.e_value == pytest.approx(other.e_value)
    assert one.votes_more == other.votes_more


def test_the_forecast_goes_on_at_the_rate_so_far() -> None:
    def evidence_at(more: int) -> float:
        wins, losses = 14 + more * 15 / 22, 6 + more * 7 / 22  # one win and one loss added to the rate
        logarithm = math.lgamma(2 + wins) + math.lgamma(2 + losses) - math.lgamma(4 + wins + losses) + math.log(6)
        return math.exp(logarithm + (wins + losses) * math.log(2))

    outcomes = [True, True, False, True, True, False, True] * 2 + [True, False, True, True, False, True]
    expected = next(more for more in range(1, 400) if evidence_at(more) >= 20)
    result = sequential(outcomes)
    assert (result.wins, result.losses, result.votes_more) == (14, 6, expected)
    told = result.tell("base", "tuned")
    assert told.startswith("base and tuned cannot be told apart yet: tuned won 14 of 20 rounds with a winner;")
    assert told.endswith(f"about {expected} more would do.")


def test_no_forecast_where_it_would_take_hundreds() -> None:
    result = sequential([True, False] * 10 + [False])
    assert result.votes_more is None
    assert result.tell("base", "tuned") == (
        "base and tuned cannot be told apart: base won 11 of 21 rounds with a winner, "
        "and if that goes on, 300 more would not do."
    )


def test_without_outcomes_all_is_open() -> None:
    result = sequential([])
    assert (result.e_value, result.low, result.high) == (1, 0, 1)
    assert (result.decided_after, result.better, result.votes_more) == (None, None, None)
    assert result.tell("base", "tuned") == "There is no round with a winner between base and tuned yet."


def test_one_outcome_decides_nothing() -> None:
    result = sequential([False])
    # B(2, 3) / B(2, 2) / (1 - p) reaches 20 where 1 - p is a fortieth
    assert (result.low, result.high) == pytest.approx((0, 1 - 1 / 40))
    assert result.better is None


def test_alpha_moves_the_limit() -> None:
    assert sequential([True] * 9, alpha=0.01).decided_after is None
    assert sequential([True] * 12, alpha=0.01).decided_after == 12
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match="alpha"):
            sequential([True], alpha)


def test_a_long_run_overflows_nothing() -> None:
    assert math.isfinite(sequential([True] * 1500).e_value)


# Two arms.


def wilson(hits: int, n: int) -> tuple[float, float]:
    z, share = 1.959963984540054, hits / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def test_a_tally_counts_for_each_arm_whatever_its_side() -> None:
    votes = [*run(18, 4, ties=5), vote("tuned", "base", "both bad"), vote("third", "base", "left"), OLD]
    found = tally(votes, BASE, TUNED)
    assert (found.first, found.second) == ("Base", "Tuned")
    assert (found.first_wins, found.second_wins, found.ties, found.both_bad, found.decisive) == (4, 18, 5, 1, 22)
    assert found.rate
    assert found.rate.value == pytest.approx(18 / 22)
    assert (found.rate.low, found.rate.high) == pytest.approx(wilson(18, 22))
    assert found.told == (
        "Tuned is preferred: it won 18 of 22 rounds with a winner, settled after 9. "
        "Besides, 5 tied and in 1 both were bad."
    )


def test_a_tally_may_be_asked_either_way_round() -> None:
    found = tally(run(12, 1), TUNED, BASE)
    assert (found.first, found.first_wins, found.second_wins) == ("Tuned", 12, 1)
    assert found.rate and found.rate.value == pytest.approx(1 / 13)
    assert found.sequential.better is False
    assert found.told.startswith("Tuned is preferred: it won 12 of 13")


def test_a_round_of_several_voters_counts_once() -> None:
    votes = [*judged("sss", "one"), *judged("sfs", "two"), *judged("fs", "three")]
    found = tally(votes, BASE, TUNED)
    assert (found.first_wins, found.second_wins, found.ties) == (0, 2, 1)


def test_the_order_of_the_votes_is_by_their_time() -> None:
    votes = [vote("base", "tuned", "right", created=float(i)) for i in range(9)]
    votes += [vote("base", "tuned", "left", created=float(9 + i)) for i in range(3)]
    assert tally(votes[::-1], BASE, TUNED).sequential.decided_after == 9


def test_the_latest_title_names_an_arm() -> None:
    votes = [
        Vote(message="m", answers=(answer("base"), answer("tuned", "New")), verdict="left", created=2.0),
        Vote(message="m", answers=(answer("base", ""), answer("tuned", "Old")), verdict="left", created=1.0),
    ]
    assert (tally(votes, BASE, TUNED).first, tally(votes, BASE, TUNED).second) == ("Base", "New")
    assert tally(votes[1:], BASE, TUNED).first == "base", "without a title it goes by its model"


def test_two_arms_of_one_title_are_told_apart() -> None:
    votes = [Vote(message="m", answers=(answer("base", "Same"), answer("tuned", "Same")), verdict="right")]
    found = tally(votes, BASE, TUNED)
    assert (found.first, found.second) == ("Same (first)", "Same (second)")


@pytest.mark.parametrize("votes", [[], [OLD], run(3, one="base", other="third")])
def test_arms_that_never_met_have_an_empty_tally(votes: list[Vote]) -> None:
    found = tally(votes, BASE, TUNED)
    assert (found.decisive, found.ties, found.both_bad, found.rate) == (0, 0, 0, None)
    assert found.told.startswith("There is no round with a winner between ")


# Two or more arms.


def likeliest(names: Sequence[str], wins: dict[tuple[str, str], float]) -> dict[str, float]:
    """Each arm's mean chance against the others at the greatest likelihood, half a win added to all that met."""
    met = {tuple(sorted(pair)) for pair in wins}
    total = {
        pair: wins.get(pair, 0.0) + 0.5 for one, other in met for pair in ((one, other), (other, one))
    }  # the winner first

    def loss(logits: Array) -> float:
        at = dict(zip(names, logits, strict=True))
        likelihood = sum(count * -math.log1p(math.exp(at[b] - at[a])) for (a, b), count in total.items())
        return -likelihood + 1e-6 * float((logits**2).sum())

    at = dict(zip(names, minimize(loss, np.zeros(len(names)), tol=1e-10).x, strict=True))
    chance = {(a, b): 1 / (1 + math.exp(at[b] - at[a])) for a in names for b in names if a != b}
    return {a: sum(chance[a, b] for b in names if b != a) / (len(names) - 1) for a in names}


@pytest.mark.parametrize(("wins", "losses", "ties"), [(5, 0, 0), (0, 1, 0), (7, 3, 0), (7, 3, 5), (0, 0, 4)])
def test_two_arms_have_their_share_with_half_a_win_added(wins: int, losses: int, ties: int) -> None:
    n = wins + losses + ties
    tuned = next(found for found in strengths(run(wins, losses, ties)) if found.arm == TUNED)
    assert (tuned.title, tuned.n) == ("Tuned", n)
    assert tuned.value == pytest.approx((wins + ties / 2 + 0.5) / (n + 1), abs=1e-5)
    assert 0 <= tuned.low <= tuned.value <= tuned.high <= 1


@pytest.mark.parametrize(("wins", "losses"), [(5, 0), (7, 3), (60, 40)])
def test_the_interval_of_two_arms_is_jeffreys(wins: int, losses: int) -> None:
    tuned = next(found for found in strengths(run(wins, losses)) if found.arm == TUNED)
    expected = beta.ppf([0.025, 0.975], wins + 0.5, losses + 0.5)
    assert (tuned.low, tuned.high) == pytest.approx(tuple(expected), abs=0.05)


def test_strengths_are_the_likeliest_ones() -> None:
    names = ["base", "other", "third", "tuned"]
    won = {("base", "other"): 4, ("other", "base"): 2, ("tuned", "base"): 5, ("tuned", "third"): 3}
    won |= {("third", "base"): 2, ("base", "third"): 2, ("third", "other"): 1}
    votes = [vote(loser, winner, "right") for (winner, loser), count in won.items() for _ in range(count)]
    votes += [vote("third", "tuned", "tie"), vote("third", "other", "both bad")]
    expected = likeliest(names, {**won, ("tuned", "third"): 3.5, ("third", "tuned"): 0.5})
    found = strengths(votes)
    assert found[0].arm == TUNED, "it never lost, and yet its figures are finite"
    assert {s.title.lower(): s.value for s in found} == pytest.approx(expected, abs=1e-3)
    assert [s.value for s in found] == sorted((s.value for s in found), reverse=True)
    assert {s.title: s.n for s in found} == {"Base": 15, "Other": 7, "Third": 9, "Tuned": 9}
    assert sum(s.value for s in found) / len(found) == pytest.approx(0.5)
    assert all(0 < s.low < s.value < s.high < 1 for s in found)


def contest(logits: dict[str, float], n: int, random: np.random.Generator) -> list[Vote]:
    """Rounds between arms of known strengths, n a pair."""
    votes = []
    for one, other in itertools.combinations(logits, 2):
        p = 1 / (1 + math.exp(logits[other] - logits[one]))
        votes += [vote(one, other, "left" if won else "right") for won in random.random(n) < p]
    return votes


def planted(logits: dict[str, float]) -> dict[str, float]:
    chance = {a: [1 / (1 + math.exp(logits[b] - logits[a])) for b in logits if b != a] for a in logits}
    return {a: sum(chances) / len(chances) for a, chances in chance.items()}


def test_planted_strengths_are_found_again() -> None:
    logits = {"base": -1.0, "other": 0.0, "third": 0.3, "tuned": 1.2}
    found = strengths(contest(logits, 1500, np.random.default_rng(0)))
    assert [s.title for s in found] == ["Tuned", "Third", "Other", "Base"]
    assert {s.title.lower(): s.value for s in found} == pytest.approx(planted(logits), abs=0.03)
    assert all(0.01 < s.high - s.low < 0.05 for s in found)


def test_the_intervals_hold_the_planted_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 200)
    logits, random = {"base": -0.8, "third": 0.0, "tuned": 0.8}, np.random.default_rng(7)
    truth = planted(logits)
    held = [
        s.low <= truth[s.title.lower()] <= s.high
        for _ in range(40)
        for s in strengths(contest(logits, 6, random), seed=int(random.integers(2**31)))
    ]
    assert len(held) == 120
    assert np.mean(held) >= 0.9


def test_arms_that_never_met_are_in_groups_of_their_own() -> None:
    votes = [*run(2, 1), *run(1, 6, one="third", other="fourth"), *run(2, 1, one="fourth", other="fifth")]
    votes += [vote("base", "third", "both bad"), vote("sixth", "base", "both bad"), OLD]
    found = strengths(votes)
    table = [("Third", 0), ("Fifth", 0), ("Fourth", 0), ("Tuned", 1), ("Base", 1)]
    assert [(s.title, s.group) for s in found] == table, "the group with more rounds first"
    alone = {s.title: s.value for s in strengths(run(2, 1))}
    assert {s.title: s.value for s in found if s.group == 1} == pytest.approx(alone)


def test_the_same_seed_gives_the_same_intervals() -> None:
    votes = run(7, 3)
    assert strengths(votes) == strengths(votes, seed=0)
    assert strengths(votes)[0].low != strengths(votes, seed=1)[0].low
    assert strengths(votes)[0].value == strengths(votes, seed=1)[0].value


@pytest.mark.parametrize("votes", [[], [OLD], [vote("base", "tuned", "both bad")], [vote("base", "base", "left")]])
def test_without_rounds_there_are_no_strengths(votes: list[Vote]) -> None:
    assert strengths(votes) == []


# The voters.


def sides(left: int, right: int) -> list[Vote]:
    return [vote("base", "tuned", "left")] * left + [vote("base", "tuned", "right")] * right


def test_a_leaning_to_one_side_is_found() -> None:
    found = side_bias([*sides(31, 9), vote("base", "tuned", "tie"), vote("base", "tuned", "both bad"), OLD])
    assert (found.left, found.n, found.value) == pytest.approx((31, 40, 31 / 40))
    assert (found.low, found.high) == pytest.approx(wilson(31, 40))
    assert found.p_value == pytest.approx(2 * sum(math.comb(40, k) for k in range(31, 41)) / 2**40)
    assert found.told == (
        "These votes lean to the left: 31 of 40 votes with a winner went to the left "
        f"(78%, {found.low:.0%} to {found.high:.0%}; p = 0.00068)."
    )
    assert side_bias(sides(9, 31)).told.startswith("These votes lean to the right: 9 of 40")


def test_no_leaning_shows_where_the_sides_are_even() -> None:
    found = side_bias(sides(11, 9))
    assert found.told.startswith("No leaning to one side shows: 11 of 20 votes with a winner went to the left (55%,")
    one = side_bias(sides(1, 0))
    assert (one.value, one.p_value) == (1, 1)


def test_without_a_winner_no_side_is_known() -> None:
    for votes in ([], [OLD], [vote("base", "tuned", "tie")]):
        found = side_bias(votes)
        assert (found.n, found.low, found.high, found.p_value) == (0, 0, 1, 1)
        assert found.told == "There is no vote with a winner yet."


def rounds(*said: str) -> list[Vote]:
    return [each for i, words in enumerate(said) for each in judged(words, f"round {i}")]


def krippendorff(said: Sequence[str]) -> float:
    """Alpha for names from its definition: disagreement within rounds by that over all verdicts."""
    together = [word for words in said for word in words]
    n = len(together)
    observed = sum(
        sum(a != b for a, b in itertools.permutations(words, 2)) / (len(words) - 1) for words in said if len(words) > 1
    )
    return 1 - observed / (sum(a != b for a, b in itertools.permutations(together, 2)) / (n - 1))


def test_agreement_by_hand() -> None:
    # Coincidences 12 and 4 on the diagonal, 2 and 2 beside it; 14 and 6 of 20 verdicts: 1 - 19 * 4 / (2 * 14 * 6)
    found = agreement([*rounds(*["ff"] * 6, *["ss"] * 2, "fs", "sf"), *judged("f", "alone"), OLD])
    assert found and found.alpha and found.low and found.high
    assert (found.n, found.equal) == pytest.approx((10, 0.8))
    assert found.alpha == pytest.approx(1 - 19 * 4 / (2 * 14 * 6))
    assert found.low < found.alpha < found.high
    assert found.told == (
        "On 10 rounds judged by two or more, two voters agreed in 80% of cases: "
        f"alpha 0.55 ({found.low:.2f} to {found.high:.2f}). That is too little for conclusions."
    )


def test_agreement_of_many_voters_some_of_whom_miss_rounds() -> None:
    said = ["fff", "ffs", "ss", "tts", "bb", "fft", "sssf", "ff"]
    found = agreement([*rounds(*said), *judged("t", "alone")])
    assert found and found.alpha
    assert found.alpha == pytest.approx(krippendorff(said))
    pairs = [[a == b for a, b in itertools.combinations(words, 2)] for words in said]
    assert found.equal == pytest.approx(np.mean([np.mean(each) for each in pairs]))


def test_it_matters_which_arm_won_and_not_on_which_side() -> None:
    same = [
        vote(*pair, verdict, round=f"{i}", voter=voter)  # type: ignore[arg-type]
        for i in range(6)
        for voter, pair, verdict in (
            ("ann", ("base", "tuned"), "left" if i % 2 else "right"),
            ("ben", ("tuned", "base"), "right" if i % 2 else "left"),
        )
    ]
    found = agreement(same)
    assert found and (found.equal, found.alpha, found.low, found.high) == (1, 1, 1, 1)
    assert found.told.endswith("That is reliable.")
    against = [
        each.model_copy(update={"verdict": "left" if each.verdict == "right" else "right"})
        if each.voter == "ben"
        else each
        for each in same
    ]
    found = agreement(against)
    assert found and found.alpha == pytest.approx(1 - 11 * 12 / 72)
    assert found.equal == 0


@pytest.mark.parametrize(
    ("disagreed", "reading"), [(1, "That is reliable."), (3, "That is enough for tentative conclusions.")]
)
def test_the_usual_reading(disagreed: int, reading: str) -> None:
    found = agreement(rounds(*["fs"] * disagreed, *["ff"] * 10, *["ss"] * 9))
    assert found and found.told.endswith(reading)


def test_verdicts_that_are_all_the_same_tell_nothing() -> None:
    found = agreement(rounds(*["ff"] * 7))
    assert found and (found.n, found.equal, found.alpha) == (7, 1, None)
    assert found.told == "All verdicts on 7 rounds are the same: chance alone would agree as well."


def test_a_few_rounds_tell_nothing() -> None:
    found = agreement(rounds("fs"))
    assert found and (found.n, found.equal, found.alpha) == (1, 0, None)
    assert found.told == "Rounds judged by two or more: 1; 5 or more tell how far they agree."


def test_a_rare_verdict_leaves_draws_without_alpha_out() -> None:
    found = agreement(rounds(*["ff"] * 5, "fs"))
    assert found and found.alpha is not None and found.low is not None and found.high is not None
    assert -1 < found.low <= found.alpha <= found.high < 1


@pytest.mark.parametrize("votes", [[], [OLD], run(9, 3), [vote("base", "tuned", "left", round="r")] * 2])
def test_one_voter_agrees_with_nobody(votes: list[Vote]) -> None:
    assert agreement(votes) is None


def test_the_interval_of_agreement_is_as_wide_as_alpha_varies() -> None:
    """Three voters: Krippendorff's own bootstrap, which takes their pairs for independent, is too narrow by a third."""
    random = np.random.default_rng(8)

    def drawn() -> list[str]:
        truth = random.choice(list("fst"), size=60, p=[0.3, 0.5, 0.2])
        guess = random.choice(list("fst"), size=(3, 60), p=[0.3, 0.5, 0.2])
        return ["".join(words) for words in np.where(random.random((3, 60)) < 0.8, truth, guess).T]

    spread = np.std([krippendorff(drawn()) for _ in range(300)])
    found = [agreement(rounds(*drawn())) for _ in range(5)]
    width = np.mean([each.high - each.low for each in found if each and each.high and each.low])
    assert width == pytest.approx(2 * 1.96 * spread, rel=0.15)
