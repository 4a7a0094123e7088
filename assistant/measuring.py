"""Measuring a prompt on dev rows in the background, with progress and a way to stop.

Owns one measurement's life. Refuses to know projects and storage: whoever starts it says what to do with the score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assistant.background import Background
from prompts.chat_model import ChatModel, Reply, Sampling, complete_all
from prompts.metrics import METRICS, Score, summarize
from prompts.versions import PromptVersion
from trainers.data import Example


@dataclass
class Measurement(Background):
    """A measurement as it goes on. `answers` are (example, answer, score in [0, 1]) once it is done."""

    prompt_id: str
    metric: str
    total: int
    done: int = 0
    score: Score | None = None
    answers: list[tuple[Example, str, float]] = field(default_factory=list)

    def count(self, done: int) -> None:
        self.done = done
        self.tell(f"{done} of {self.total} rows answered")


def measure(
    prompt: PromptVersion,
    rows: Sequence[Example],
    metric: str,
    sampling: Sampling,
    connect: Callable[[Callable[[str], None]], ChatModel],
) -> Measurement:
    """Start measuring in a thread. `connect` may block while an engine starts; it gets a function to report with."""
    measurement = Measurement(prompt_id=prompt.id, metric=metric, total=len(rows))

    def work() -> None:
        model = connect(measurement.tell)
        asked = [prompt.messages(row.input) for row in rows]
        replies = asyncio.run(complete_all(model, asked, sampling, on_done=measurement.count))
        _score(measurement, rows, replies)

    measurement.start(work, "Measuring", "The score")
    return measurement


def _score(measurement: Measurement, rows: Sequence[Example], replies: Sequence[Reply]) -> None:
    metric = METRICS[measurement.metric]
    scored = [(row, reply.text, metric(reply.text, row.output)) for row, reply in zip(rows, replies, strict=True)]
    measurement.answers = scored
    measurement.score = summarize([score for _, _, score in scored])
