"""What an evaluation says: scores with their n and interval, gates with a level each, cases to read, and the verdict.

Owns these typed records, which stand in a run's evaluation.json. Refuses to work them out and to draw them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from prompts.metrics import Comparison, Score

Level = Literal["passed", "warning", "failed", "unknown"]
Group = Literal["quality", "overfitting", "transfer", "bias", "demands"]
# "share" is in [0, 1] and shown in per cent; "number" is anything else, such as a perplexity, where less is better if
# the figure says so.
Unit = Literal["share", "number"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Remedy(_Record):
    """What to do about a gate, as changes of the run's plan by dotted keys ("training.epochs"); `remedies.apply`."""

    title: str
    why: str
    changes: dict[str, Any] = {}


class Gate(_Record):
    """One question about the result and how it was answered: `told` is a sentence or two with the figures.

    "unknown" is for what could not be measured, and `told` says why. A gate that did not pass has its remedies.
    """

    name: str
    level: Level
    told: str
    remedies: tuple[Remedy, ...] = ()


class Figure(_Record):
    """A measured figure of both arms on the same items; None where one of them has none. `change` is tuned - base."""

    name: str
    base: Score | None = None
    tuned: Score | None = None
    change: Comparison | None = None
    unit: Unit = "share"
    less_is_better: bool = False
    note: str = ""


class Case(_Record):
    """One item to read: what was asked, what should have come, and what both arms said."""

    title: str
    input: str
    expected: str = ""
    base: str = ""
    tuned: str = ""
    note: str = ""


class Part(_Record):
    """What one probe found. `asked` says in a sentence what was done, `limits` what it cannot show."""

    probe: str
    title: str
    group: Group
    asked: str
    gates: tuple[Gate, ...] = ()
    figures: tuple[Figure, ...] = ()
    cases: tuple[Case, ...] = ()
    limits: str = ""


class ArmScore(_Record):
    """The task's metric for one arm on the test rows, and the tuned model against it (None for the tuned one itself).

    `failed` counts rows that crashed or ran out of time; they are in the score, as 0.
    """

    name: str
    prompt_id: str
    score: Score
    failed: int = 0
    change: Comparison | None = None


class LabelScore(_Record):
    """How one expected label, or one field of a JSON answer, was answered by each arm: mean score over n rows."""

    label: str
    n: int
    base: float
    tuned: float


class Confusion(_Record):
    """Counts of answers by expected label: `counts[i][j]` rows of `labels[i]` were answered as `columns[j]`.

    The last column, "(other)", is for what is no label.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Bin(_Record):
    """Rows whose confidence lies in one range: how many, their mean confidence in [0, 1], and how many were right."""

    n: int
    confidence: float
    right: int


class Calibration(_Record):
    """Whether confidence is accuracy, over scored labels: expected calibration error over equal-width bins (Guo et al.
    2017, https://arxiv.org/abs/1706.04599), and the Brier score of the chosen label's probability."""

    arm: str
    n: int
    error: float
    brier: float
    bins: tuple[Bin, ...]


class Verdict(_Record):
    """What a careful engineer would sign: a headline, why, and the level of the worst that was found."""

    level: Level
    headline: str
    reasons: tuple[str, ...] = ()


class EvaluationReport(_Record):
    """Base against tuned on the same held-out rows, greedy, with the same prompt; and what the probes found."""

    metric: str
    base: Score
    tuned: Score
    comparison: Comparison
    prompt_id: str
    base_model: str
    seed: int
    labels: tuple[LabelScore, ...] = ()
    train_rows: int
    train_tokens: int
    train_seconds: float
    peak_memory_gb: float
    arms: tuple[ArmScore, ...] = ()
    fields: tuple[LabelScore, ...] = ()
    confusion: tuple[Confusion, ...] = ()  # the base's and the tuned model's
    calibration: tuple[Calibration, ...] = ()
    gates: tuple[Gate, ...] = ()  # of the task's quality itself
    parts: tuple[Part, ...] = ()
    verdict: Verdict | None = None  # None in reports from before there was one
    evaluation_seconds: float = 0.0

    @property
    def every_gate(self) -> tuple[tuple[Group, Gate], ...]:
        """The gates of the task's quality and of all probes, each with the group it belongs to."""
        of_parts = ((part.group, gate) for part in self.parts for gate in part.gates)
        return (*(("quality", gate) for gate in self.gates), *of_parts)


class Prediction(_Record):
    """Both arms' answers to one test row, and their scores in [0, 1]; why there is none, where one failed.

    `others` are the answers of further arms, by their names.
    """

    row: int
    input: str
    expected: str
    base: str
    tuned: str
    base_score: float
    tuned_score: float
    base_failed: str = ""
    tuned_failed: str = ""
    others: dict[str, str] = {}
