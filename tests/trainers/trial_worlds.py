"""Invented tasks whose true curves are known, to try the logic of trials on without a model.

A world's curves are no power laws: errors fall from a start to a floor as 1 / (1 + (rows / N0) ** beta), each run a
few points off; rows are right together, as hard ones are hard for all. How steep they are is after what was measured
here: a LoRA of the embedded model that names 8 intents is right on 19, 65 and 96 % after 12, 24 and 128 rows (the
first two by benchmarks/advice.py, the last by benchmarks/journey.py), while soft prompts have hardly begun
(benchmarks/strategies.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from prompts.versions import PromptVersion
from trainers.data import Example, Mapping
from trainers.plan import DataPlan, Optimization, TrainingPlan
from trainers.strategies import AnyStrategy, FewShotStrategy, LoraStrategy, PromptStrategy, PromptTuningStrategy
from trainers.trials.halving import Next, next_tries
from trainers.trials.portions import rows_of
from trainers.trials.records import Candidate, TrialOrder, Tried, Try

_ROW, _FIXED, _ASKED = 0.4, 2.0, 0.1  # seconds: a row trained on, a try, a row asked
TEST_ROWS = 100


def candidate(
    key: str, strategy: AnyStrategy, price: float, *, epochs: float = 3.0, wordings: Sequence[PromptVersion] = ()
) -> Candidate:
    plan = TrainingPlan(
        data=DataPlan(path=Path("x.csv"), columns=Mapping(input="a", output="b")),
        strategy=strategy,
        training=Optimization(epochs=epochs),
    )
    return Candidate(key=key, title=key.replace("_", " "), plan=plan, price=price, wordings=tuple(wordings))


CANDIDATES = (
    candidate("prompt", PromptStrategy(), 100),
    candidate("wordings", PromptStrategy(), 100.1, wordings=(PromptVersion(), PromptVersion(system="Say it."))),
    candidate("few_shot", FewShotStrategy(), 111),
    candidate("lora_8", LoraStrategy(r=8), 308),
    candidate("lora_32", LoraStrategy(r=32), 308.1),
    candidate("prompt_tuning", PromptTuningStrategy(), 105, epochs=10.0),
)
ORDER = TrialOrder(candidates=CANDIDATES, budget_minutes=60)


def examples(count: int, labels: int, first: int = 1, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    return [Example(row=first + n, input=f"text {n}", output=f"label {rng.randrange(labels)}") for n in range(count)]


def outcome(tried: Try, learned: int, scores: dict[int, float], known: Sequence[Candidate] = CANDIDATES) -> Tried:
    """What a try costs in these worlds, with its scores."""
    of = next(one for one in known if one.key == tried.key)
    training = of.plan.strategy.rows_seen(learned, of.plan.training.epochs) * _ROW
    asking = _ASKED * len(scores) * (3 if of.wordings else 1)
    return Tried(
        tried=tried,
        rows=learned,
        scores=scores,
        seconds=training + _FIXED + asking,
        train_seconds=training,
        score_seconds=asking,
    )


def scored(key: str, portion: float, scores: Sequence[float], *, learned: int = 10, fold: int = 0) -> Tried:
    return outcome(Try(key=key, portion=portion, fold=fold), learned, dict(enumerate(scores)))


def hits(share: float, count: int, seed: int = 0) -> list[float]:
    """So many hits, on rows that are mixed."""
    found = [1.0] * round(share * count) + [0.0] * (count - round(share * count))
    random.Random(seed).shuffle(found)
    return found


class World:
    """A task of `rows` rows, with the true score of every candidate in `truth`."""

    def __init__(self, seed: int, rows: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        train, dev = int(0.6 * rows), max(1, int(0.1 * rows))
        labels = int(rng.integers(2, max(3, min(20, rows // 4))))
        self.train, self.dev = examples(train, labels), examples(dev, labels, first=train + 1)
        self.hard, self.together = rng.standard_normal(train + dev + 1), rng.uniform(0.3, 0.7)
        alone = rng.uniform(0.02, 0.7)
        self.untrained = {
            "prompt": alone,
            "wordings": alone + rng.uniform(-0.02, 0.3) * (1 - alone),
            "few_shot": float(np.clip(alone + rng.normal(0.1, 0.15) * (1 - alone), 0.01, 0.98)),
        }
        floor = rng.uniform(0, 0.25)
        self.start = min(1 - floor, max(0.02, alone + rng.normal(-0.05, 0.1)))
        self.half, self.beta = math.exp(rng.uniform(math.log(10), math.log(80))), rng.uniform(1.0, 3.0)
        self.slower = {"lora_8": 1.0, "lora_32": rng.uniform(0.8, 1.1), "prompt_tuning": rng.uniform(2, 8)}
        self.floors = {
            "lora_8": floor,
            "lora_32": max(0.0, floor + rng.normal(0, 0.02)),
            "prompt_tuning": floor + rng.uniform(0, 0.1),
        }
        self.truth = {one.key: self.score(one.key, train, "in full") for one in CANDIDATES}

    def score(self, key: str, rows: int, run: str) -> float:
        """The true score of a run that learned from so many rows."""
        if key in self.untrained:
            return self.untrained[key]
        floor = self.floors[key]
        error = floor + max(0.0, 1 - self.start - floor) / (1 + (rows / self.half / self.slower[key]) ** self.beta)
        return min(0.99, max(0.01, 1 - error + random.Random(f"{self.seed}/{key}/{rows}/{run}").gauss(0, 0.03)))

    def carry_out(self, tried: Try) -> Tried:
        """Hits and misses on the rows that a try is asked; what a candidate misses it mostly misses again."""
        rows = rows_of(tried, self.train, self.dev, ORDER.seed)
        level = norm.ppf(self.score(tried.key, len(rows.learn), f"{tried.portion}/{tried.fold}"))
        scores = {}
        for row in rows.asked:
            own = random.Random(f"{self.seed}/{tried.key}/{row.row}").gauss(0, 0.8)
            own += random.Random(f"{self.seed}/{tried}/{row.row}").gauss(0, 0.6)
            draw = math.sqrt(self.together) * self.hard[row.row] + math.sqrt(1 - self.together) * own
            scores[row.row] = float(draw < level)
        return outcome(tried, len(rows.learn), scores)

    def trials(self, seconds: float = 3600.0) -> tuple[list[Tried], Next]:
        """All tries, one after the other, and how they ended."""
        tried: list[Tried] = []
        while True:
            left = seconds - sum(one.seconds for one in tried)
            found = next_tries(ORDER, tried, self.train, left, len(self.dev))
            if not found.tries:
                return tried, found
            tried += [self.carry_out(one) for one in found.tries]

    @property
    def in_full(self) -> float:
        """The seconds of all candidates on all rows, with the test rows asked."""
        asked = dict.fromkeys(range(TEST_ROWS), 0.0)
        return sum(outcome(Try(key=one.key, portion=1), len(self.train), asked).seconds for one in CANDIDATES)
