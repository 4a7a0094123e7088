"""What a training learns from, and that it is the same every time."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts.errors import ModelError
from prompts.versions import Demonstration, PromptVersion
from trainers.building import build_trainer
from trainers.hardware import Compute
from trainers.jobs import create_run
from trainers.modeling import load_base, load_tokenizer
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder

Plans = Callable[..., TrainingPlan]
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)


def built(plan: TrainingPlan, run: RunFolder) -> Any:
    folder = Path(plan.base_model)
    model = load_base(folder, COMPUTE, training=True)
    return build_trainer(plan, run, model, load_tokenizer(folder), COMPUTE, [])


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_same_plan_gives_the_same_adapter(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=0.5)
    weights = []
    for _ in range(2):
        torch.rand(1)  # whatever was drawn before must not matter
        trainer = built(plan, create_run(plan, paths))
        trainer.train()
        weights.append(snapshot(trainer.model))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_epoch_with_the_lowest_dev_loss_is_kept(tiny_plan: Plans, paths: Paths, tmp_path: Path) -> None:
    plan = tiny_plan(epochs=5)
    chance = tmp_path / "chance.csv"  # the answers follow no rule, so what is learnt by heart spoils the dev rows
    draw = random.Random(0)
    rows = [f"Ticket {i} about {draw.random()},{draw.choice(['billing', 'returns'])}" for i in range(80)]
    chance.write_text("text,label\n" + "\n".join(rows))
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"path": chance})})
    trainer = built(plan, create_run(plan, paths))
    trainer.train()
    dev = [line["eval_loss"] for line in trainer.state.log_history if "eval_loss" in line]
    assert len(dev) == 5
    assert min(dev) < dev[-1], "otherwise this test shows nothing"
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(dev), rel=1e-4)


def test_only_the_answer_carries_loss(tiny_plan: Plans, paths: Paths) -> None:
    shown = (Demonstration(input="Ticket 0 about shown", output="shown"),)
    prompt = PromptVersion(system="Classify the ticket.", template="> {{ input }}", demonstrations=shown)
    plan = tiny_plan().model_copy(update={"prompt": prompt})
    run = create_run(plan, paths)
    trainer = built(plan, run)
    rows = {example.input: example.output for example in run.split("train")}
    assert len(trainer.train_dataset) == len(rows)
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        text = trainer.processing_class.decode(ids)
        learnt = trainer.processing_class.decode(labels[labels != -100])
        [asked] = [said for said in rows if f"> {said}<" in text]
        assert text == (
            "<|im_start|>system\nClassify the ticket.<|im_end|>\n"
            "<|im_start|>user\n> Ticket 0 about shown<|im_end|>\n<|im_start|>assistant\nshown<|im_end|>\n"
            f"<|im_start|>user\n> {asked}<|im_end|>\n<|im_start|>assistant\n{rows[asked]}<|im_end|>\n"
        )
        assert learnt == f"{rows[asked]}<|im_end|>\n"


def test_training_looks_at_no_other_split(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan()
    run = create_run(plan, paths)
    for name in ("test", "arena"):
        (run.path / "data" / f"{name}.jsonl").unlink()
    trainer = built(plan, run)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (48, 8)


def test_a_plan_without_dev_rows_trains_without_looking_back(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=0.5)
    shares = plan.data.shares.model_copy(update={"train": 0.7, "dev": 0.0})
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"shares": shares})})
    trainer = built(plan, create_run(plan, paths))
    assert trainer.eval_dataset is None
    trainer.train()
    assert not any("eval_loss" in line for line in trainer.state.log_history)


def test_a_model_without_a_chat_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "chat_template.jinja":
            (folder / path.name).symlink_to(path)
    with pytest.raises(ModelError, match="plain has no chat template"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_folder_is_named_with_the_reason(tiny_model: Path, tmp_path: Path, name: str) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()
    (tmp_path / name).write_text("{")
    with pytest.raises(ModelError) as caught:
        load_tokenizer(tmp_path)
        load_base(tmp_path, COMPUTE)
    assert str(tmp_path) in caught.value.message
    assert "\n" not in str(caught.value)
