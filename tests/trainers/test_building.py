"""What a training learns from, and that it is the same every time."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.trainer.utils

from prompts.errors import ModelError
from prompts.versions import Demonstration, PromptVersion
from trainers.building import build_trainer
from trainers.data import guess_mapping
from trainers.hardware import Compute
from trainers.jobs import create_run
from trainers.modeling import load_base, load_tokenizer
from trainers.objectives import SftObjective
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.reading import read_table
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


SHAPES: dict[str, dict[str, Any]] = {
    "text and label": {"text": "Ticket {n} is open", "label": "answer {n}"},
    "prompt and completion": {"prompt": "Ticket {n} is open", "completion": "answer {n}"},
    "instruction": {"instruction": "Ticket {n}", "input": "is open", "output": "answer {n}"},
    "messages": {
        "messages": [{"role": "user", "content": "Ticket {n} is open"}, {"role": "assistant", "content": "answer {n}"}]
    },
    "conversations": {
        "conversations": [{"from": "human", "value": "Ticket {n} is open"}, {"from": "gpt", "value": "answer {n}"}]
    },
    "preference": {"prompt": "Ticket {n} is open", "chosen": "answer {n}", "rejected": "no answer {n}"},
    "thumbs": {"prompt": "Ticket {n} is open", "completion": "answer {n}", "label": True},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_data_is_learned_by_its_answers_alone(
    tiny_plan: Plans, paths: Paths, tmp_path: Path, shape: str
) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps(SHAPES[shape]).replace("{n}", str(n)) for n in range(30)]
    file.write_text("\n".join(lines), "utf-8")
    plan = tiny_plan(epochs=0.5)
    data = plan.data.model_copy(update={"path": file, "columns": guess_mapping(read_table(file))})
    plan = plan.model_copy(update={"data": data})
    trainer = built(plan, create_run(plan, paths))
    batch = trainer.data_collator([trainer.train_dataset[0]])
    decode = trainer.processing_class.decode
    whole, learnt = decode(batch["input_ids"][0]), decode(batch["labels"][0][batch["labels"][0] != -100])
    number = re.search(r"Ticket (\d+)\s+is open<", whole)
    assert number and learnt == f"answer {number[1]}<|im_end|>\n"
    trainer.train()
    assert all(math.isfinite(line["loss"]) for line in trainer.state.log_history if "loss" in line)


def test_packed_rows_share_sequences_and_see_only_themselves(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=1)
    packed = plan.model_copy(update={"objective": SftObjective(packing=True)})
    trainer, plain = built(packed, create_run(packed, paths)), built(plan, create_run(plan, paths))
    assert len(trainer.train_dataset) < len(plain.train_dataset) / 2
    # What is learned from is the same, and before any step so is the loss on the dev rows.
    learnt = [sum(label != -100 for row in t.train_dataset for label in row["labels"]) for t in (trainer, plain)]
    assert learnt[0] == learnt[1] > 0
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain.evaluate()["eval_loss"], rel=1e-3)
    trainer.train()


def test_the_head_is_computed_only_where_there_is_loss(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=0.1)
    trainer = built(plan, create_run(plan, paths))
    asked: list[int] = []
    kernel = trl.trainer.utils._ChunkedLogProbFunction.apply

    def counted(hidden: torch.Tensor, *more: Any) -> Any:
        asked.append(hidden.reshape(-1, hidden.shape[-1]).shape[0])
        return kernel(hidden, *more)

    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trl.trainer.utils._ChunkedLogProbFunction, "apply", counted)
        trainer.compute_loss(trainer.model, batch)
    assert asked == [int((batch["labels"] != -100).sum())] != [batch["input_ids"].numel()]
