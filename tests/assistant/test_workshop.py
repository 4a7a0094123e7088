"""The workshop through the pipeline: measured, compared, read, improved, and what goes wrong with each."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assistant.pipeline import Pipeline
from assistant.project import Project
from prompts.chat_model import Message
from prompts.critique import words_of
from prompts.errors import DataError, EngineError, PromptError
from prompts.versions import Demonstration
from tests.assistant.journey import begin_project, measured, open_pipeline
from tests.fakes import ScriptedModel, ScriptedRoom
from tests.trainers.checked import made_up_tickets
from tests.trainers.runs import wait_for
from trainers.paths import Paths


@pytest.fixture
def opened(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, ScriptedRoom]:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)


@pytest.fixture
def begin(opened: tuple[Pipeline, ScriptedRoom], tiny_model: Path, tmp_path: Path) -> Callable[[int], Project]:
    """A project with so many tickets."""

    def make(rows: int) -> Project:
        path = tmp_path / "tickets.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("ticket", "team"), *made_up_tickets(rows)])
        pipeline, _ = opened
        return pipeline.add_file(begin_project(pipeline, tiny_model).id, path)

    return make


@pytest.fixture
def pipeline(opened: tuple[Pipeline, ScriptedRoom]) -> Pipeline:
    return opened[0]


@pytest.fixture
def room(opened: tuple[Pipeline, ScriptedRoom]) -> ScriptedRoom:
    return opened[1]


def knowing(pipeline: Pipeline, project: Project, better: str = "carefully") -> Callable[[Sequence[Message]], str]:
    """Knows the right answer where the system prompt says `better`; else it says the first label."""
    right = {row.input: row.output for row in pipeline.examples(project)}
    first = min(set(right.values()))
    return lambda chat: right[chat[-1].content] if better in chat[0].content else first


def finish(job: object) -> None:
    wait_for(lambda: not job.running, "end of the job", 60)  # type: ignore[attr-defined]


# Measuring and comparing.


def test_two_versions_are_compared_on_the_same_rows_the_worst_change_first(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(240)
    assert project.prompt is not None
    room.model = ScriptedModel(answer=knowing(pipeline, project))
    finish(pipeline.start_measuring(project.id))
    first = project.prompt.id
    project = pipeline.save_prompt(project.id, system="Think carefully.", reason="to try it")
    assert project.prompt is not None
    assert pipeline.compare_prompts(project, first, project.prompt.id) is None, "one is not measured yet"
    finish(pipeline.start_measuring(project.id))
    found = pipeline.compare_prompts(project, first, project.prompt.id)
    assert found is not None and found.comparison.verdict == "better" and found.comparison.told.startswith("better: +")
    worse = pipeline.compare_prompts(project, project.prompt.id, first)
    assert worse is not None and worse.comparison.verdict == "worse"
    changes = [row.second_score - row.first_score for row in worse.changed]
    assert changes == sorted(changes) and changes[0] == -1.0
    dev = pipeline.splits(project).dev
    assert {row.row for row in worse.changed} <= {row.row for row in dev}
    asked = len(room.model.heard)
    finish(pipeline.start_measuring(project.id))
    finish(pipeline.start_measuring(project.id, first))
    assert len(room.model.heard) == asked == 2 * len(dev), "nothing is generated twice"
    assert len(pipeline.measured(project)) == 2
    stored = {s.version.id: s for s in pipeline.prompts(project.id)}
    assert stored[first].score is not None and set(stored[first].others) == {"macro-F1"}


def test_scores_of_other_rows_are_not_held_against_each_other(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(240)
    room.model = ScriptedModel(answer=knowing(pipeline, project))
    finish(pipeline.start_measuring(project.id))
    assert len(pipeline.measured(project)) == 1
    dropped = pipeline.splits(project).dev[:2]
    project = pipeline.edit(project.id, "drop_rows", "two rows less", dropped)
    assert pipeline.measured(project) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [(lambda chat: "", "answers were empty"), (lambda chat: "delivery", "")],
)
def test_a_model_that_says_nothing_is_told(
    pipeline: Pipeline,
    room: ScriptedRoom,
    begin: Callable[[int], Project],
    answer: Callable[[Sequence[Message]], str],
    words: str,
) -> None:
    project = begin(240)
    room.model = ScriptedModel(answer=answer)
    job = pipeline.start_measuring(project.id)
    finish(job)
    assert job.score is not None and (words in job.caution if words else not job.caution)


def test_three_dev_rows_give_a_score_that_says_how_little_it_is(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(30)
    assert 0 < len(pipeline.splits(project).dev) < 12
    room.model = ScriptedModel(answer=knowing(pipeline, project))
    job = pipeline.start_measuring(project.id)
    finish(job)
    assert job.score is not None and "tell very little" in job.caution
    with pytest.raises(DataError, match="too few to tell prompts apart"):
        pipeline.start_improving(project.id)


def test_an_engine_that_dies_halfway_says_what_is_kept(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(240)
    answer = knowing(pipeline, project)
    dying = ScriptedModel(pace=0.005)

    def until_it_dies(chat: Sequence[Message]) -> str:
        if len(dying.heard) > 6:
            dying.fails_at, dying.error = 0, EngineError("The server is gone.")
        return answer(chat)

    dying.answer, room.model = until_it_dies, dying
    job = pipeline.start_measuring(project.id)
    finish(job)
    assert "The server is gone." in job.error
    room.model = ScriptedModel(answer=answer)
    finish(pipeline.start_measuring(project.id))
    assert pipeline.score_of(project) is not None


def test_without_data_or_prompt_it_says_what_is_missing(pipeline: Pipeline, tiny_model: Path) -> None:
    project = begin_project(pipeline, tiny_model)
    for act in (pipeline.start_measuring, pipeline.start_improving):
        with pytest.raises(DataError, match="There is no data yet"):
            act(project.id)
    with pytest.raises(PromptError, match="no prompt version 0123"):
        pipeline.version(project.id, "0123")


# Reading and deciding.


def test_examples_that_stand_in_the_test_rows_are_found_without_showing_any(
    pipeline: Pipeline, begin: Callable[[int], Project]
) -> None:
    project = begin(240)
    leaked = pipeline.splits(project).test[0]
    shown = (Demonstration(input=f"  {leaked.input.upper()}", output=leaked.output),)
    project = pipeline.save_prompt(project.id, demonstrations=shown, reason="leaky")
    remark = pipeline.remarks(project)[0]
    assert remark.check == "leaks" and project.prompt is not None and remark.about is not None
    assert words_of(project.prompt, remark.about) == shown[0].input
    project = pipeline.suggest(project.id, 0)
    assert project.proposal is not None and project.proposal.demonstrations == ()
    with pytest.raises(PromptError, match="suggests nothing"):
        pipeline.suggest(project.id, 99)


def test_a_proposal_is_accepted_edited_or_dismissed(pipeline: Pipeline, begin: Callable[[int], Project]) -> None:
    project = begin(60)
    assert project.prompt is not None
    first = project.prompt
    proposal = first.revised(reason="shorter", author="tunewright", system="Name the team.")
    pipeline.propose(project.id, proposal)
    assert pipeline.project(project.id).prompt == first
    assert pipeline.dismiss(project.id).proposal is None
    pipeline.propose(project.id, proposal)
    edited = pipeline.accept(project.id, system="Name the one team.", template=proposal.template)
    assert edited.prompt is not None and edited.proposal is None
    assert (edited.prompt.parent, edited.prompt.author, edited.prompt.reason) == (proposal.id, "you", "shorter, edited")
    assert {s.version.id for s in pipeline.prompts(project.id)} >= {first.id, proposal.id, edited.prompt.id}
    with pytest.raises(PromptError, match="leave the prompt as it is"):
        pipeline.propose(project.id, edited.prompt)
    with pytest.raises(PromptError, match="Nothing is proposed"):
        pipeline.accept(project.id)


def test_both_are_measured_one_after_the_other(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(240)
    assert project.prompt is not None
    room.model = ScriptedModel(answer=knowing(pipeline, project))
    proposal = project.prompt.revised(reason="careful", author="tunewright", system="Look carefully.")
    pipeline.propose(project.id, proposal)
    pipeline.measure_both(project.id)
    wait_for(lambda: len(pipeline.measured(project)) == 2, "both scores", 60)
    found = pipeline.compare_prompts(project, project.prompt.id, proposal.id)
    assert found is not None and found.comparison.verdict == "better"


# Improving.


def test_what_the_search_proves_is_proposed_and_the_test_rows_stay_sealed(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(600)
    answer = knowing(pipeline, project)
    right = {row.input: row.output for row in pipeline.examples(project)}
    # Shown examples help this model.
    room.model = ScriptedModel(answer=lambda chat: right[chat[-1].content] if len(chat) > 4 else answer(chat))
    job = pipeline.start_improving(project.id, minutes=0.4)
    finish(job)
    assert job.outcome is not None and job.outcome.better, job.outcome
    after = pipeline.project(project.id)
    assert after.proposal is not None and after.proposal.id == job.outcome.kept.id
    assert after.prompt == project.prompt and project.prompt is not None, "it is only proposed"
    assert after.proposal.parent == project.prompt.id, "a way back is there"
    assert job.outcome.kept.demonstrations
    splits = pipeline.splits(project)
    sealed = {row.input for row in (*splits.test, *splits.arena)}
    said = {turn.content for chat in room.model.heard for turn in chat}
    assert not sealed & said
    shown = {d.input for d in job.outcome.kept.demonstrations}
    assert shown <= {row.input for row in splits.train}


def test_a_search_that_finds_nothing_better_proposes_nothing(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project]
) -> None:
    project = begin(300)
    room.model = ScriptedModel(answer=lambda chat: "delivery")
    job = pipeline.start_improving(project.id, minutes=0.05)
    finish(job)
    assert job.outcome is not None and not job.outcome.better and job.outcome.kept == project.prompt
    assert pipeline.project(project.id).proposal is None


@pytest.mark.parametrize("broken", [False, True])
def test_a_search_that_is_stopped_or_breaks_off_keeps_the_best_so_far(
    pipeline: Pipeline, room: ScriptedRoom, begin: Callable[[int], Project], broken: bool
) -> None:
    project = begin(300)
    answer = knowing(pipeline, project, "label")
    room.model = ScriptedModel(answer=answer, pace=0.01)
    job = pipeline.start_improving(project.id, minutes=5)
    wait_for(lambda: job.best is not None, "a first candidate", 30)
    if broken:
        room.model.error, room.model.fails_at = EngineError("The server is gone."), 0
    else:
        job.stop()
    finish(job)
    assert job.outcome is not None and job.outcome.kept == project.prompt and job.outcome.table
    assert ("gone" in job.outcome.sentence) == broken
