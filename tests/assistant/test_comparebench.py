"""Who can be compared, files and blind rounds through scripted models, and what the votes then say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assistant.comparebench import BASE, FEW_SHOT, PROMPT, REMOTE, Contender
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.settings import ChatModelSettings, Settings
from prompts.chat_model import Message
from prompts.errors import DataError, RunError
from tests.assistant.journey import Finished, begin_project, finished, open_pipeline, pretend_run
from tests.fakes import ScriptedModel, ScriptedRoom
from tests.trainers.runs import wait_for, write_tickets
from trainers.status import RunStatus


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Finished:
    return finished(tmp_path_factory.getbasetemp(), tiny_model)


@pytest.fixture
def pipeline(done: Finished, tmp_path: Path) -> Pipeline:
    return open_pipeline(done.copy(tmp_path).paths)[0]


@pytest.fixture
def project(pipeline: Pipeline, done: Finished) -> Project:
    return pipeline.project(done.id)


def keys(contenders: list[Contender]) -> list[str]:
    return [one.key for one in contenders]


# Who


def test_base_and_tuned_are_compared_with_the_runs_own_prompt(pipeline: Pipeline, done: Finished) -> None:
    trained_with = pipeline.project(done.id).prompt
    project = pipeline.save_prompt(done.id, system="A later idea.", template="{{ input }}", reason="edited")
    base, tuned = pipeline.chosen(project)
    assert (base.title, tuned.title) == ("Base", "Tuned")
    assert base.prompt == tuned.prompt == trained_with != project.prompt
    assert base.served and (base.served.name, base.served.artefact) == ("tiny", None)
    assert tuned.served and tuned.served.name == done.run_id and tuned.served.artefact
    assert (tuned.served.artefact / "adapter_model.safetensors").is_file()
    arms = pipeline.arms(project)
    assert [arm.title for arm in arms] == ["Base", "Tuned"]
    assert [arm.digest for arm in arms] == ["", done.run_id] and arms[0].key != arms[1].key
    assert isinstance(pipeline.engines, ScriptedRoom)
    assert pipeline.engines.connected[0] == (base.served, tuned.served)
    identity = pipeline.identity(tuned)
    assert identity and identity.parent == "tiny" and pipeline.identity(base)


def test_everything_there_can_be_compared_and_the_choice_is_kept(pipeline: Pipeline, done: Finished) -> None:
    project = pipeline.save_prompt(done.id, system="A later idea.", template="{{ input }}", reason="edited")
    assert keys(pipeline.contenders(project)) == [BASE, PROMPT, FEW_SHOT, done.run_id]
    chosen = pipeline.choose_arms(done.id, [FEW_SHOT, done.run_id, PROMPT])
    assert keys(pipeline.chosen(chosen)) == [FEW_SHOT, done.run_id, PROMPT]
    assert len({arm.key for arm in pipeline.arms(chosen)}) == 3
    again = open_pipeline(pipeline.settings.paths)[0]
    assert keys(again.chosen(again.project(done.id))) == [FEW_SHOT, done.run_id, PROMPT]


@pytest.mark.parametrize(
    ("picked", "words"),
    [
        ([], "0 cannot be compared. Choose two to 4"),
        ([BASE], "1 cannot be compared"),
        ([BASE, BASE], "1 cannot be compared"),
        ([BASE, "nobody"], "nobody is not there any more"),
    ],
)
def test_a_choice_that_cannot_be_compared_is_refused(
    pipeline: Pipeline, done: Finished, picked: list[str], words: str
) -> None:
    with pytest.raises(RunError, match=words):
        pipeline.choose_arms(done.id, picked)


def test_a_round_is_compared_with_its_parent(pipeline: Pipeline, done: Finished) -> None:
    parent = pipeline.tuned_run(pipeline.project(done.id))
    assert parent
    plan = pipeline.plan(pipeline.project(done.id)).model_copy(update={"parent": parent.path})
    pipeline.set_plan(done.id, plan)
    child = pretend_run(pipeline, done.id, RunStatus(state="done"))
    chosen = pipeline.chosen(pipeline.project(done.id))
    assert keys(chosen) == [parent.id, child.id]
    assert [one.title for one in chosen] == [f"Tuned: {parent.name}", f"Tuned: {child.name}"]


def test_a_model_elsewhere_is_one_more_unless_nothing_may_leave(done: Finished, tmp_path: Path) -> None:
    copied = done.copy(tmp_path)
    chat = ChatModelSettings(url="http://example.org/v1", model="large")
    settings = Settings(paths=copied.paths, engine="embedded", chat_model=chat)
    pipeline = Pipeline(settings, ScriptedRoom(settings))
    project = pipeline.choose_arms(done.id, [BASE, REMOTE])
    arms = pipeline.arms(project)
    assert [arm.title for arm in arms] == ["Base", "large"] and arms[1].model.name == "large"
    kept = pipeline.edit_spec(done.id, {"local_only": True})
    assert REMOTE not in keys(pipeline.contenders(kept))
    assert keys(pipeline.chosen(kept)) == [BASE, done.run_id]


def test_before_a_run_the_base_is_alone(done: Finished, tmp_path: Path, tiny_model: Path) -> None:
    pipeline, _ = open_pipeline(done.copy(tmp_path).paths)
    project = begin_project(pipeline, tiny_model)
    assert keys(pipeline.chosen(project)) == [BASE]
    assert [one for one, *_ in pipeline.usage(project, "http://x/v1")] == ["Base"]


# Files


def shouting(pipeline: Pipeline) -> ScriptedModel:
    """Every arm answers by what it is asked with, so that they differ where their prompts do."""
    assert isinstance(pipeline.engines, ScriptedRoom)

    def answer(messages: list[Message]) -> str:
        return f"{len(messages)} {messages[-1].content}"

    pipeline.engines.model = ScriptedModel(answer=answer)  # type: ignore[arg-type]
    return pipeline.engines.model


def test_a_file_goes_through_all_arms_and_is_scored(pipeline: Pipeline, done: Finished, tmp_path: Path) -> None:
    shouting(pipeline)
    pipeline.choose_arms(done.id, [BASE, FEW_SHOT])
    path = write_tickets(tmp_path / "more.csv", rows=6)
    job = pipeline.start_file(done.id, path)
    wait_for(lambda: not job.running, "end of the file", 30)
    assert not job.error and job.table and len(job.table.rows) == 6 and job.table.metric == "exact match"
    assert [arm.title for arm in job.table.arms] == ["Base", "Base, few-shot"]
    assert all(arm.score and arm.score.n == 6 for arm in job.table.arms)
    assert pipeline.files[done.id] is job


def test_without_a_file_the_rows_kept_for_the_arena_go(pipeline: Pipeline, done: Finished, project: Project) -> None:
    shouting(pipeline)
    job = pipeline.start_file(done.id)
    wait_for(lambda: not job.running, "end of the file", 30)
    assert job.table and [row.input for row in job.table.rows] == pipeline.arena_inputs(project)


def test_a_file_that_cannot_be_read_starts_nothing(pipeline: Pipeline, done: Finished, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a,b\n")
    with pytest.raises(DataError):
        pipeline.start_file(done.id, path)
    assert done.id not in pipeline.files


# Blind rounds


def test_rounds_are_judged_until_none_is_left_and_the_votes_say_it(pipeline: Pipeline, done: Finished) -> None:
    shouting(pipeline)
    pipeline.choose_arms(done.id, [BASE, FEW_SHOT])
    job = pipeline.start_rounds(done.id)
    wait_for(lambda: not job.running, "end of the answers", 30)
    drawn = pipeline.rounds(pipeline.project(done.id)).rounds
    inputs = set(pipeline.arena_inputs(pipeline.project(done.id)))
    assert drawn and {one.message for one in drawn} == inputs
    for one in drawn:  # whoever shows more wins, wherever it stands
        verdict = "left" if one.left.text > one.right.text else "right"
        kept = pipeline.judge(done.id, one, verdict, voter="Ann", reason="longer")  # type: ignore[arg-type]
        assert kept.blind and kept.created and all(answer.messages for answer in kept.answers)
        with pytest.raises(RunError):
            pipeline.judge(done.id, one, "tie", voter="Ann")
    project = pipeline.project(done.id)
    left = pipeline.rounds(project)
    assert not left.rounds and left.judged == len(drawn)
    with pytest.raises(DataError, match=r"has been judged\. Write messages of your own"):
        pipeline.start_rounds(done.id)
    found = pipeline.findings(project)
    [pair] = found.tallies
    assert {pair.first_wins, pair.second_wins} == {0, len(drawn)} and pair.ties == 0
    assert [strength.n for strength in found.strengths] == [len(drawn)] * 2
    [(voter, leaning)] = found.leanings
    assert found.agreement is None and (voter, leaning.n) == ("Ann", len(drawn))
    pipeline.judge(done.id, drawn[0], "left", voter="Bob", blind=False)
    assert pipeline.findings(project) == found, "who saw the names does not count"


def test_nothing_was_voted_and_nothing_is_said(pipeline: Pipeline, project: Project) -> None:
    found = pipeline.findings(project)
    assert (found.tallies, found.strengths, found.agreement) == ((), (), None)
    assert pipeline.rounds(project).rounds == ()


def test_what_was_served_before_a_training_comes_back_after_it(
    pipeline: Pipeline, done: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.comparebench._LOOK_SECONDS", 0.05)
    said: list[str] = []
    monkeypatch.setattr(pipeline.engines, "rest", lambda: said.append("rests") or True)
    monkeypatch.setattr(pipeline.engines, "resume", lambda: said.append("back"))
    going = pretend_run(pipeline, done.id, RunStatus(state="running"))
    pipeline.step_aside()
    with pytest.raises(TimeoutError):
        wait_for(lambda: "back" in said, "return", 0.5)
    going.write_status(RunStatus(state="done"))
    wait_for(lambda: "back" in said, "return", 10)
    assert said == ["rests", "back"]


def test_a_run_that_is_deleted_is_no_contender(pipeline: Pipeline, done: Finished) -> None:
    run = pipeline.tuned_run(pipeline.project(done.id))
    assert run
    pipeline.choose_arms(done.id, [BASE, run.id])
    shutil.rmtree(run.path)
    assert run.id not in keys(pipeline.contenders(pipeline.project(done.id)))
    assert keys(pipeline.chosen(pipeline.project(done.id))) == [BASE]
