"""The journey stage by stage, without a screen: what each act changes, and what a refusal leaves alone.

Longer than 400 lines because the pipeline is one class with one method a stage, and its tests share one real run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from assistant.pipeline import Pipeline
from assistant.project import Project, Turn
from assistant.samples import SAMPLE_NAME
from assistant.workbench import NEW_PROJECT
from prompts.chat_model import Message
from prompts.errors import DataError, ModelError, PromptError, RunError, TunewrightError
from prompts.templates import starting_prompt
from prompts.versions import Demonstration
from tests.assistant.journey import Finished, begin_project, finished, measured, open_pipeline, pretend_run
from tests.fakes import ScriptedModel, ScriptedRoom
from tests.trainers.runs import wait_for, wait_until_ended, write_tickets
from trainers import jobs
from trainers.data import Mapping
from trainers.paths import Paths
from trainers.splits import SPLITS, Shares
from trainers.status import RunStatus
from trainers.tokens import token_counter


@pytest.fixture
def opened(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, ScriptedRoom]:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)


@pytest.fixture
def pipeline(opened: tuple[Pipeline, ScriptedRoom]) -> Pipeline:
    return opened[0]


@pytest.fixture
def room(opened: tuple[Pipeline, ScriptedRoom]) -> ScriptedRoom:
    return opened[1]


@pytest.fixture
def id(pipeline: Pipeline, tiny_model: Path) -> str:
    """A new project on the tiny model."""
    return begin_project(pipeline, tiny_model).id


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_tickets(tmp_path / "tickets.csv", rows=60)


@pytest.fixture
def with_data(pipeline: Pipeline, id: str, tickets: Path) -> Project:
    return pipeline.add_file(id, tickets)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Finished:
    return finished(tmp_path_factory.getbasetemp(), tiny_model)


def everything(pipeline: Pipeline, id: str) -> list[Any]:
    """All that is known of a project, to see that it did not change."""
    return [pipeline.project(id), pipeline.prompts(id), pipeline.store.turns(id), pipeline.store.votes(id)]


# Task.


def test_the_first_description_names_the_project(pipeline: Pipeline, id: str) -> None:
    assert pipeline.project(id).name == NEW_PROJECT
    told = "Tell angry messages of customers from those that are merely impatient"
    named = pipeline.edit_spec(id, {"description": told}).name
    assert told.startswith(named.removesuffix(" …")) and len(named) <= 40
    assert pipeline.edit_spec(id, {"description": "Something else"}).name == named


def test_an_inferred_fact_does_not_replace_a_said_one(pipeline: Pipeline, id: str) -> None:
    spec = pipeline.edit_spec(id, {"task": "extraction"}, {"task": "chat", "input": "ticket"}).spec
    assert (spec.task, spec.input) == ("extraction", "ticket")
    assert spec.origins["task"] == "said"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"time_budget_minutes": 0}, "time"),
        ({"task": "cooking"}, "task"),
        ({"base_model": "/no/such/model"}, "no base model '/no/such/model'"),
    ],
)
def test_an_impossible_fact_is_refused_and_nothing_changes(
    pipeline: Pipeline, with_data: Project, said: dict[str, Any], words: str
) -> None:
    before = everything(pipeline, with_data.id)
    with pytest.raises(TunewrightError, match=words) as caught:
        pipeline.edit_spec(with_data.id, {"description": "new", **said})
    assert "\n" not in str(caught.value)
    assert everything(pipeline, with_data.id) == before


def test_a_project_that_is_gone_is_told(pipeline: Pipeline) -> None:
    with pytest.raises(RunError, match="does not exist"):
        pipeline.project("nonsense")


# Prompt.


def test_the_first_prompt_follows_the_task_until_the_person_has_their_own(pipeline: Pipeline, id: str) -> None:
    assert pipeline.project(id).prompt is None
    for said in ({"task": "classification"}, {"labels": ("a", "b")}, {"task": "summarization"}):
        project = pipeline.edit_spec(id, said)
        assert project.prompt == starting_prompt(project.spec)
    own = pipeline.save_prompt(id, system="Mine.", template="{{ input }}", reason="mine").prompt
    assert pipeline.edit_spec(id, {"task": "chat", "description": "Be a pirate"}).prompt == own
    assert own == pipeline.project(id).prompt


def test_a_prompt_that_cannot_be_used_is_refused(pipeline: Pipeline, with_data: Project) -> None:
    before = everything(pipeline, with_data.id)
    for template in ("no input", "{{ inptu }}", "{% if %}{{ input }}"):
        with pytest.raises(PromptError, match="was not saved"):
            pipeline.save_prompt(with_data.id, system="x", template=template, reason="r")
    assert everything(pipeline, with_data.id) == before


def test_versions_are_kept_restored_and_forked(pipeline: Pipeline, with_data: Project) -> None:
    id, first = with_data.id, with_data.prompt
    assert first is not None

    def saved(system: str) -> Project:
        return pipeline.save_prompt(id, system=system, template="{{ input }}", reason="edited")

    second = saved("Second.").prompt
    count = len(pipeline.prompts(id))
    assert saved("Second.").prompt == second
    assert len(pipeline.prompts(id)) == count, "the same words are the same version"
    assert pipeline.restore_prompt(id, first.id).prompt == first
    forked = saved("Third.").prompt
    assert second is not None and forked is not None
    assert (second.parent, forked.parent) == (first.id, first.id)
    assert [s.version.id for s in pipeline.prompts(id)][-2:] == [second.id, forked.id]
    with pytest.raises(PromptError, match="no prompt version nonsense"):
        pipeline.restore_prompt(id, "nonsense")
    assert pipeline.project(id).prompt == forked


def test_demonstrations_come_from_the_training_rows_alone(pipeline: Pipeline, with_data: Project) -> None:
    project = pipeline.add_demonstrations(with_data.id)
    assert project.prompt is not None and with_data.prompt is not None
    train = {(row.input, row.output) for row in pipeline.splits(project).train}
    shown = [(d.input, d.output) for d in project.prompt.demonstrations]
    assert len(shown) == 4
    assert set(shown) <= train
    assert {output for _, output in shown} == {"billing", "returns"}
    assert project.prompt.system == with_data.prompt.system
    kept = pipeline.save_prompt(with_data.id, system="Other.", template="{{ input }}", reason="edited").prompt
    assert kept is not None and kept.demonstrations == project.prompt.demonstrations


# Data.

BAD_FILES = {
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "ragged.csv": b"text,label\none,two,three\n",
    "twice.csv": b"text,text\na,b\n",
    "prose.txt": b"this is no table\n",
    "binary.csv": b"\x00\x01\x02" * 50,
    "no_input.csv": b"text,label\n,b\n,c\n",
    "broken.jsonl": b'{"text": "a", "label": "b"}\n{"text": \n{"text": \n',
    "list.json": b"[1, 2]",
}


@pytest.mark.parametrize("name", [*BAD_FILES, "absent.csv"])
def test_a_bad_file_is_refused_and_changes_nothing(
    pipeline: Pipeline, with_data: Project, tmp_path: Path, name: str
) -> None:
    id = with_data.id
    pipeline.edit_spec(id, {"labels": ("billing", "returns")})
    pipeline.save_prompt(id, system="Mine.", template="{{ input }}", reason="mine")
    pipeline.store.add_turn(id, Turn(role="user", text="hello"))
    pipeline.set_plan(id, pipeline.plan(pipeline.project(id)))
    before, files = everything(pipeline, id), sorted(pipeline.settings.paths.files.rglob("*"))
    if name in BAD_FILES:
        (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(DataError) as caught:
        pipeline.add_file(id, tmp_path / name)
    assert name in caught.value.message and caught.value.hint
    assert everything(pipeline, id) == before
    assert sorted(pipeline.settings.paths.files.rglob("*")) == files


def test_a_file_tells_the_task_where_nobody_said_it(pipeline: Pipeline, with_data: Project) -> None:
    spec = with_data.spec
    assert (spec.task, spec.output_format, spec.labels) == ("classification", "label", ("billing", "returns"))
    assert spec.examples == 60
    assert with_data.prompt is not None and "billing, returns" in with_data.prompt.system
    assert with_data.data is not None
    assert with_data.data.columns == Mapping(input="text", output="label")


def test_json_answers_are_an_answer_of_that_shape(pipeline: Pipeline, id: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"input": "row {n}", "output": {{"n": {n}}}}}\n' for n in range(12)))
    assert pipeline.add_file(id, file).spec.output_format == "json"


def test_what_was_said_stands_against_the_file(pipeline: Pipeline, id: str, tickets: Path) -> None:
    pipeline.edit_spec(id, {"task": "generation", "labels": ("billing",)})
    spec = pipeline.add_file(id, tickets).spec
    assert (spec.task, spec.labels, spec.examples) == ("generation", ("billing",), 60)


def test_the_project_has_its_own_copy_of_each_file(pipeline: Pipeline, with_data: Project, tickets: Path) -> None:
    first = with_data.data
    assert first is not None
    tickets.write_text(tickets.read_text() + "One more,billing\n")
    second = pipeline.add_file(with_data.id, tickets, name="mine.csv").data
    tickets.unlink()
    assert second is not None
    assert (first.name, second.name) == ("tickets.csv", "mine.csv")
    assert first.path.is_file() and first.path != second.path
    assert len(pipeline.examples(pipeline.project(with_data.id))) == 61


def test_columns_can_be_corrected(pipeline: Pipeline, id: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows = [f"{'x' * 30} {n},{'good' if n % 2 else 'bad'},{n % 3}" for n in range(30)]
    file.write_text("\n".join(["remark,label,stars", *rows]))
    pipeline.add_file(id, file)
    project = pipeline.set_columns(id, Mapping(input="remark", output="stars"))
    assert project.spec.labels == ("0", "1", "2")
    assert pipeline.examples(project)[0].output == "0"
    before = everything(pipeline, id)
    for wrong in (Mapping(input="remark", output="nonsense"), Mapping(input="remark", output="remark")):
        with pytest.raises(DataError):
            pipeline.set_columns(id, wrong)
    assert everything(pipeline, id) == before


def test_rows_that_cannot_be_read_are_told_and_can_be_had(pipeline: Pipeline, id: str, tickets: Path) -> None:
    tickets.write_text(tickets.read_text() + "no label\n")
    project = pipeline.add_file(id, tickets)
    assert [one.raw for one in pipeline.table(project).set_aside] == ["no label"]
    [finding] = [found for found in pipeline.profile(project).findings if "set aside" in found.text]
    assert (finding.severity, finding.rows) == ("warning", (61,))
    run = jobs.create_run(pipeline.plan(project), pipeline.settings.paths)
    assert "no label" in run.set_aside.read_text()


def test_conversations_and_a_folder_of_them_are_data(pipeline: Pipeline, id: str, tmp_path: Path) -> None:
    turn = '[{"role": "user", "content": "q%d"}, {"role": "assistant", "content": "a%d"}]'
    for part in range(2):
        lines = [f'{{"messages": {turn % (n, n)}}}' for n in range(20 * part, 20 * part + 20)]
        (tmp_path / "chats").mkdir(exist_ok=True)
        (tmp_path / "chats" / f"{part}.jsonl").write_text("\n".join(lines))
    project = pipeline.add_file(id, tmp_path / "chats")
    assert project.data is not None
    assert project.data.columns == Mapping(input="messages", output="messages", shape="messages")
    assert [(row.input, row.output) for row in pipeline.examples(project)][-1] == ("q39", "a39")
    assert any("Conversations" in finding.text for finding in pipeline.profile(project).findings)
    more = pipeline.add_rows(id, [Demonstration(input="typed", output="too")])
    assert [(row.input, row.output) for row in pipeline.examples(more)][-2:] == [("q39", "a39"), ("typed", "too")]


def test_the_sample_fills_a_project_but_replaces_no_data(pipeline: Pipeline, id: str, tickets: Path) -> None:
    pipeline.edit_spec(id, {"task": "chat", "labels": ("a", "b")})
    for _ in range(2):  # a second time is harmless
        project = pipeline.start_sample(id)
        assert project.name == SAMPLE_NAME
        assert len(project.spec.labels) == 6
        assert project.prompt is not None
        assert all(label in project.prompt.system for label in project.spec.labels)
        assert len(pipeline.examples(project)) == 300
    other = pipeline.store.create_project("mine").id
    pipeline.add_file(other, tickets)
    before = everything(pipeline, other)
    with pytest.raises(DataError, match="data of its own"):
        pipeline.start_sample(other)
    assert everything(pipeline, other) == before


def test_rows_are_shown_exactly_as_the_model_reads_them(
    pipeline: Pipeline, with_data: Project, tiny_model: Path
) -> None:
    row = pipeline.splits(with_data).train[0]
    assert with_data.prompt is not None
    turns = [*with_data.prompt.messages(row.input), Message(role="assistant", content=row.output)]
    shown = pipeline.rendered_rows(with_data, 2)
    assert len(shown) == 2
    assert shown[0] == token_counter(tiny_model).render(turns, for_reply=False)


def test_the_profile_counts_tokens_under_the_current_prompt(pipeline: Pipeline, with_data: Project) -> None:
    short = pipeline.profile(with_data)
    longer = pipeline.save_prompt(with_data.id, system="word " * 50, template="{{ input }}", reason="long")
    assert pipeline.profile(longer).longest_tokens > short.longest_tokens + 40
    assert short.labels == {"billing": 30, "returns": 30}


@pytest.mark.parametrize(
    "act",
    [
        Pipeline.start_measuring,
        Pipeline.add_demonstrations,
        Pipeline.start_training,
        lambda pipeline, id: pipeline.plan(pipeline.project(id)),
        lambda pipeline, id: pipeline.profile(pipeline.project(id)),
        lambda pipeline, id: pipeline.set_columns(id, Mapping(input="a", output="b")),
    ],
)
def test_without_data_every_act_that_needs_some_says_so(
    pipeline: Pipeline, id: str, act: Callable[[Pipeline, str], object]
) -> None:
    with pytest.raises(DataError) as caught:
        act(pipeline, id)
    assert caught.value.hint
    assert pipeline.arena_inputs(pipeline.project(id)) == []


# Measuring.


def test_a_measured_prompt_keeps_its_score(pipeline: Pipeline, room: ScriptedRoom, with_data: Project) -> None:
    room.model = ScriptedModel(answer=lambda messages: messages[-1].content.split()[-1])
    measurement = pipeline.start_measuring(with_data.id)
    wait_for(lambda: not measurement.running, "end of the measurement", 30)
    stored = pipeline.score_of(pipeline.project(with_data.id))
    assert stored is not None and stored.score is not None
    assert (stored.metric, stored.score.value, stored.score.n) == ("exact match", 1.0, measurement.total)
    assert measurement.total == len(pipeline.splits(with_data).dev)
    asked = {chat[-1].content for chat in room.model.heard}
    assert asked == {row.input for row in pipeline.splits(with_data).dev}, "dev rows and no others"
    [[served]] = room.connected
    assert served.base.folder == pipeline.base(with_data).folder and served.artefact is None
    changed = pipeline.save_prompt(with_data.id, system="Other.", template="{{ input }}", reason="edited")
    assert pipeline.score_of(changed) is None, "a score belongs to its version"
    assert with_data.prompt is not None
    assert pipeline.score_of(pipeline.restore_prompt(with_data.id, with_data.prompt.id)) == stored


def test_one_measurement_at_a_time(pipeline: Pipeline, room: ScriptedRoom, with_data: Project) -> None:
    room.model = ScriptedModel(pace=0.1)
    first = pipeline.start_measuring(with_data.id)
    assert pipeline.start_measuring(with_data.id) is first
    first.stop()
    wait_for(lambda: not first.running, "end of the measurement", 30)
    assert pipeline.start_measuring(with_data.id) is not first


# Plan.


def test_the_advised_plan_is_followed_until_the_person_has_their_own(pipeline: Pipeline, with_data: Project) -> None:
    id, advised = with_data.id, pipeline.plan(with_data)
    best = pipeline.advice(with_data).best
    assert (best.kind, best.plan) == ("lora", advised)
    own = advised.model_copy(update={"training": advised.training.model_copy(update={"epochs": 7.0})})
    assert pipeline.plan(pipeline.set_plan(id, own)) == own
    assert pipeline.plan(pipeline.set_plan(id, None)) == advised


def test_data_and_prompt_of_the_persons_own_plan_follow_the_project(pipeline: Pipeline, with_data: Project) -> None:
    advised = pipeline.plan(with_data)
    stale = advised.data.model_copy(update={"path": Path("/elsewhere.csv"), "seed": 5, "max_train_rows": 9})
    pipeline.set_plan(with_data.id, advised.model_copy(update={"data": stale}))
    project = pipeline.save_prompt(with_data.id, system="Newer.", template="{{ input }}", reason="edited")
    plan = pipeline.plan(project)
    assert with_data.data is not None
    assert plan.data.path == with_data.data.path
    assert plan.prompt == project.prompt
    assert (plan.data.seed, plan.data.max_train_rows) == (5, 9), "the rest is the person's"


@pytest.mark.parametrize("own", [False, True], ids=["advised", "own"])
def test_the_splits_shown_are_those_of_the_run(pipeline: Pipeline, with_data: Project, own: bool) -> None:
    project = with_data
    if own:
        plan = pipeline.plan(with_data)
        data = plan.data.model_copy(update={"seed": 11, "shares": Shares(train=0.5, dev=0.2, test=0.2, arena=0.1)})
        project = pipeline.set_plan(with_data.id, plan.model_copy(update={"data": data}))
    shown, run = pipeline.splits(project), jobs.create_run(pipeline.plan(project), pipeline.settings.paths)
    for name in SPLITS:
        assert run.split(name) == getattr(shown, name)
        assert run.split(name)


def test_advice_without_data_needs_no_base_model(pipeline: Pipeline, id: str) -> None:
    best = pipeline.advice(pipeline.project(id)).best
    assert (best.kind, best.plan) == ("data", None)


def test_a_base_model_that_went_away_is_an_error_and_nothing_is_lost(
    paths: Paths, pipeline: Pipeline, tickets: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    id = begin_project(pipeline, model).id
    project = pipeline.add_file(id, tickets)
    shutil.rmtree(model)
    again, _ = open_pipeline(paths)
    before = everything(again, id)
    for act in (again.plan, again.profile, again.advice, again.arms):
        with pytest.raises(ModelError, match="no base model") as caught:
            act(project)
        assert "embedded" in caught.value.hint
    with pytest.raises(ModelError):
        again.start_training(id)
    assert everything(again, id) == before
    assert jobs.list_runs(paths) == []
    assert again.edit_spec(id, {"base_model": str(tiny_model)}).data == project.data
    assert again.plan(again.project(id)).base_model == str(tiny_model)


# Training.


def test_a_second_training_waits_while_one_runs(pipeline: Pipeline, room: ScriptedRoom, with_data: Project) -> None:
    id = with_data.id
    room.model = ScriptedModel(pace=0.2)
    measurement = pipeline.start_measuring(id)
    run = pipeline.start_training(id)
    try:
        assert room.stops == 1, "the engine steps aside"
        second = pipeline.start_training(id)
        project = pipeline.project(id)
        assert (project.run_id, project.earlier_runs, project.stage) == (second.id, (run.id,), "Train")
        assert [one.id for one in pipeline.runs(project)] == [second.id, run.id]
        assert pipeline.waits(id, second)
    finally:
        for one in pipeline.runs(pipeline.project(id)):
            jobs.cancel(one)
    assert wait_until_ended(run, 30).state == wait_until_ended(second, 30).state == "cancelled"
    wait_for(lambda: not measurement.running, "end of the measurement", 30)
    assert (measurement.error, measurement.message) == ("", "Stopped.")
    pipeline.cancel_training(id)  # harmless now


def test_a_run_that_was_deleted_from_the_disk_is_as_if_it_never_was(pipeline: Pipeline, with_data: Project) -> None:
    id = with_data.id
    run = pretend_run(pipeline, id, RunStatus(state="done"))
    shutil.rmtree(run.path)
    project = pipeline.project(id)
    assert (pipeline.run(project), pipeline.run_status(project)) == (None, None)
    assert [one.title for one in pipeline.contenders(project)] == ["Base", "Base, few-shot"]
    assert [one.key for one in pipeline.chosen(project)] == ["base"]
    assert pipeline.arena_inputs(project) == [row.input for row in pipeline.splits(project).arena]
    pipeline.cancel_training(id)


# After a real run. `done` is shared, so these only look, or look at a copy.


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_later_run_that_left_no_adapter_does_not_hide_the_tuned_model(
    done: Finished, tmp_path: Path, state: Literal["failed", "cancelled"]
) -> None:
    pipeline, _ = open_pipeline(done.copy(tmp_path).paths)
    later = pretend_run(pipeline, done.id, RunStatus(state=state))
    project = pipeline.project(done.id)
    latest, tuned = pipeline.run(project), pipeline.tuned_run(project)
    assert latest is not None and tuned is not None
    assert (latest.id, tuned.id) == (later.id, done.run_id)
    assert [one.served and one.served.name for one in pipeline.chosen(project)] == ["tiny", done.run_id]
    assert pipeline.arena_inputs(project) == [row.input for row in tuned.split("arena")]


def test_the_report_is_of_the_runs_test_rows(done: Finished) -> None:
    pipeline, _ = open_pipeline(done.paths)
    project = pipeline.project(done.id)
    run = pipeline.run(project)
    report = run.report() if run else None
    assert report is not None and project.prompt is not None
    assert report.tuned.n == report.base.n == len(pipeline.splits(project).test) == 10
    assert (report.metric, report.prompt_id, report.base_model) == ("exact match", project.prompt.id, "tiny")


def test_after_a_restart_everything_is_there(done: Finished) -> None:
    first, _ = open_pipeline(done.paths)
    again, _ = open_pipeline(done.paths)
    [project] = again.store.projects()
    assert everything(again, done.id) == everything(first, done.id)
    assert (project.id, project.run_id) == (done.id, done.run_id)
    status = again.run_status(project)
    assert status is not None and (status.state, status.phase) == ("done", "finished")
    assert len(again.examples(project)) == 40


def test_inputs_for_the_arena_are_rows_that_the_run_never_saw(done: Finished, tmp_path: Path) -> None:
    pipeline, _ = open_pipeline(done.copy(tmp_path).paths)
    more = write_tickets(tmp_path / "more.csv", rows=90)
    project = pipeline.add_file(done.id, more)  # other data since then, with other splits
    run = pipeline.run(project)
    assert run is not None
    offered = pipeline.arena_inputs(project)
    seen = {row.input for name in ("train", "dev", "test") for row in run.split(name)}
    assert offered and not seen & set(offered)
