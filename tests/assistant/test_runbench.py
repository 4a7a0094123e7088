"""A project's strategies and runs, without the screen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.ways import OBJECTIVES, WAYS
from prompts.errors import DataError, PlanError, RunError, TunewrightError
from tests.assistant.journey import begin_project, measured, open_pipeline
from tests.trainers.runs import write_tickets
from trainers import jobs
from trainers.evaluation.records import Remedy
from trainers.objectives import DpoObjective
from trainers.paths import Paths
from trainers.plan import parse_plan
from trainers.status import RunFolder, RunStatus


@pytest.fixture
def pipeline(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)[0]


@pytest.fixture
def with_data(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> Project:
    project = begin_project(pipeline, tiny_model)
    return pipeline.add_file(project.id, write_tickets(tmp_path / "tickets.csv", rows=60))


def ended(pipeline: Pipeline, id: str) -> RunFolder:
    """A run of the project that left an adapter, without training it."""
    run = jobs.create_run(pipeline.plan(pipeline.project(id)), pipeline.settings.paths)
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text("{}")
    run.write_status(RunStatus(state="done"))
    project = pipeline.project(id)
    earlier = (*project.earlier_runs, project.run_id) if project.run_id else ()
    pipeline.change(id, run_id=run.id, earlier_runs=earlier)
    return run


def test_runs_are_shown_named_and_deleted(pipeline: Pipeline, with_data: Project) -> None:
    id = with_data.id
    first, second = ended(pipeline, id), ended(pipeline, id)

    def shown() -> str:
        run = pipeline.tuned_run(pipeline.project(id))
        assert run is not None
        return run.id

    assert shown() == second.id, "the latest"
    pipeline.show_run(id, first.id)
    assert shown() == first.id, "the person's choice"
    pipeline.rename_run(id, first.id, "the good one")
    assert pipeline.run_of(id, first.id).name == "the good one"
    pipeline.delete_run(id, first.id)
    assert shown() == second.id
    assert [run.id for run in pipeline.runs(pipeline.project(id))] == [second.id]
    with pytest.raises(RunError, match="not there any more"):
        pipeline.run_of(id, first.id)
    with pytest.raises(RunError, match="No run was cut off"):
        pipeline.resume_training(id)


@pytest.mark.parametrize(
    "key", ["lora", "dora", "prompt_tuning", "prefix_tuning", "full", "gradual", "few_shot", "prompt"]
)
def test_every_way_makes_a_plan_with_its_usual_figures(pipeline: Pipeline, with_data: Project, key: str) -> None:
    plan = pipeline.choose_strategy(with_data.id, WAYS[key].strategy)
    assert WAYS[key].is_in(plan)
    assert [other for other, way in WAYS.items() if way.is_in(plan)] == [key]
    text = pipeline.plan_text(pipeline.project(with_data.id))
    assert parse_plan(yaml.safe_load(text)) == pipeline.plan(pipeline.project(with_data.id))
    assert f"# served {plan.strategy.serving.told}" in text
    assert "learning_rate: " in text and text.count("# ") >= 3


def test_a_way_that_cannot_work_here_is_refused_and_the_plan_stays(pipeline: Pipeline, with_data: Project) -> None:
    with pytest.raises(PlanError, match="needs an NVIDIA GPU"):
        pipeline.choose_strategy(with_data.id, WAYS["qlora"].strategy)
    with pytest.raises(DataError, match="a chosen and a rejected answer"):
        pipeline.choose_strategy(with_data.id, objective=OBJECTIVES["dpo"])
    assert pipeline.project(with_data.id).plan is None


def test_a_figure_that_somebody_changed_has_no_source_any_more(pipeline: Pipeline, with_data: Project) -> None:
    plan = pipeline.plan(with_data)
    line = next(line for line in pipeline.plan_text(with_data).splitlines() if "learning_rate" in line)
    assert "measured here" in line
    changed = plan.model_copy(update={"training": plan.training.model_copy(update={"learning_rate": 0.5})})
    text = pipeline.plan_text(pipeline.set_plan(with_data.id, changed))
    assert next(line for line in text.splitlines() if "learning_rate" in line).strip() == "learning_rate: 0.5"


def test_data_that_say_what_people_prefer_are_learned_as_such(
    pipeline: Pipeline, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Ticket {n} about a bill", "chosen": "billing", "rejected": "other"} for n in range(80)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    project = pipeline.add_file(begin_project(pipeline, tiny_model).id, file)
    project = pipeline.edit_spec(project.id, {"task": "chat"})
    plan = pipeline.plan(project)
    assert plan.objective == DpoObjective()
    assert pipeline.check(project, plan) == []
    preference = pipeline.advice(project).of("preference")
    assert preference and preference.plan and preference.plan.objective == DpoObjective()
    by_examples = pipeline.choose_strategy(project.id, objective=OBJECTIVES["sft"])
    assert by_examples.objective.type == "sft"


def test_the_base_is_measured_with_the_first_and_the_best_prompt_too(pipeline: Pipeline, with_data: Project) -> None:
    id = with_data.id
    first = pipeline.project(id).prompt
    assert first is not None
    pipeline.take_prompt(id, first.revised(system="Name the team: billing or returns.", reason="clearer"))
    run = pipeline.start_training(id)
    jobs.cancel(run)
    how = run.plan().evaluation
    assert {name: version.id for name, version in how.prompts.items()} == {"first prompt": first.id}
    assert run.spec() == pipeline.project(id).spec, "the demands are kept with the run"


def test_a_remedy_becomes_the_plan(pipeline: Pipeline, with_data: Project) -> None:
    id = with_data.id
    run = ended(pipeline, id)
    remedy = Remedy(title="Stop sooner", why="It overfits.", changes={"training.epochs": 1.5})
    taken = pipeline.take_remedy(id, remedy)
    project = pipeline.project(id)
    assert project.stage == "Strategy" and pipeline.plan(project).training.epochs == 1.5
    assert taken.strategy == run.plan().strategy
    with pytest.raises(PlanError, match=r"training\.epochs"):
        pipeline.take_remedy(id, remedy.model_copy(update={"changes": {"training.epochs": -1}}))
    assert pipeline.plan(pipeline.project(id)).training.epochs == 1.5, "the plan stays"


def test_what_cannot_be_examined_says_why(pipeline: Pipeline, with_data: Project) -> None:
    with pytest.raises(RunError, match="no result to examine"):
        pipeline.examine(with_data.id)
    run = ended(pipeline, with_data.id)
    (run.path / "plan.yaml").write_text(run.plan().model_copy(update={"base_model": "/gone"}).to_yaml())
    with pytest.raises(TunewrightError, match="/gone"):
        pipeline.examine(with_data.id)
    assert jobs.status(run).state == "done"


def test_few_rows_of_many_labels_are_labels_where_the_task_says_so(
    pipeline: Pipeline, tiny_model: Path, tmp_path: Path
) -> None:
    project = begin_project(pipeline, tiny_model)
    rows = "".join(f"Question number {n} about part {n % 15},part {n % 15}\n" for n in range(40))
    (tmp_path / "parts.csv").write_text(f"text,label\n{rows}", "utf-8")
    pipeline.add_file(project.id, tmp_path / "parts.csv")
    for said, labels in (("text", 0), ("label", 15)):
        project = pipeline.edit_spec(project.id, {"output_format": said})
        profile = pipeline.situation(project).profile
        assert profile is not None and len(profile.labels) == labels
