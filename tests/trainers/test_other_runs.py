"""Whole runs of the strategies that TRL does not train: meta-learning, few-shot, adapters from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.serving.embedded_lanes import Server
from prompts.errors import DataError, PlanError
from prompts.versions import PromptVersion
from tests.trainers.runs import Started, wait_until_ended
from tests.trainers.test_strategies import COMPUTE, asked
from trainers.data import Mapping
from trainers.jobs import create_run, start
from trainers.meta_run import draw_episodes, support_rows
from trainers.objectives import DpoObjective
from trainers.paths import Paths
from trainers.plan import TrainingPlan, parse_plan
from trainers.status import RunFolder
from trainers.strategies import FewShotStrategy, ImportedStrategy, MetaLoraStrategy
from trainers.strategies.meta import PoolTask

Plans = Callable[..., TrainingPlan]
META = MetaLoraStrategy(
    ways=2, shots=8, rounds=12, inner_steps=3, inner_rate=1e-2, adaptation_steps=60, adaptation_rate=1e-2
)


def done(run: RunFolder) -> RunFolder:
    start(run)
    assert wait_until_ended(run).state == "done", run.log_tail(60)
    return run


def planned(tiny_plan: Plans, **update: Any) -> TrainingPlan:
    return tiny_plan().model_copy(update={"prompt": PromptVersion(system="billing or returns?"), **update})


def test_a_meta_learned_adapter_adapts_to_a_handful_of_rows_and_is_served(
    tiny_plan: Plans, measured_paths: Paths
) -> None:
    run = done(create_run(planned(tiny_plan, strategy=META), measured_paths))
    metrics = run.metrics()
    assert [line["step"] for line in metrics] == list(range(1, 73)), "12 rounds, then 60 steps"
    assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
    report = run.report()
    assert report is not None and report.tuned.value > 0.9 > report.base.value
    assert report.train_seconds > 0
    server = Server(Path(run.plan().base_model), "tiny", COMPUTE)
    server.load("mine", run.adapter)
    prompt_row = run.predictions()[0]
    lane, adapter = server.lane("mine")
    assert adapter.startswith("adapter") and lane is server.lane("tiny")[0], "a plain LoRA shares the base's lane"
    assert asked(server, "mine", prompt_row.input) != asked(server, "tiny", prompt_row.input)


def test_the_pool_may_be_files_of_others(tiny_plan: Plans, paths: Paths, tickets: Path) -> None:
    pool = (PoolTask(path=tickets, columns=Mapping(input="text", output="label"), name="theirs"),)
    run = create_run(planned(tiny_plan), paths)
    episodes = draw_episodes(META.model_copy(update={"pool": pool}), run.split("train"), seed=0)
    assert len(episodes) == META.rounds and {episode.task for episode in episodes} == {"theirs"}
    own = draw_episodes(META, run.split("train"), seed=0)
    assert {episode.task for episode in own} == {"your own labels"}
    assert all(not episode.query for episode in own)
    assert all(
        episode.query
        for episode in draw_episodes(MetaLoraStrategy(ways=2, algorithm="fomaml", rounds=2), run.split("train"), 0)
    )


def test_the_support_is_k_rows_of_each_label_as_they_will_be_asked(tiny_plan: Plans, paths: Paths) -> None:
    plan = planned(tiny_plan)
    run = create_run(plan, paths)
    shots = support_rows(run.split("train"), 3, plan)
    answers = [answer for _, answer in shots]
    assert (len(shots), answers.count("billing"), answers.count("returns")) == (6, 3, 3)
    assert shots[0][0][0].content == "billing or returns?"
    with pytest.raises(DataError, match="tells labels apart, and the training rows have 1"):
        support_rows([row for row in run.split("train") if row.output == "billing"], 3, plan)


def test_meta_learning_learns_from_examples_alone(tiny_plan: Plans) -> None:
    raw = planned(tiny_plan, strategy=META).model_dump(mode="json")
    with pytest.raises(PlanError, match="learns from examples alone"):
        parse_plan({**raw, "objective": DpoObjective().model_dump()})


def test_few_shot_trains_nothing_and_leaves_a_prompt(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = done(create_run(planned(tiny_plan, strategy=FewShotStrategy(examples=4)), measured_paths))
    assert run.artefact is None and run.has_result
    prompt = run.result_prompt()
    rows = {(row.input, row.output) for row in run.split("train")}
    assert len(prompt.demonstrations) == 4
    assert {(shown.input, shown.output) for shown in prompt.demonstrations} <= rows
    assert {shown.output for shown in prompt.demonstrations} == {"billing", "returns"}
    assert prompt.parent == run.plan().prompt.id
    report = run.report()
    assert report is not None and (report.train_rows, report.prompt_id) == (0, prompt.id)
    assert any(p.base != p.tuned for p in run.predictions())


def test_an_imported_adapter_is_compared_with_its_base(
    tiny_plan: Plans, trained: Started, measured_paths: Paths
) -> None:
    plan = trained.run.plan().model_copy(update={"strategy": ImportedStrategy(adapter=trained.run.adapter)})
    run = done(create_run(plan, measured_paths))
    report, before = run.report(), trained.run.report()
    assert report is not None and before is not None
    assert (report.base, report.tuned) == (before.base, before.tuned)
    assert (run.adapter / "adapter_model.safetensors").read_bytes() == (
        trained.run.adapter / "adapter_model.safetensors"
    ).read_bytes()
