"""Which candidate is tried next, on how many rows, and when it can no longer win.

Owns the rungs and the budget; keeps no state, so that a restart goes on by itself: everything follows from what was
tried. Refuses to carry tries out and to decide at the end (`deciding`).

Successive halving (Karnin, Koren and Somekh 2013, https://proceedings.mlr.press/v28/karnin13.html; Jamieson and
Talwalkar 2016, https://arxiv.org/abs/1502.07943) over a fixed list of options: all on the smallest portion, the better
half on a larger one, and so on. What trains nothing is asked first and costs next to nothing.

Optuna's SuccessiveHalvingPruner and Ray Tune's ASHA do the same for a stream of sampled configurations that report one
figure a step: both rank by that figure, and neither knows that candidates were asked the same rows, that a curve may
still cross another, or that a step must not begin which the minutes left do not pay for. With five to ten options and
a few dozen rows these three are what matters, and the halving itself is a few lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trainers.data import Example
from trainers.trials.curves import Drawn, draw, points
from trainers.trials.portions import asked_rows, folds, ladder, learned, part_told
from trainers.trials.records import Candidate, TrialOrder, Tried, Try

SHARE = 0.3
_TEST_ROWS = 80  # that running in full is thought to ask
_CANNOT_WIN = 0.05
_FEWEST_ASKED = 8  # where a portion has fewer rows to ask, nothing could be told
_HINT = 0.2  # how far the certainty of right answers counts beside the score
_LONGER = 1.1  # a try often takes somewhat longer than expected


@dataclass(frozen=True)
class Next:
    """The tries to do next, all at once where several machines are there; none where the trials are over. `out` are
    candidates that are tried no further, each with the reason as a sentence."""

    tries: tuple[Try, ...] = ()
    out: dict[str, str] = field(default_factory=dict)


def next_tries(
    order: TrialOrder, tried: Sequence[Tried], train: Sequence[Example] | int, seconds_left: float, dev: int = 0
) -> Next:
    """What to try next. `train` are the training rows or their number; `dev` is the number of dev rows, which is found
    by itself where the training rows are given.

    Never more than 30 % of what running all candidates in full would take, as far as that is known, however large the
    budget is: more would no longer be a trial. Within that and `seconds_left` nothing is begun that does not fit, by
    what earlier tries took. Of the first rung at least the first candidate that trains is tried, so that there is
    something to compare.
    """
    if not isinstance(train, int):
        own = {row.row for row in train}
        dev = max(dev, len({row for one in tried for row in one.scores} - own))
        train = len(train)
    return _Halving(order, tuple(tried), train, dev, seconds_left).next()


@dataclass(frozen=True)
class _Halving:
    """One look at the trials. `out` collects reasons while it goes through the rungs."""

    order: TrialOrder
    tried: tuple[Tried, ...]
    train: int
    dev: int
    seconds_left: float
    out: dict[str, str] = field(default_factory=dict)

    def next(self) -> Next:
        """Rung after rung: what is missing of the first that is not whole. One that nothing trained fits into any more
        is not begun, and nobody is out for that."""
        left = self._in_order()
        for number, (portion, fold) in enumerate(self._steps()):
            left = [key for key in left if not self._failed(key)]
            missing = [key for key in left if not self._was_tried(key, portion, fold)]
            if number and len(missing) == len(left) and not self._worth(left, portion):
                break
            tries = self._affordable(missing, portion, fold)
            if tries:
                return Next(tries, dict(self.out))
            left = [key for key in left if key not in self.out]
            if any(self._was_tried(key, portion, fold) for key in left):
                left = self._survivors(left, portion, fold)
        return Next((), dict(self.out))

    # The rungs

    def _steps(self) -> Iterator[tuple[float, int]]:
        for portion in ladder(self.train):
            if portion < 1 or asked_rows(self.train, self.dev, 1.0) >= _FEWEST_ASKED:
                for fold in range(folds(self.train, portion)):
                    yield portion, fold

    def _in_order(self) -> list[str]:
        """What trains nothing first, then the others as the order has them: whoever made it put the likeliest first."""
        return [one.key for one in sorted(self.order.candidates, key=lambda one: one.trains)]

    def _worth(self, left: Sequence[str], portion: float) -> bool:
        """Whether another rung could change anything, and there is room for one of those that it is about."""
        able = [key for key in left if self._trains(key)] or list(left)
        return len(left) > 1 and any(self._fits(key, portion, self._limit()) for key in able)

    def _was_tried(self, key: str, portion: float, fold: int) -> bool:
        return any(one.tried == Try(key=key, portion=portion, fold=fold) for one in self.tried)

    def _failed(self, key: str) -> bool:
        why = next((one.failed for one in self.tried if one.tried.key == key and one.failed), "")
        if why:
            self.out[key] = f"It could not be tried: {why}"
        return bool(why)

    def _survivors(self, keys: Sequence[str], portion: float, fold: int) -> list[str]:
        """Who goes on after a rung: who can still win, and of these the better half of what trains and of what does
        not. Only what was known at this rung counts, so that a later look finds the same."""
        until = [one for one in self.tried if (one.tried.portion, one.tried.fold) <= (portion, fold)]
        seen = [key for key in keys if points(until, key)]
        if len(seen) < 2:
            return list(keys)
        drawn = draw([self._candidate(key) for key in seen], until)
        leader = drawn.ranked[0]
        # How far a curve goes on from its first point is a guess, by which not all that trains nothing is given up.
        to_beat = next((key for key in drawn.ranked if not self._trains(key)), "")
        guessed = self._trains(leader) and len(points(until, leader)) < 2
        for key in seen:
            if key != leader and drawn.better(key, leader) < _CANNOT_WIN and not (guessed and key == to_beat):
                self.out[key] = self._cannot_win(drawn, key, leader)
        worth = self._worths(drawn, until, portion)
        for trains in (False, True):
            group = [key for key in seen if self._trains(key) == trains]
            able = sorted((key for key in group if key not in self.out), key=worth.__getitem__, reverse=True)
            for key in able[math.ceil(len(group) / 2) :]:
                self.out[key] = self._worse_half(drawn, key, able[0], portion)
        return [key for key in keys if key not in self.out]

    def _worths(self, drawn: Drawn, until: Sequence[Tried], portion: float) -> dict[str, float]:
        """The promise of each, and a share of how probable its right answers were: scores of few rows are coarse."""
        soft = {}
        for key in drawn.keys:
            found = [point.certainty for point in points(until, key) if point.portion == portion and point.certainty]
            if found:
                soft[key] = sum(math.exp(value) for value in found[0].values()) / len(found[0])
        if len(soft) < len(drawn.keys):
            return {key: drawn.mean(key) for key in drawn.keys}
        return {key: drawn.mean(key) + _HINT * soft[key] for key in drawn.keys}

    def _cannot_win(self, drawn: Drawn, key: str, leader: str) -> str:
        own, best = drawn.promise(key), drawn.promise(leader)
        return (
            f"It can no longer win: on all rows its curve reaches {own.value:.0%}, {own.high:.0%} at most, while "
            f"{self._candidate(leader).title} promises {best.value:.0%}, {best.low:.0%} at least."
        )

    def _worse_half(self, drawn: Drawn, key: str, better: str, portion: float) -> str:
        own, best = drawn.promise(key), drawn.promise(better)
        return (
            f"It was in the worse half on {part_told(portion)}: it promises {own.value:.0%} on all rows, "
            f"{self._candidate(better).title} {best.value:.0%}."
        )

    # The budget

    def _affordable(self, missing: Sequence[str], portion: float, fold: int) -> tuple[Try, ...]:
        """What of these fits, in order; who does not is out. Where the cost of training is not known yet, one goes
        ahead, unless there is a cluster."""
        left, tries = self._limit(), list[Try]()
        for key in missing:
            cost = self._seconds(key, portion)
            if cost is None and tries and not self.order.cluster:
                break
            if not self._fits(key, portion, left) and not self._needed(key, tries):
                self.out[key] = self._too_dear(cost or 0.0, portion)
                continue
            left -= cost or 0.0
            tries.append(Try(key=key, portion=portion, fold=fold))
        return tuple(tries)

    def _fits(self, key: str, portion: float, seconds: float) -> bool:
        """Whether a try is expected to end in time. What nobody knows yet may, while something is left."""
        return seconds > 0 and (self._seconds(key, portion) or 0.0) * _LONGER <= seconds

    def _trains(self, key: str) -> bool:
        return self._candidate(key).trains

    def _needed(self, key: str, tries: Sequence[Try]) -> bool:
        """Whether nothing else that trains was tried or will be, and the person's own budget has something left."""
        others = [one.tried.key for one in self.tried if not one.failed] + [one.key for one in tries]
        first = not any(self._trains(other) for other in others)
        cost = self._seconds(key, ladder(self.train)[0])
        return first and self._trains(key) and (cost or 0.0) < self.seconds_left

    def _too_dear(self, cost: float, portion: float) -> str:
        limit = "what is left" if self._limit() == self.seconds_left else f"{SHARE:.0%} of all in full"
        return (
            f"It was not tried on {part_told(portion)}: that would take about {cost:.0f} s, more than {limit} allows."
        )

    def _limit(self) -> float:
        """The seconds that may still be spent."""
        full = [self._seconds(one.key, 1.0) for one in self.order.candidates if not self._gave_up(one.key)]
        if any(one is None for one in full):
            return self.seconds_left
        spent = sum(one.seconds for one in self.tried)
        return min(self.seconds_left, max(0.0, SHARE * sum(one or 0.0 for one in full) - spent))

    def _gave_up(self, key: str) -> bool:
        return any(one.failed for one in self.tried if one.tried.key == key)

    def _seconds(self, key: str, portion: float) -> float | None:
        """What a try takes: training grows with the rows seen, the rest with those asked. By the candidate's own last
        try, else by another's that trains as it does; None where there is none."""
        candidate = self._candidate(key)
        good = [one for one in self.tried if not one.failed and one.scores]
        like = next((one for one in reversed(good) if one.tried.key == key), None) or next(
            (one for one in reversed(good) if self._trains(one.tried.key) == candidate.trains), None
        )
        if like is None:
            return None
        before = _rows_seen(self._candidate(like.tried.key), like.rows)
        now = _rows_seen(candidate, learned(self.train, portion))
        scoring = like.score_seconds or (like.seconds - like.train_seconds) / 2
        fixed = like.seconds - like.train_seconds - scoring
        training = like.train_seconds * (now / before if before else 1.0)
        return fixed + training + scoring * self._asked(portion) / len(like.scores)

    def _asked(self, portion: float) -> int:
        """The rows of a try. In full it would be the test rows, of which the same number is counted for all data."""
        return max(1, asked_rows(self.train, self.dev, portion)) if portion < 1 else _TEST_ROWS

    def _candidate(self, key: str) -> Candidate:
        return next(one for one in self.order.candidates if one.key == key)


def _rows_seen(candidate: Candidate, rows: int) -> float:
    plan = candidate.plan
    return plan.strategy.rows_seen(rows + plan.data.general_rows, plan.training.epochs)
