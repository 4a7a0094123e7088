"""The plan file: what it takes, and what it says when something in it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.errors import PlanError
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Mapping
from trainers.edits import Edit
from trainers.plan import DataPlan, Optimization, TrainingPlan, parse_plan, read_plan
from trainers.strategies.lora import LoraStrategy

DATA = "data: {path: data.csv, columns: {input: text, output: label}}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_plan_survives_being_written_and_read(tmp_path: Path) -> None:
    plan = TrainingPlan(
        name="Größe",
        data=DataPlan(
            path=tmp_path / "a.csv",
            columns=Mapping(input="t", output="l", split="set"),
            edits=(Edit(action="drop_rows", words="Drop two", count=2, rows=tmp_path / "edit.jsonl"),),
        ),
        prompt=PromptVersion(
            system="Line one.\nLine two: {{ no }}",
            template="> {{ input }}",
            demonstrations=(Demonstration(input="a", output="b"),),
            parent="123456789012",
        ),
        strategy=LoraStrategy(r=4, target_modules=("q_proj", "v_proj")),
        training=Optimization(epochs=1.5),
    )
    again = read_plan(written(tmp_path, plan.to_yaml()))
    assert again == plan
    assert again.prompt.id == plan.prompt.id


def test_a_minimal_plan_gets_the_defaults(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, DATA))
    assert plan.base_model == "embedded"
    assert plan.strategy == LoraStrategy()
    assert plan.evaluation.metric == "exact match"


def test_relative_paths_count_from_the_plans_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    columns = "columns: {input: t, output: l}"
    edits = "edits: [{action: mask, words: Mask, count: 1, rows: ~/mask.jsonl}]"
    plan = read_plan(written(tmp_path, f"data: {{path: sub/a.csv, {columns}, {edits}}}\nbase_model: ./model\n"))
    assert plan.data.path == tmp_path / "sub/a.csv"
    assert plan.data.edits[0].rows == tmp_path / "me/mask.jsonl"
    assert Path(plan.base_model) == tmp_path / "model"


@pytest.mark.parametrize("ref", ["embedded", "Qwen/Qwen3-0.6B"])
def test_a_base_model_that_is_no_path_stays_as_it_is(tmp_path: Path, ref: str) -> None:
    (tmp_path / "embedded").mkdir()
    assert read_plan(written(tmp_path, f"base_model: {ref}\n{DATA}")).base_model == ref


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (DATA + "base_mdel: embedded\n", "unknown key 'base_mdel'", "Did you mean 'base_model'?"),
        (DATA + "training: {epoch: 3}\n", "unknown key 'training.epoch'", "Did you mean 'epochs'?"),
        (DATA + "strategy: {rank: 3}\n", "unknown key 'strategy.rank'", "The keys there are: type, r, alpha"),
        (DATA + "prompt: {sytem: x}\n", "unknown key 'prompt.sytem'", "Did you mean 'system'?"),
        (
            DATA + "prompt: {demonstrations: [{input: a, output: b, otput: c}]}\n",
            "unknown key 'prompt.demonstrations.0.otput'",
            "Did you mean 'output'?",
        ),
        (DATA + "evaluation: {metrik: chrF}\n", "unknown key 'evaluation.metrik'", "Did you mean 'metric'?"),
        (DATA.replace("input:", "imput:"), "'data.columns.input' is missing", "Add it."),
        ("name: x\n", "'data' is missing", "Add it."),
        (DATA + "training: {epochs: 0}\n", "'training.epochs' is 0, but it should be greater than 0", ""),
        (DATA + "training: {batch_size: many}\n", "'training.batch_size' is 'many', but it should be a valid", ""),
        (DATA + "training: 3\n", "'training' is 3, but it should be a valid dictionary", ""),
        (DATA + "training: {learning_rate: 2}\n", "'training.learning_rate' is 2", ""),
        (
            DATA + "evaluation: {metric: accuracy}\n",
            "'evaluation.metric' is 'accuracy', but the metrics are: exact",
            "",
        ),
        (DATA + "prompt: {template: hello}\n", "'prompt.template' is 'hello', but the template never uses", ""),
        (DATA + "objective: {type: dop}\n", "'objective.type' is 'dop', which there is not", "Did you mean 'dpo'?"),
        (DATA + "strategy: {type: adapter}\n", "'strategy.type' is 'adapter'", "Use one of: lora, qlora"),
        (DATA + "strategy: {type: full, unfreezing: {layer: 2}}\n", "'strategy.unfreezing.layer'", "'layers'"),
        (DATA + "strategy: {type: lora, init: orthogonal, r: 3}\n", "needs an even r", ""),
        (DATA + "strategy: {type: lora, init: pissa, use_dora: true}\n", "DoRA with pissa cannot be", ""),
        (
            DATA + "strategy: {type: p_tuning}\nobjective: {type: sft, packing: true}\n",
            "rows cannot be packed with P-tuning",
            "Change one of the two.",
        ),
        (DATA + "strategy: {type: few_shot}\nobjective: {type: dpo}\n", "Few-shot trains nothing", ""),
        (DATA + "strategy: {init: olora}\nobjective: {type: dpo}\n", "leaves no parent to compare with", ""),
        (DATA + "objective: {type: kto}\ntraining: {batch_size: 1}\n", "batch_size must be at least 2", ""),
        (
            "data: {path: a, columns: {input: a, output: b}, shares: {train: 0.9}}\n",
            "'data.shares': the shares must",
            "",
        ),
        ("", "is not a plan", "Start with"),
        ("- a\n- b\n", "is not a plan", "Start with"),
        ("just words\n", "is not a plan", "Start with"),
        ("data: {path: a\nname: [", "is not valid YAML", "Mend that line."),
        ("data:\n\tpath: a\n", "is not valid YAML", "Mend that line."),
    ],
)
def test_a_wrong_plan_is_refused_with_the_key_and_the_way_out(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, text))
    assert "plan.yaml" in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_missing_plan_and_one_that_is_not_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no plan"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path / "binary.yaml")
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path)


def test_values_without_a_file_are_checked_too() -> None:
    with pytest.raises(PlanError, match="The plan: unknown key 'dta'"):
        parse_plan({"dta": 1, "data": {"path": "a", "columns": {"input": "a", "output": "b"}}})
