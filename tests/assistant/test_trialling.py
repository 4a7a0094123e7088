"""Which options can be tried, with which figures, and why others cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from assistant.advice.plans import advised_plan, in_full
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.trialling import REFINED, candidates_for, options_for, standing_for
from prompts.errors import DataError, PromptError
from prompts.versions import PromptVersion
from tests.assistant.journey import begin_project, measured, open_pipeline
from tests.trainers.runs import write_tickets
from trainers.paths import Paths
from trainers.strategies import FewShotStrategy, LoraStrategy, MetaLoraStrategy


@pytest.fixture
def pipeline(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)[0]


def begun(pipeline: Pipeline, model: Path, file: Path) -> Project:
    project = begin_project(pipeline, model)
    pipeline.edit_spec(project.id, {"task": "classification"})
    return pipeline.add_file(project.id, file)


@pytest.fixture
def project(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> Project:
    return begun(pipeline, tiny_model, write_tickets(tmp_path / "tickets.csv", rows=80))


def test_all_that_the_data_allow_is_tried_on_the_same_rows(pipeline: Pipeline, project: Project) -> None:
    options = pipeline.trial_options(project)
    keys = [one.key for one in options.candidates]
    assert keys[:2] == ["prompt", REFINED]
    assert {"few_shot_4", "few_shot_8", "prompt_tuning", "meta_lora"} <= set(keys)
    ranks = [c.plan.strategy.r for c in options.candidates if isinstance(c.plan.strategy, LoraStrategy)]
    assert len(ranks) == 2 and ranks[0] < ranks[1]
    assert options.left_out == {}
    assert options.seconds > 0 and options.memory_gb > 0
    assert len({(c.plan.base_model, c.plan.data.model_dump_json(), c.plan.evaluation.metric)
                for c in options.candidates}) == 1, "else they could not be compared"  # fmt: skip
    assert all(c.plan.evaluation.probes == () and c.plan.evaluation.prompts == {} for c in options.candidates)
    assert all(c.price > 0 for c in options.candidates)
    trained = [c.key for c in options.candidates if c.trains]
    assert trained[0].startswith("lora") and trained[-1] == "meta_lora", "a budget may end before the others"
    assert [c.trains for c in options.candidates] == sorted(c.trains for c in options.candidates)


def test_what_the_rules_advise_is_told_to_the_trials(pipeline: Pipeline, project: Project) -> None:
    options, advised = pipeline.trial_options(project), pipeline.advice(project).best
    expected = next(one for one in options.candidates if one.key == options.expected)
    assert advised.kind == "lora" and advised.plan and expected.plan.strategy == advised.plan.strategy
    assert standing_for(advised.model_copy(update={"kind": "prompt"}), options.candidates) == REFINED
    assert standing_for(advised.model_copy(update={"kind": "data"}), options.candidates) == ""


def test_general_rows_are_left_to_the_training_itself(pipeline: Pipeline, project: Project) -> None:
    """They keep what no trial looks at, and the base would have to write their answers for each try."""
    situation = pipeline.situation(project)
    tried = next(c.plan for c in pipeline.trial_options(project).candidates if c.key.startswith("lora"))
    usual = advised_plan(situation, tried.strategy, tried.objective)
    mixed = tried.model_copy(update={"data": tried.data.model_copy(update={"general_rows": 9})})
    assert tried.data.general_rows == 0
    whole = in_full(mixed, situation)
    assert (whole.data.general_rows, whole.evaluation) == (usual.data.general_rows, usual.evaluation)


def test_where_nothing_can_be_told_apart_the_simpler_option_is_the_cheaper_one(
    pipeline: Pipeline, project: Project
) -> None:
    price = {one.key: one.price for one in pipeline.trial_options(project).candidates}
    assert min(price, key=lambda key: price[key]) == "prompt"
    assert price["prompt"] < price[REFINED], "the person's own wording stays where another is no better"
    assert price["few_shot_4"] < price["few_shot_8"]
    lora = sorted((key for key in price if key.startswith("lora")), key=lambda key: int(key.split("_")[1]))
    assert price[lora[0]] < price[lora[1]]


def test_the_search_over_wordings_holds_the_own_prompt_too(pipeline: Pipeline, project: Project) -> None:
    assert project.prompt is not None
    other = PromptVersion(system="Name the team.")
    found = candidates_for(pipeline.situation(project), wordings=(other, project.prompt))
    refined = next(one for one in found if one.key == REFINED)
    assert [version.id for version in refined.wordings] == [project.prompt.id, other.id]
    assert refined.plan.prompt.id == project.prompt.id
    alone = options_for(pipeline.situation(project))
    assert REFINED not in [one.key for one in alone.candidates]
    assert "no other wording" in alone.left_out["A refined prompt"]


def test_free_answers_leave_the_meta_learned_start_out_and_say_why(
    pipeline: Pipeline, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,answer\n" + "".join(f"Question {n},The answer to it is {n * 7}\n" for n in range(60)))
    project = begin_project(pipeline, tiny_model)
    pipeline.edit_spec(project.id, {"task": "generation"})
    options = pipeline.trial_options(pipeline.add_file(project.id, file))
    assert "meta_lora" not in [one.key for one in options.candidates]
    assert "free text" in options.left_out[MetaLoraStrategy.title]


def test_episodes_fit_into_a_part_of_the_rows(pipeline: Pipeline, project: Project) -> None:
    meta = next(
        one.plan.strategy
        for one in pipeline.trial_options(project).candidates
        if isinstance(one.plan.strategy, MetaLoraStrategy)
    )
    splits = pipeline.splits(project)
    assert meta.ways == 2 and 1 <= meta.shots <= len(splits.train) // 4


def test_few_rows_show_four_examples_alone(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> None:
    project = begun(pipeline, tiny_model, write_tickets(tmp_path / "few.csv", rows=30))
    assert len(pipeline.splits(project).train) < 24
    shown = [c.plan.strategy.examples for c in pipeline.trial_options(project).candidates
             if isinstance(c.plan.strategy, FewShotStrategy)]  # fmt: skip
    assert shown == [4]


def test_a_plan_that_cannot_be_followed_is_left_out_with_its_reason(pipeline: Pipeline, project: Project) -> None:
    situation = pipeline.situation(project)
    machine = situation.machine.model_copy(update={"memory_gb": 0.01})
    options = options_for(situation.model_copy(update={"machine": machine}))
    assert not [one for one in options.candidates if one.trains]
    assert "GB of memory" in options.left_out["Prompt tuning"]
    assert "smaller base model" in options.left_out["Prompt tuning"]


def test_what_makes_any_trial_impossible_is_said(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> None:
    empty = begin_project(pipeline, tiny_model)
    with pytest.raises(DataError, match="no data") as found:
        pipeline.trial_options(empty)
    assert found.value.hint
    one = begun(pipeline, tiny_model, write_tickets(tmp_path / "one.csv", rows=1))
    with pytest.raises(DataError, match=r"one\.csv: beside the test rows there .* too few to tell options apart"):
        pipeline.trial_options(one)
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Ticket {n}", "chosen": f"billing {n}", "rejected": "other"} for n in range(80)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    liked = pipeline.add_file(begin_project(pipeline, tiny_model).id, pairs)
    liked = pipeline.edit_spec(liked.id, {"task": "chat"})
    with pytest.raises(DataError, match=r"pairs\.jsonl says which answers people like"):
        pipeline.trial_options(liked)


def test_without_a_task_there_is_no_prompt_to_try(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> None:
    project = pipeline.add_file(begin_project(pipeline, tiny_model).id, write_tickets(tmp_path / "t.csv"))
    bare = pipeline.change(project.id, prompt=None)
    with pytest.raises(PromptError, match="no prompt yet"):
        pipeline.trial_options(bare)
