"""Measuring a prompt on dev rows in the background, with progress and a way to stop.

Owns one measurement's life and what must be said beside its score. Refuses to know projects and storage: whoever starts
it says what to do with the score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from assistant.answers import Answer, Asker
from assistant.background import Background
from prompts.errors import TunewrightError
from prompts.metrics import COMPANIONS, METRICS, Score
from prompts.versions import PromptVersion
from trainers.data import Example

FEW = 12  # below that, an interval spans half of all there is


@dataclass
class Measurement(Background):
    """A measurement as it goes on. `answers` are (example, answer, score in [0, 1]) once it is done.

    `others` are further figures of the same answers; `caution` is what makes the score worth less than it looks.
    """

    prompt_id: str
    metric: str
    total: int
    done: int = 0
    score: Score | None = None
    others: dict[str, Score] = field(default_factory=dict)
    caution: str = ""
    answers: list[tuple[Example, str, float]] = field(default_factory=list)

    def count(self, done: int) -> None:
        self.done = done
        self.tell(f"{done} of {self.total} rows answered")


def measure(prompt: PromptVersion, rows: Sequence[Example], metric: str, asker: Asker) -> Measurement:
    """Start measuring in a thread. What was answered before is not asked again."""
    measurement = Measurement(prompt_id=prompt.id, metric=metric, total=len(rows))

    def work() -> None:
        try:
            answers = asker.ask(prompt, [row.input for row in rows], measurement.tell, measurement.count)
        except TunewrightError as error:
            if not measurement.done:
                raise
            kept = (
                f"{measurement.done} of {measurement.total} answers are kept; measuring again asks for the rest only."
            )
            raise type(error)(f"{error} {kept}") from error
        _score(measurement, rows, answers, asker.limit)

    measurement.start(work, "Measuring", "The score")
    return measurement


def _score(measurement: Measurement, rows: Sequence[Example], answers: Sequence[Answer], limit: int) -> None:
    texts, expected = [answer.text for answer in answers], [row.output for row in rows]
    metric = METRICS[measurement.metric]
    scores = metric.rows(texts, expected)
    measurement.answers = list(zip(rows, texts, scores, strict=True))
    measurement.others = {
        name: METRICS[name].score(texts, expected) for name in companions(metric.name) if name != metric.name
    }
    measurement.caution = cautions(answers, limit)
    measurement.score = metric.score(texts, expected)


def companions(metric: str) -> tuple[str, ...]:
    """The metrics that look at the same answers from another side."""
    return next((names for names in COMPANIONS.values() if metric in names), ())


def cautions(answers: Sequence[Answer], limit: int) -> str:
    """What makes a score worth less than it looks, or nothing."""
    n = len(answers)
    empty, cut = sum(not answer.text.strip() for answer in answers), sum(answer.cut for answer in answers)
    said = []
    if n < FEW:
        said.append(f"{n} row{'s' * (n > 1)} tell very little: add data until there are {FEW} or more to measure on.")
    if empty:
        said.append(f"{empty} of {n} answers were empty; they count as wrong.")
    if cut * 2 > n:
        said.append(
            f"{cut} of {n} answers did not end within {limit} tokens: the model rambles. Hold the answers to what is "
            "allowed, or show solved examples."
        )
    return " ".join(said)


def rows_key(rows: Sequence[Example]) -> str:
    """A short hash of inputs and expected answers: scores on rows of another key are scores of something else."""
    digest = hashlib.sha256()
    for row in sorted((row.input, row.output) for row in rows):
        digest.update(repr(row).encode())
    return digest.hexdigest()[:12]
