"""The plain script gives what our own trainer gives, in a process that cannot import a line of ours."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prompts.errors import PlanError
from prompts.versions import PromptVersion
from tests.trainers.runs import Started
from tests.trainers.test_preference import pairs_file, planned, thumbs_file
from tests.trainers.test_strategies import FULL, LORA, PROMPT, SOFT
from trainers.building import build_trainer
from trainers.checking import parent_adapter
from trainers.hardware import Compute
from trainers.jobs import create_run
from trainers.modeling import load_base, load_tokenizer
from trainers.objectives import DpoObjective, KtoObjective, SftObjective
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.script import literal, write_script
from trainers.strategies import FewShotStrategy, FullStrategy, LoraStrategy, MetaLoraStrategy, QloraStrategy, Strategy

Plans = Callable[..., TrainingPlan]
pytestmark = pytest.mark.filterwarnings("ignore:lora with eva initialization", "ignore:.*changes the base weights")
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)

# Runs scripts one after the other, since torch takes longer to import than a tiny model to train. What `-I` leaves of
# an editable install is taken out, and the three names are made impossible to import.
DRIVER = """
import runpy, sys, traceback
home, *scripts = sys.argv[1:]
sys.path = [entry for entry in sys.path if entry and entry.rstrip("/") != home]
for name in ("prompts", "trainers", "assistant"):
    sys.modules[name] = None
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} can be imported")
for script in scripts:
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception:
        print("in", script, file=sys.stderr)
        traceback.print_exc()
assert not [name for name in sys.modules if name.startswith(("prompts.", "trainers.", "assistant."))]
"""


@dataclass(frozen=True)
class Case:
    name: str
    plan: TrainingPlan
    script: Path
    said: str = ""

    @property
    def folder(self) -> Path:
        return self.script.parent


def by_strategy(tiny_plan: Plans, strategy: Strategy, **training: Any) -> TrainingPlan:
    rate = {"adapter": 5e-3, "model": 1e-3}[strategy.form]
    plan = tiny_plan(**{"epochs": 2, "learning_rate": rate, "seed": 5, **training})
    return plan.model_copy(update={"strategy": strategy, "prompt": PROMPT})


def plans(tiny_plan: Plans, folder: Path, parent: Path) -> dict[str, TrainingPlan]:
    found = {f"sft-{i}-{s.type}": by_strategy(tiny_plan, s) for i, s in enumerate([*LORA, *SOFT, *FULL])}
    pairs, thumbs = pairs_file(folder), thumbs_file(folder)
    for name, path, objective in (("dpo", pairs, DpoObjective(loss="ipo")), ("kto", thumbs, KtoObjective(beta=0.3))):
        for strategy in (LORA[0], SOFT[2], FullStrategy()):
            rate = 1e-4 if strategy.form == "model" else 2e-3
            more = {"strategy": strategy, "prompt": PROMPT, "learning_rate": rate}
            found[f"{name}-{strategy.type}"] = planned(tiny_plan, path, objective, **more)
    found["dpo-parent"] = planned(tiny_plan, pairs, DpoObjective(), parent=parent)
    found["sft-parent"] = tiny_plan(epochs=1).model_copy(update={"parent": parent})
    plain = by_strategy(
        tiny_plan, LORA[0], gradient_accumulation=2, evaluations_per_epoch=2, gradient_checkpointing=True
    )
    found["sft-often"] = plain
    found["sft-packed"] = plain.model_copy(update={"objective": SftObjective(packing=True)})
    shares = plain.data.shares.model_copy(update={"train": 0.7, "dev": 0.0})
    found["sft-no-dev"] = plain.model_copy(update={"data": plain.data.model_copy(update={"shares": shares})})
    few = plain.data.model_copy(update={"max_train_rows": 10})
    found["sft-few-rows"] = plain.model_copy(update={"data": few})
    return found


NAMES = [
    *(f"sft-{i}-{s.type}" for i, s in enumerate([*LORA, *SOFT, *FULL])),
    *(f"{objective}-{kind}" for objective in ("dpo", "kto") for kind in ("lora", "p_tuning", "full")),
    *("dpo-parent", "sft-parent", "sft-often", "sft-packed", "sft-no-dev", "sft-few-rows"),
]


@pytest.fixture(scope="module")
def cases(
    tiny_plan: Plans, trained: Started, measured: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    """All scripts, written and run, each in a folder of its own."""
    root = tmp_path_factory.mktemp("scripts")
    paths = Paths(home=root / "home", cache=measured)
    made = {
        name: Case(name, plan, write_script(plan, paths, root / name, COMPUTE))
        for name, plan in plans(tiny_plan, root, trained.run.path).items()
    }
    home = Path(__file__).parents[2]
    command = [sys.executable, "-I", "-c", DRIVER, str(home), *(str(case.script) for case in made.values())]
    env = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(root)}
    ran = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {name: Case(name, case.plan, case.script, ran.stderr) for name, case in made.items()}


def ours(plan: TrainingPlan, paths: Paths) -> Path:
    """What our own trainer leaves; the artefact's folder."""
    run, folder = create_run(plan, paths), Path(plan.base_model)
    model, tokenizer = load_base(folder, COMPUTE, training=True), load_tokenizer(folder)
    trainer = build_trainer(plan, run, model, tokenizer, COMPUTE, [], parent_adapter(plan))
    trainer.train()
    target = run.model if plan.strategy.form == "model" else run.adapter
    plan.strategy.save(trainer.model, target, run.begun if run.begun.exists() else None)
    return target


@pytest.mark.parametrize("name", NAMES)
def test_the_script_s_weights_are_the_worker_s(cases: dict[str, Case], paths: Paths, name: str) -> None:
    case = cases[name]
    expected = ours(case.plan, paths)
    found = case.folder / expected.name
    assert found.is_dir(), case.said[-3000:]
    weights = f"{'model' if expected.name == 'model' else 'adapter_model'}.safetensors"
    mine, theirs = load_file(expected / weights), load_file(found / weights)
    assert mine.keys() == theirs.keys()
    for key, weight in mine.items():
        torch.testing.assert_close(
            theirs[key], weight, atol=2e-5, rtol=1e-3, msg=lambda told, key=key: f"{key}: {told}"
        )
    if expected.name == "adapter":
        assert config(found) == config(expected)


def config(adapter: Path) -> dict[str, Any]:
    found = dict(json.loads((adapter / "adapter_config.json").read_text()))
    return {**found, "target_modules": sorted(found.get("target_modules") or [])}


def test_another_seed_gives_other_weights(cases: dict[str, Case], tiny_plan: Plans, paths: Paths) -> None:
    """Otherwise the comparison above would show nothing."""
    other = load_file(ours(by_strategy(tiny_plan, LORA[0], seed=6), paths) / "adapter_model.safetensors")
    found = load_file(cases["sft-0-lora"].folder / "adapter" / "adapter_model.safetensors")
    assert max(float((found[key] - weight).abs().max()) for key, weight in other.items()) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_the_script_reads_as_if_a_person_had_written_it(cases: dict[str, Case], name: str) -> None:
    text = cases[name].script.read_text("utf-8")
    assert text.count("\n") < 170
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    brought = {alias.name for node in ast.parse(text).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert brought <= used, "nothing is imported for nothing"
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--isolated", "--line-length=120"]
    told = subprocess.run([*ruff, "format", "--diff", *settings, "-"], input=text, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout
    told = subprocess.run(
        [*ruff, "check", "--select=E,F,W,I,B", "--ignore=E501", *settings, "-"],
        input=text,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout


def test_the_rows_are_in_trl_s_columns(cases: dict[str, Case]) -> None:
    def first(name: str) -> dict[str, Any]:
        return dict(json.loads((cases[name].folder / "train.jsonl").read_text("utf-8").partition("\n")[0]))

    sft, dpo, kto = (first(name) for name in ("sft-0-lora", "dpo-lora", "kto-lora"))
    assert [message["role"] for message in sft["prompt"]] == ["system", "user"]
    assert sft["completion"] == [{"role": "assistant", "content": sft["prompt"][1]["content"].split()[-1]}]
    assert dpo.keys() == {"prompt", "chosen", "rejected"}
    assert kto.keys() == {"prompt", "completion", "label"}
    assert not (cases["sft-no-dev"].folder / "dev.jsonl").exists()
    assert (cases["sft-few-rows"].folder / "train.jsonl").read_text("utf-8").count("\n") == 10


def named(node: ast.Call, name: str) -> bool:
    return ast.unparse(node.func) == name


def test_qlora_is_written_for_an_nvidia_gpu_where_there_is_none(
    tiny_plan: Plans, measured_paths: Paths, tmp_path: Path
) -> None:
    plan = by_strategy(tiny_plan, QloraStrategy(r=4, quantization="fp4"))
    text = write_script(plan, measured_paths, tmp_path).read_text("utf-8")
    assert "pip install bitsandbytes" in text
    assert "Written for an NVIDIA GPU in bfloat16" in text
    [made] = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and named(node, "BitsAndBytesConfig")
    ]
    bits = {keyword.arg: ast.unparse(keyword.value) for keyword in made.keywords}
    assert bits == {
        "load_in_4bit": "True",
        "bnb_4bit_quant_type": "'fp4'",
        "bnb_4bit_use_double_quant": "True",
        "bnb_4bit_compute_dtype": "torch.bfloat16",
    }
    with pytest.raises(PlanError, match="would change quantized weights"):
        write_script(by_strategy(tiny_plan, QloraStrategy(init="pissa")), measured_paths, tmp_path)


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (FewShotStrategy(), "Few-shot trains nothing"),
        (MetaLoraStrategy(), "Meta-learned LoRA needs more than TRL"),
        (LoraStrategy(r=500), "rank 500 is above"),
        (SOFT[0], "no system prompt to begin from"),
    ],
)
def test_what_cannot_be_trained_is_not_written(
    tiny_plan: Plans, measured_paths: Paths, tmp_path: Path, strategy: Strategy, told: str
) -> None:
    plan = tiny_plan().model_copy(update={"strategy": strategy})
    with pytest.raises(PlanError, match=told):
        write_script(plan, measured_paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_person_typed_stays_text(tiny_plan: Plans, measured_paths: Paths, tmp_path: Path) -> None:
    nasty = 'mine"""\nraise SystemExit("run")\n\\'
    prompt = PromptVersion(system='Say "yes"\nor\\no\u2028{{ 1 + 1 }} {% raise %} é')
    plan = by_strategy(tiny_plan, SOFT[0]).model_copy(update={"name": nasty, "prompt": prompt})
    tree = ast.parse(write_script(plan, measured_paths, tmp_path).read_text("utf-8"))
    assert not any(isinstance(node, ast.Raise) for node in ast.walk(tree))
    kept = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROMPT"
    ]
    assert [ast.literal_eval(value) for value in kept] == [prompt.system]


@pytest.mark.parametrize("value", ["a\"b'\\n\n\t\x00é\u2028", 0.1, 1e-5, True, None, 3, ["x", 1], ("y",)])
def test_values_come_back_as_they_were(value: Any) -> None:
    back = ast.literal_eval(literal(value))
    assert back == (list(value) if isinstance(value, tuple) else value)
