"""Trials from end to end in invented worlds whose true scores are known: what the advice loses, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.trainers.trial_worlds import CANDIDATES, ORDER, World
from trainers.trials.deciding import decide
from trainers.trials.records import Decision

_ROWS = (12, 24, 40, 100, 300)
_WORLDS = 12  # of each size


@dataclass(frozen=True)
class _Ended:
    world: World
    decision: Decision
    cost: float

    def regret(self, key: str) -> float:
        """In points, against the best run of all."""
        return 100 * (max(self.world.truth.values()) - self.world.truth[key])


@pytest.fixture(scope="module")
def ended() -> list[_Ended]:
    found = []
    for rows in _ROWS:
        for seed in range(_WORLDS):
            world = World(seed, rows)
            tried, _ = world.trials()
            decision = decide(ORDER, tried, len(world.train))
            found.append(_Ended(world, decision, sum(one.seconds for one in tried) / world.in_full))
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_what_is_advised_loses_little_and_less_than_any_one_rule_would(ended: list[_Ended]) -> None:
    advised = _mean([one.regret(one.decision.advised) for one in ended])
    assert advised < 4.5
    assert advised < min(_mean([one.regret(key.key) for one in ended]) for key in CANDIDATES)


def test_taking_the_cheaper_one_of_what_is_alike_costs_next_to_nothing(ended: list[_Ended]) -> None:
    cheaper, best = (
        _mean([one.regret(key(one.decision)) for one in ended]) for key in (lambda d: d.advised, lambda d: d.best)
    )
    assert cheaper - best < 0.75
    assert 0.4 < _mean([float(len(one.decision.alike) > 1) for one in ended]) < 0.95


def test_trials_cost_less_than_three_tenths_of_everything_in_full(ended: list[_Ended]) -> None:
    assert max(one.cost for one in ended) <= 0.3


def test_promises_hold_the_truth_about_as_often_as_they_say(ended: list[_Ended]) -> None:
    held = [
        float(promise.low <= one.world.truth[promise.key] <= promise.high)
        for one in ended
        for promise in one.decision.promises
    ]
    assert _mean(held) > 0.9
    off = [promise.value - one.world.truth[promise.key] for one in ended for promise in one.decision.promises]
    assert abs(_mean(off)) < 0.05
