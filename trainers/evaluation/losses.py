"""What the losses of a training say: whether it learned enough, too much, or about right. Never imports torch.

Owns reading `metrics.jsonl` as curves. Refuses to know scores, and to advise.

A loss is a mean over the tokens of the answers, in nats. With the usual plan there are three evaluations of the dev
rows, one an epoch: what is said must hold with so few. The weights that are kept are those of the lowest dev loss.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["no losses", "no dev rows", "one evaluation", "overfit", "unsteady", "falling", "flat", "good"]

# A dev loss moves by some per cent from one evaluation to the next by itself; and where it is small, as with labels
# that are nearly all right, a rise by half is one row of which it is less sure.
_RISE, _LEAST_RISE = 0.20, 0.02
_STEADY = 1.05  # a train loss that grows by less does not grow
# In the last third of the steps. A training that has come to rest falls by less, also with a rate that falls to 0.
_FALLING = 0.25
_FLAT, _LITTLE = 0.10, 0.1  # learned nothing: less than a share of the loss is gone, and the loss was no small one


@dataclass(frozen=True)
class Curves:
    """Train and dev losses by step. `epochs` has the epochs that were through at each evaluation, where logged."""

    train: dict[int, float]
    dev: dict[int, float]
    epochs: dict[int, float]

    @property
    def lowest(self) -> int:
        """The step of the lowest dev loss, whose weights are kept."""
        return min(self.dev, key=lambda step: self.dev[step])

    @property
    def last(self) -> int:
        """The last step that was logged."""
        return max((*self.train, *self.dev))

    def train_at(self, step: int) -> float:
        """The train loss about a step: a single step's is of one batch. The mean of a tenth of all, 5 at least."""
        until = [loss for at, loss in self.train.items() if at <= step] or list(self.train.values())
        return statistics.fmean(until[-self._some :])

    @property
    def first_train(self) -> float:
        """The train loss at the beginning."""
        return statistics.fmean(list(self.train.values())[: self._some])

    @property
    def _some(self) -> int:
        return max(5, len(self.train) // 10)

    @property
    def last_dev(self) -> float:
        """The dev loss at the end: where there are several after the lowest, the median of the last three."""
        after = [loss for step, loss in self.dev.items() if step > self.lowest]
        return statistics.median(after[-3:]) if after else self.dev[self.lowest]

    @property
    def shape(self) -> Shape:
        """What the curves look like."""
        if not self.train:
            return "no losses"
        if not self.dev:
            return "no dev rows"
        if len(self.dev) == 1:
            return "one evaluation"
        if self._rises:
            return "overfit" if self.train_at(self.last) <= _STEADY * self.train_at(self.lowest) else "unsteady"
        if self._learned_nothing:
            return "flat"
        return "falling" if self._still_falls else "good"

    @property
    def _rises(self) -> bool:
        lowest = self.dev[self.lowest]
        return self.last_dev - lowest >= max(_LEAST_RISE, _RISE * lowest)

    @property
    def _learned_nothing(self) -> bool:
        began, ended, dev = self.first_train, self.train_at(self.last), list(self.dev.values())
        return began > _LITTLE and ended > (1 - _FLAT) * began and dev[-1] > (1 - _FLAT) * dev[0]

    @property
    def _still_falls(self) -> bool:
        before = [loss for step, loss in self.dev.items() if step <= 0.7 * self.last]  # 2 of 3 epochs are 0.67
        return bool(before) and list(self.dev.values())[-1] <= (1 - _FALLING) * min(before)


def read_curves(metrics: Sequence[dict[str, Any]]) -> Curves:
    """The curves of a run's metrics lines, in the order of their steps. A resumed run logs a step twice: the last
    counts."""
    lines = sorted(metrics, key=lambda line: line["step"])
    return Curves(
        train={line["step"]: line["loss"] for line in lines if "loss" in line},
        dev={line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line},
        epochs={line["step"]: line["epoch"] for line in lines if "eval_loss" in line and line.get("epoch")},
    )
