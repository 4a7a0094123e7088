"""Having a configured endpoint grade answers, in the background, and holding its grades against the person's.

Owns one judging's life. Refuses to know projects and storage. Grades are kept like answers: none is asked for twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assistant.answers import Answer, Shelf
from assistant.background import Background
from prompts.chat_model import ChatModel, Reply, Sampling, complete_all
from prompts.metrics import Score, summarize
from prompts.metrics.judge import Agreement, agreement, judge_messages, read_grade
from prompts.spec import TaskSpec
from trainers.data import Example

_SAMPLING = Sampling(max_tokens=200)
_AT_ONCE = 8


@dataclass
class Judging(Background):
    """A judging as it goes on. `grades` are 1 to 5 by the key of the row; a row without a readable grade has none."""

    prompt_id: str
    judge: str
    total: int
    done: int = 0
    grades: dict[str, int] = field(default_factory=dict)
    score: Score | None = None
    ungraded: int = 0

    def agreement(self, ratings: Mapping[str, int]) -> Agreement:
        """How far these grades agree with the person's ratings of the same answers."""
        both = [key for key in self.grades if key in ratings]
        return agreement([self.grades[key] for key in both], [ratings[key] for key in both])


def judge(
    spec: TaskSpec, prompt_id: str, answers: Sequence[tuple[Example, str]], model: ChatModel, shelf: Shelf
) -> Judging:
    """Start grading in a thread; `score` is the mean grade on a scale from 0 to 1. An unreadable grade counts as 0."""
    job = Judging(prompt_id=prompt_id, judge=model.name, total=len(answers))
    place = f"judge {model.name}"

    def work() -> None:
        known = shelf.answers(place)
        keys = [row_key(prompt_id, row.input, answer) for row, answer in answers]
        missing = [index for index, key in enumerate(keys) if key not in known]
        job.done = len(answers) - len(missing)

        def keep(index: int, reply: Reply) -> None:
            key = keys[missing[index]]
            known[key] = Answer(text=reply.text)
            shelf.keep_answer(place, key, known[key])
            job.done += 1
            job.tell(f"{job.done} of {job.total} answers graded")

        asked = [judge_messages(spec, row.input, row.output, text) for row, text in (answers[i] for i in missing)]
        asyncio.run(complete_all(model, asked, _SAMPLING, at_once=_AT_ONCE, on_reply=keep))
        grades = {key: read_grade(known[key].text) for key in keys}
        job.grades = {key: grade for key, grade in grades.items() if grade}
        job.ungraded = len(answers) - sum(key in job.grades for key in keys)
        job.score = summarize([(job.grades[key] - 1) / 4 if key in job.grades else 0.0 for key in keys])

    job.start(work, "Judging", "The grades")
    return job


def row_key(prompt_id: str, input: str, answer: str) -> str:
    """The key of one answer of a version: another answer to the same input has grades of its own."""
    return hashlib.sha256(repr((prompt_id, input, answer)).encode()).hexdigest()[:24]
