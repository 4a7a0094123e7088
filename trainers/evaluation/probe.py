"""What a probe is: it asks base and result the same things, and judges the two afterwards. Never imports torch.

Owns the protocol and what a probe may know of a run. Refuses to load models (`arm`) and to know the other probes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from prompts.spec import TaskSpec
from trainers.data import Example
from trainers.evaluation.records import Gate, Group, Part, Prediction
from trainers.plan import EvaluationPlan, TrainingPlan

if TYPE_CHECKING:
    from trainers.evaluation.arm import Arm

OnProgress = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """What is examined: a run's plan and rows, how it is to be examined, and what its training logged.

    `train` are the rows that were trained on. `metrics` are the lines of metrics.jsonl. `spec` is the person's task
    where the run knows it. `artefact` is None where the result is only a prompt. `paraphrases` are test inputs in other
    words by row number, where somebody wrote them.
    """

    plan: TrainingPlan
    how: EvaluationPlan
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    metrics: Sequence[dict[str, Any]] = ()
    spec: TaskSpec | None = None
    artefact: Path | None = None
    paraphrases: dict[int, str] | None = None

    def sample(self, rows: Sequence[T], most: int | None = None) -> list[T]:
        """At most `most` of the rows (default: the plan's number for a probe), seeded, in their order."""
        most = self.how.probe_rows if most is None else most
        if len(rows) <= most:
            return list(rows)
        chosen = sorted(random.Random(self.plan.data.seed).sample(range(len(rows)), most))
        return [rows[i] for i in chosen]


class Probe:
    """One side from which base and result are looked at.

    `about_weights` says that without trained weights there is nothing to ask: the two arms would be one model.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    group: ClassVar[Group]
    about_weights: ClassVar[bool] = True

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @classmethod
    def replies(cls, how: EvaluationPlan) -> int:
        """About how many short replies an arm gives, for the time that this takes."""
        return how.probe_rows

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        """What one arm says, as a list of plain JSON values in an order that does not depend on the arm.

        The answers are kept in the run, so that an examination that was cut off goes on. Called for the base first.
        `on_progress` gets the finished share in [0, 1].
        """
        return []

    def part(self, asked: str, gates: tuple[Gate, ...], **more: Any) -> Part:
        """What it found, under its own name; `more` are `Part`'s other fields."""
        return Part(probe=self.name, title=self.title, group=self.group, asked=asked, gates=gates, **more)

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        """What the two lists say. `predictions` are both arms' answers to all test rows."""
        raise NotImplementedError
