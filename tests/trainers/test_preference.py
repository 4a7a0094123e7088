"""Learning from pairs and from thumbs: the reference is the parent, and no second model is held."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.runs import Started, wait_until_ended
from tests.trainers.test_strategies import Trained, logits, reloaded, snapshot
from trainers.building import build_trainer
from trainers.data import Mapping
from trainers.hardware import Compute
from trainers.jobs import create_run, start
from trainers.modeling import load_base, load_tokenizer
from trainers.objectives import DpoObjective, KtoObjective
from trainers.paths import Paths
from trainers.plan import DataPlan, TrainingPlan
from trainers.status import RunFolder
from trainers.strategies import FullStrategy, LoraStrategy, PromptTuningStrategy

Plans = Callable[..., TrainingPlan]
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)


def pairs_file(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"Ticket {i} about a bill", "chosen": "billing", "rejected": "feedback"} for i in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def thumbs_file(folder: Path) -> Path:
    path = folder / "thumbs.jsonl"
    rows = [
        {"prompt": f"Ticket {i} about a bill", "completion": ("billing", "feedback")[i % 2], "label": i % 2 == 0}
        for i in range(80)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def planned(tiny_plan: Plans, path: Path, objective: Any, **update: Any) -> TrainingPlan:
    plan = tiny_plan(epochs=2, learning_rate=update.pop("learning_rate", 2e-3), batch_size=4)
    thumbs = objective.type == "kto"
    columns = Mapping(
        input="prompt", output="completion" if thumbs else "chosen", shape="thumbs" if thumbs else "preference"
    )
    data = DataPlan(path=path, columns=columns, seed=1)
    return plan.model_copy(update={"data": data, "objective": objective, **update})


def margin(model: Any, tokenizer: Any) -> float:
    """By how much "billing" is likelier than "feedback" as the first word of the answer."""
    chat = [{"role": "user", "content": "Ticket 99 about a bill"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model.eval()
    with torch.inference_mode():
        found = model(**ids).logits[0, -1]
    first, second = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("billing", "feedback"))
    return float(found[first] - found[second])


def test_rows_carry_the_answer_that_was_not_wanted(tiny_plan: Plans, paths: Paths, tmp_path: Path) -> None:
    run = create_run(planned(tiny_plan, pairs_file(tmp_path), DpoObjective()), paths)
    assert {(row.output, row.rejected) for row in run.split("train")} == {("billing", "feedback")}
    run = create_run(planned(tiny_plan, thumbs_file(tmp_path), KtoObjective()), paths)
    train = run.split("train")
    assert {(row.output, row.rejected) for row in train} == {("billing", ""), ("", "feedback")}
    assert all(row.output for row in run.split("test")), "what nobody liked is no answer to compare with"
    by_examples = planned(tiny_plan, thumbs_file(tmp_path), KtoObjective()).model_copy(
        update={"objective": tiny_plan().objective}
    )
    assert {row.output for row in create_run(by_examples, paths).split("train")} == {"billing"}


@pytest.mark.parametrize(
    ("strategy", "rate"),
    [(LoraStrategy(), 2e-3), (PromptTuningStrategy(num_virtual_tokens=6, init="random"), 2e-2), (FullStrategy(), 1e-4)],
    ids=lambda value: getattr(value, "type", ""),
)
def test_dpo_prefers_what_people_chose(
    tiny_plan: Plans, paths: Paths, tmp_path: Path, strategy: Any, rate: float
) -> None:
    plan = planned(tiny_plan, pairs_file(tmp_path), DpoObjective(), strategy=strategy, learning_rate=rate)
    trained = Trained(plan, paths)
    assert trained.trainer.ref_model is None, "no second model is held"
    base = load_base(trained.base, COMPUTE)
    assert margin(trained.trainer.model, trained.tokenizer) > margin(base, trained.tokenizer) + 0.5
    wanted = set(trained.before) if plan.strategy.form == "model" else {
        name for name in trained.before if "lora_" in name or "prompt_encoder" in name
    }  # fmt: skip
    assert trained.moved == wanted
    first = trained.trainer.state.log_history[0]
    if not strategy.virtual:  # random virtual tokens say something else from the start
        assert first["loss"] == pytest.approx(0.693, abs=0.02), "at the start the model is its own reference"
    artefact = trained.saved()
    torch.testing.assert_close(
        logits(reloaded(trained, artefact), trained.tokenizer), trained.logits(), atol=2e-4, rtol=1e-3
    )


def test_kto_learns_from_thumbs_alone(tiny_plan: Plans, paths: Paths, tmp_path: Path) -> None:
    plan = planned(tiny_plan, thumbs_file(tmp_path), KtoObjective(), learning_rate=5e-3)
    trained = Trained(plan, paths)
    base = load_base(trained.base, COMPUTE)
    assert margin(trained.trainer.model, trained.tokenizer) > margin(base, trained.tokenizer) + 0.5
    assert trained.moved == {name for name in trained.before if "lora_" in name}


def test_after_examples_the_reference_is_a_frozen_copy_that_is_not_exported(
    tiny_plan: Plans, trained: Started, paths: Paths, tmp_path: Path
) -> None:
    plan = planned(tiny_plan, pairs_file(tmp_path), DpoObjective(), parent=trained.run.path)
    run = create_run(plan, paths)
    base = Path(plan.base_model)
    tokenizer = load_tokenizer(base)
    trainer: Any = build_trainer(
        plan, run, load_base(base, COMPUTE, training=True), tokenizer, COMPUTE, [], trained.run.adapter
    )
    before = snapshot(trainer.model)
    assert any(".ref." in name for name in before)
    for name in before:
        if ".ref." in name:
            assert torch.equal(before[name], before[name.replace(".ref.", ".default.")])
    trainer.train()
    after = snapshot(trainer.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if ".default." in name}
    plan.strategy.save(trainer.model, run.adapter, None)
    assert not (run.adapter / "ref").exists()
    assert {path.name for path in run.adapter.glob("*.safetensors")} == {"adapter_model.safetensors"}


def test_a_whole_run_from_pairs_after_a_run_from_examples(
    tiny_plan: Plans, trained: Started, measured_paths: Paths, tmp_path: Path
) -> None:
    plan = planned(tiny_plan, pairs_file(tmp_path), DpoObjective(), parent=trained.run.path)
    run = create_run(plan, measured_paths)
    start(run)
    ended = wait_until_ended(run)
    assert ended.state == "done", run.log_tail()
    report = run.report()
    assert report is not None and report.tuned.value == 1.0
    assert any("rewards/margins" in line for line in run.metrics())


def test_a_fully_tuned_parent_is_the_base_of_the_next_run(
    tiny_plan: Plans, measured_paths: Paths, tmp_path: Path
) -> None:
    first = tiny_plan(epochs=1, learning_rate=1e-3).model_copy(update={"strategy": FullStrategy()})
    parent = finished(create_run(first, measured_paths))
    assert parent.artefact == parent.model
    plan = planned(
        tiny_plan, pairs_file(tmp_path), DpoObjective(), strategy=FullStrategy(), parent=parent.path, learning_rate=1e-5
    )
    run = finished(create_run(plan, measured_paths))
    report = run.report()
    assert report is not None and report.base_model == parent.id
    losses = [line["loss"] for line in run.metrics() if "loss" in line]
    assert losses[0] == pytest.approx(0.693, abs=0.02), "its reference is the parent, not the untouched base"


def finished(run: RunFolder) -> RunFolder:
    start(run)
    assert wait_until_ended(run).state == "done", run.log_tail()
    return run
