"""Runs beside each other, renamed and deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prompts.errors import RunError
from prompts.versions import PromptVersion
from tests.trainers.runs import Started
from trainers.comparing import Difference, curves, differences
from trainers.jobs import create_run, delete, list_runs, rename
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder, RunStatus
from trainers.strategies import FullStrategy, LoraStrategy

Plans = Callable[..., TrainingPlan]


def test_plans_differ_where_they_differ(tiny_plan: Plans) -> None:
    first = tiny_plan()
    assert differences([first, first.model_copy(update={"name": "another"})]) == []
    second = tiny_plan(epochs=5).model_copy(
        update={"strategy": LoraStrategy(r=4), "prompt": PromptVersion(system="Be brief.")}
    )
    found = {row.key: row.values for row in differences([first, second])}
    assert found["training.epochs"] == ("3.0", "5.0")
    assert found["strategy.r"] == ("8", "4")
    assert found["prompt.system"] == ("", "Be brief.")
    assert set(found) == {"training.epochs", "strategy.r", "prompt.system", "prompt.id"}


def test_a_key_that_one_has_not_is_empty_there(tiny_plan: Plans) -> None:
    plans = [tiny_plan(), tiny_plan().model_copy(update={"strategy": FullStrategy()})]
    found = differences(plans)
    assert Difference("strategy.type", ("lora", "full")) in found
    assert Difference("strategy.r", ("8", "")) in found
    assert Difference("strategy.layer_decay", ("", "1.0")) in found


def test_curves_of_several_runs(trained: Started, tiny_plan: Plans, paths: Paths) -> None:
    other = create_run(tiny_plan(), paths)
    other.add_metrics(step=1, loss=2.0)
    other.add_metrics(step=1, eval_loss=3.0)
    rename(other, "the other")
    points = curves([trained.run, other])
    assert {point.run for point in points} == {trained.run.id, "the other"}
    assert [tuple(point) for point in points if point.run == "the other"] == [
        ("the other", "train", 1, 2.0),
        ("the other", "dev", 1, 3.0),
    ]
    assert sum(point.run == trained.run.id and point.split == "train" for point in points) == 36


def test_a_name_is_kept_and_can_be_taken_away(tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    assert run.name == run.id
    rename(run, "  the one\nwith DoRA ")
    assert RunFolder(run.path).name == "the one with DoRA"
    rename(run, "")
    assert run.name == run.id
    with pytest.raises(RunError, match="at most 80 characters"):
        rename(run, "x" * 81)


def test_a_run_that_goes_on_is_not_deleted(tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    with pytest.raises(RunError, match="goes on"):
        delete(run)
    run.write_status(RunStatus(state="cancelled"))
    delete(run)
    assert list_runs(paths) == []
