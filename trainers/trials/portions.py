"""Which rows a try learns from, and which it is asked: nested portions, the same rows for all candidates of one.

Owns the order of the training rows, the steps of the ladder, and the folds of few rows. Refuses to know what a
candidate is. Test and arena rows never come here.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.data import Example
from trainers.trials.records import Try

_STEPS = (1 / 8, 1 / 4, 1 / 2, 1.0)
_LEAST = 12  # rows that the first step learns from, where there are as many: four steps of the optimizer an epoch
_FEW = 64  # training rows, below which a portion is tried on several folds
_ASKED = 48  # rows asked at the first step; they double with the portion, so that scoring stays small beside training
_MOST_ASKED = 96


@dataclass(frozen=True)
class Rows:
    """What a try learns from, and what it is asked afterwards: never the same row."""

    learn: tuple[Example, ...]
    asked: tuple[Example, ...]


def ladder(rows: int) -> tuple[float, ...]:
    """The portions of so many training rows, ascending, all of them last.

    The first holds at least a dozen rows: of fewer, nothing is learned that could be told from chance. Below 24
    training rows it is a half.
    """
    first = next((step for step in _STEPS if step * rows >= _LEAST), 0.5)
    return tuple(step for step in _STEPS if step >= min(first, 0.5))


def folds(rows: int, portion: float) -> int:
    """On how many parts of so few rows a portion is tried: together they ask every row. 1 where rows are enough."""
    if rows >= _FEW or not 0.5 <= portion < 1 or rows < 2:
        return 1
    return max(1, min(rows, round(1 / (1 - portion))))


def learned(rows: int, portion: float) -> int:
    """How many of so many training rows a portion is: at least one."""
    return max(1, min(rows, math.floor(rows * portion + 0.5)))


def asked_rows(train: int, dev: int, portion: float) -> int:
    """How many rows a try of this portion is asked."""
    beyond = train - learned(train, portion)
    return dev + beyond if train < _FEW else min(dev + beyond, _cap(portion, ladder(train)))


def rows_of(tried: Try, train: Sequence[Example], dev: Sequence[Example], seed: int) -> Rows:
    """The rows of a try, the same for every candidate with this portion and fold.

    Portions are nested: what a smaller one holds is in every larger one of fold 0. Asked are dev rows first, then
    training rows beyond the portion from the far end, so that a larger portion's rows were mostly asked at a smaller
    one as well. Of few rows all are asked that were not learned from; another fold begins elsewhere in the same order,
    and what it does not hold is asked.
    """
    order = in_order(train, seed)
    count = folds(len(order), tried.portion)
    start = tried.fold % count * len(order) // count
    turned = order[start:] + order[:start]
    size = learned(len(order), tried.portion)
    asked = [*in_order(dev, seed), *reversed(turned[size:])]
    return Rows(learn=tuple(turned[:size]), asked=tuple(asked[: asked_rows(len(order), len(dev), tried.portion)]))


def in_order(rows: Sequence[Example], seed: int) -> list[Example]:
    """Rows in seeded order: first one of each answer, then each answer as often as it is in the data.

    Where no answer occurs twice this is the seeded order alone.
    """
    drawn = random.Random(seed).sample(list(rows), len(rows))
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in drawn:
        groups[row.output].append(row)
    # An answer's k-th of n rows is due at (k + 1/2) / n: shares hold in every prefix. The first of each comes before.
    due = [
        (0 if k == 0 else 1, (k + 0.5) / len(group), n, row)
        for n, group in enumerate(groups.values())
        for k, row in enumerate(group)
    ]
    return [row for *_, row in sorted(due, key=lambda one: one[:3])]


def part_told(portion: float) -> str:
    """A portion in words."""
    if portion >= 1:
        return "all rows"
    parts = 1 / portion
    return f"1/{parts:.0f} of the rows" if abs(parts - round(parts)) < 1e-6 else f"{portion:.0%} of the rows"


def _cap(portion: float, steps: Sequence[float]) -> int:
    return min(_MOST_ASKED, _ASKED << sum(step < portion for step in steps))
