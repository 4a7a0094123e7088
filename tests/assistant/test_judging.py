"""A judge over a real endpoint's protocol and scripted ones: grades, failures, and agreement with the person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from assistant.judging import judge, row_key
from prompts.chat_model import Message
from prompts.errors import DataError, EngineError
from prompts.spec import TaskSpec
from tests.assistant.test_workshop import begin, finish, knowing, opened, pipeline, room  # noqa: F401  the fixtures
from tests.fakes import MemoryShelf, ScriptedModel
from trainers.data import Example

ROWS = [(Example(row=n, input=f"mail {n}", output="Thanks."), "Thanks!" if n % 2 else "Go away.") for n in range(10)]


def strict(chat: Sequence[Message]) -> str:
    return "Polite.\nGrade: 5" if "Thanks!" in chat[-1].content else "Rude.\nGrade: 1"


def test_grades_become_a_score_and_are_not_asked_for_twice() -> None:
    model, shelf = ScriptedModel(answer=strict), MemoryShelf()
    job = judge(TaskSpec(), "v1", ROWS, model, shelf)
    finish(job)
    assert job.score is not None and (job.score.value, job.score.n, job.ungraded) == (0.5, 10, 0)
    again = judge(TaskSpec(), "v1", ROWS, model, shelf)
    finish(again)
    assert again.score == job.score and len(model.heard) == 10
    ratings = {row_key("v1", row.input, text): 5 if "!" in text else 2 for row, text in ROWS}
    found = job.agreement(ratings)
    assert found.n == 10 and found.kappa is not None and found.kappa > 0.8
    assert job.agreement({}).kappa is None


def test_what_is_no_grade_counts_as_nothing_and_is_told() -> None:
    job = judge(TaskSpec(), "v1", ROWS, ScriptedModel(pieces=["no idea"]), MemoryShelf())
    finish(job)
    assert job.score is not None and (job.score.value, job.ungraded) == (0.0, 10)


def test_an_endpoint_that_fails_is_told() -> None:
    model = ScriptedModel(fails_at=0, error=EngineError("It does not answer."))
    job = judge(TaskSpec(), "v1", ROWS, model, MemoryShelf())
    finish(job)
    assert job.error == "It does not answer." and job.score is None


def test_without_an_endpoint_nobody_judges(pipeline, room, begin) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    project = begin(240)
    with pytest.raises(EngineError, match="No language model is there"):
        pipeline.start_judging(project.id)
    assert pipeline.answered(project) == []
    room.model = ScriptedModel(answer=knowing(pipeline, project))
    finish(pipeline.start_measuring(project.id))
    scores = [score for _, _, score in pipeline.answered(project)]
    assert scores == sorted(scores) and len(scores) == len(pipeline.splits(project).dev)


def test_a_rating_is_kept_and_can_be_changed(pipeline, begin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    project = begin(30)
    pipeline.store.rate(project.id, "an answer", 2)
    pipeline.store.rate(project.id, "an answer", 4)
    assert pipeline.store.ratings(project.id) == {"an answer": 4}
    with pytest.raises(DataError):  # nothing was measured, whoever would judge
        pipeline.judge_model = lambda project: ScriptedModel()
        pipeline.start_judging(project.id)
