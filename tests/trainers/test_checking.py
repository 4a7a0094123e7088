"""What is refused before a model is loaded, with the field and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prompts.errors import PlanError, TunewrightError
from prompts.versions import PromptVersion
from tests.assistant.serving_kit import Shelf, build_shelf
from tests.trainers.runs import Started
from trainers.checking import check_plan
from trainers.data import Example
from trainers.hardware import Compute
from trainers.models import LocalModel
from trainers.objectives import DpoObjective, KtoObjective
from trainers.plan import EvaluationPlan, TrainingPlan
from trainers.splits import Shares, Splits
from trainers.strategies import (
    FullStrategy,
    ImportedStrategy,
    LoraStrategy,
    PrefixTuningStrategy,
    PromptTuningStrategy,
    QloraStrategy,
    Strategy,
)
from trainers.strategies.full import Unfreezing

Plans = Callable[..., TrainingPlan]
CPU = Compute(device="cpu", dtype="float32", reason="tests", gflops=1)
GPU = CPU.model_copy(update={"device": "cuda"})
ROWS = tuple(Example(row=i, input=f"ticket {i}", output="billing") for i in range(4))
SPLITS = Splits(train=ROWS, dev=ROWS[:1])


@pytest.fixture(scope="module")
def shelf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return build_shelf(tiny_model, tmp_path_factory.mktemp("adapters"))


def local(folder: Path) -> LocalModel:
    return LocalModel(ref=str(folder), kind="folder", name="tiny", folder=folder)


def checked(plan: TrainingPlan, splits: Splits = SPLITS, compute: Compute = CPU, **update: Any) -> list[str]:
    plan = plan.model_copy(update=update)
    return check_plan(plan, local(Path(plan.base_model)), compute, splits)


@pytest.mark.parametrize(
    ("strategy", "field", "why", "way_out"),
    [
        (LoraStrategy(r=200), "strategy.r", "rank 200 is above the width of", "Use at most 128"),
        (LoraStrategy(r=129, target_modules=("q_proj",)), "strategy.r", "the width of q_proj, which is 128", "128"),
        (LoraStrategy(target_modules=("query",)), "strategy.target_modules", "no module 'query'", "q_proj"),
        (LoraStrategy(target_modules="nonsense"), "strategy.target_modules", "no module 'nonsense'", "all-linear"),
        (LoraStrategy(target_modules=()), "strategy.target_modules", "names no module", "q_proj"),
        (LoraStrategy(target_modules=("q_proj", "lm_head")), "strategy.target_modules", "would not be trained", "out"),
        (QloraStrategy(), "strategy.type", "needs an NVIDIA GPU", "`type: lora`"),
        (PromptTuningStrategy(num_virtual_tokens=512), "", "", ""),
        (FullStrategy(unfreezing=Unfreezing(layers=2)), "strategy.unfreezing.layers", "all 2 of them", "fewer"),
        (ImportedStrategy(adapter=Path("/no/where")), "/no/where", "no readable adapter", ""),
    ],
)
def test_a_strategy_that_cannot_work_here(
    tiny_plan: Plans, strategy: Strategy, field: str, why: str, way_out: str
) -> None:
    if not field:
        assert checked(tiny_plan(), strategy=strategy) == []
        return
    with pytest.raises(TunewrightError) as caught:
        checked(tiny_plan(), strategy=strategy)
    assert caught.value.message.startswith(field) or field in caught.value.message
    assert why in caught.value.message
    assert way_out in caught.value.hint


def test_more_virtual_tokens_than_the_model_reads(tiny_plan: Plans, tiny_model: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(tiny_model, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 100}))
    with pytest.raises(PlanError, match=r"strategy\.num_virtual_tokens: 64 virtual tokens leave no room in the 100"):
        checked(tiny_plan(base_model=str(short)), strategy=PrefixTuningStrategy(num_virtual_tokens=64))


def test_qlora_without_bitsandbytes(tiny_plan: Plans) -> None:
    with pytest.raises(PlanError, match="needs the package bitsandbytes"):
        checked(tiny_plan(), compute=GPU, strategy=QloraStrategy())


@pytest.mark.parametrize(
    ("kind", "why"),
    [("wide", "was not trained on the model"), ("deep", "which is not there"), ("half", "is only half there")],
)
def test_an_adapter_of_another_base_or_half_of_one(
    tiny_plan: Plans, shelf: Shelf, tmp_path: Path, kind: str, why: str
) -> None:
    folder = shelf[kind]
    if kind == "half":
        folder = tmp_path / "half"
        shutil.copytree(shelf["lora"], folder)
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TunewrightError, match=why):
        checked(tiny_plan(), strategy=ImportedStrategy(adapter=folder))


def test_an_adapter_without_weights(tiny_plan: Plans, shelf: Shelf, tmp_path: Path) -> None:
    shutil.copy(shelf["lora"] / "adapter_config.json", tmp_path)
    with pytest.raises(PlanError, match="a configuration and no weights"):
        checked(tiny_plan(), strategy=ImportedStrategy(adapter=tmp_path))


def test_an_adapter_that_fits_is_taken(tiny_plan: Plans, shelf: Shelf) -> None:
    assert checked(tiny_plan(), strategy=ImportedStrategy(adapter=shelf["lora"])) == []


# Rows


def test_a_dev_split_that_is_empty(tiny_plan: Plans) -> None:
    with pytest.raises(TunewrightError, match="The dev split is empty: 4 rows leave none") as caught:
        checked(tiny_plan(), Splits(train=ROWS))
    assert "data.shares.dev" in caught.value.hint
    plan = tiny_plan()
    none = plan.data.model_copy(update={"shares": Shares(train=0.7, dev=0.0, test=0.25, arena=0.05)})
    assert "no dev rows" in checked(plan, Splits(train=ROWS), data=none)[0]


@pytest.mark.parametrize("split", ["training", "dev"])
def test_rows_that_leave_no_room_for_an_answer(tiny_plan: Plans, split: str) -> None:
    long = tuple(Example(row=i, input="word " * 40, output="x") for i in range(2))
    splits = Splits(train=long, dev=ROWS[:1]) if split == "training" else Splits(train=ROWS, dev=long)
    with pytest.raises(TunewrightError, match=rf"training\.max_tokens: every prompt of the {split} rows") as caught:
        checked(tiny_plan(max_tokens=64), splits)
    assert "Raise max_tokens" in caught.value.hint


def test_pairs_whose_two_sides_are_equal(tiny_plan: Plans) -> None:
    pairs = tuple(
        Example(row=i, input="q", output="Good", rejected="good " if i in (2, 3) else "bad") for i in range(5)
    )
    with pytest.raises(TunewrightError, match="the same in row 2, 3") as caught:
        checked(tiny_plan(), Splits(train=pairs, dev=pairs[:1]), objective=DpoObjective())
    assert "Drop these rows" in caught.value.hint


@pytest.mark.parametrize(
    ("objective", "rows", "needs"),
    [
        (DpoObjective(), ROWS, "a chosen and a rejected answer"),
        (KtoObjective(), (Example(row=1, input="q", output=""),), "a thumb up or down"),
    ],
)
def test_rows_that_an_objective_cannot_learn_from(tiny_plan: Plans, objective: Any, rows: Any, needs: str) -> None:
    with pytest.raises(TunewrightError, match=needs):
        checked(tiny_plan(), Splits(train=rows, dev=rows), objective=objective)


# The parent


def test_a_parent_that_does_not_go_with_the_plan(tiny_plan: Plans, trained: Started, tmp_path: Path) -> None:
    plan, run = trained.run.plan(), trained.run.path
    assert checked(plan, parent=run) == []
    for update, why in (
        ({"parent": tmp_path}, "holds no finished run"),
        ({"parent": run, "strategy": LoraStrategy(r=4)}, "the parent's rank is 8, not 4"),
        ({"parent": run, "strategy": FullStrategy()}, "it is LoRA, which cannot go on as Full tuning"),
        ({"parent": run, "base_model": "embedded"}, "this plan's base model is embedded"),
    ):
        with pytest.raises(PlanError, match=why):
            check_plan(plan.model_copy(update=update), local(trained.base), CPU, SPLITS)


def test_a_soft_prompt_is_no_parent(trained: Started, tmp_path: Path) -> None:
    run = shutil.copytree(trained.run.path, tmp_path / "soft")
    file = run / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "peft_type": "P_TUNING"}))
    with pytest.raises(PlanError, match="PEFT trains no saved soft prompt on"):
        checked(trained.run.plan(), parent=run)


# The chat template


def changed_template(tiny_model: Path, folder: Path, change: Callable[[str], str]) -> Path:
    shutil.copytree(tiny_model, folder)
    file = folder / "chat_template.jinja"
    file.write_text(change(file.read_text()))
    return folder


def test_a_template_that_teaches_no_end(tiny_plan: Plans, tiny_model: Path, tmp_path: Path) -> None:
    endless = changed_template(tiny_model, tmp_path / "a", lambda text: text.replace("<|im_end|>", ""))
    [warning] = checked(tiny_plan(base_model=str(endless)))
    assert "no end token" in warning


def test_a_template_that_begins_answers_otherwise(tiny_plan: Plans, tiny_model: Path, tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think></think>")

    [warning] = checked(tiny_plan(base_model=str(changed_template(tiny_model, tmp_path / "b", change))))
    assert "begins an answer otherwise" in warning


def test_a_template_that_refuses_the_prompt(tiny_plan: Plans, tiny_model: Path, tmp_path: Path) -> None:
    def change(text: str) -> str:
        return "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + text

    plan = tiny_plan(base_model=str(changed_template(tiny_model, tmp_path / "c", change)))
    with pytest.raises(PlanError, match="no system turn"):
        checked(plan, prompt=PromptVersion(system="Be brief."))


@pytest.mark.parametrize(
    ("how", "content", "told"),
    [
        ("pairs", "sent_more,bias_type\na,age\n", "mine.csv has no column 'sent_less'"),
        ("general_text", "too short", "mine.csv holds no paragraph"),
        ("own_tasks", "input,output\n", "mine.csv"),
    ],
)
def test_a_file_that_the_report_could_not_use(
    tiny_plan: Plans, tiny_model: Path, tmp_path: Path, how: str, content: str, told: str
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(content)
    given: dict[str, Any] = {how: (file,) if how == "own_tasks" else file}
    examined = EvaluationPlan.model_validate(given)
    with pytest.raises(TunewrightError, match=told):
        check_plan(tiny_plan().model_copy(update={"evaluation": examined}), local(tiny_model), CPU, SPLITS)
    left_out = examined.model_copy(update={"probes": ("curves",)})
    check_plan(tiny_plan().model_copy(update={"evaluation": left_out}), local(tiny_model), CPU, SPLITS)
