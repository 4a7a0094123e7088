"""A plan as a plain TRL script: a folder that trains without Tunewright and gives what our own worker gives.

Owns the folder (train.py, the rows in TRL's columns) and the translation of a plan to calls of TRL, PEFT and
transformers as text; `script.py.jinja` beside this file is the script's frame. Refuses to run it, and what the worker
does about troubles on the way (memory, an explosion, a kill). Never imports torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from prompts.errors import PlanError
from trainers.arguments import arguments
from trainers.checking import check_plan, parent_adapter
from trainers.dataset import load_dataset
from trainers.hardware import Compute, choose_compute
from trainers.jobs import splits_for
from trainers.models import LocalModel
from trainers.objectives import DpoObjective, KtoObjective, SftObjective
from trainers.parents import base_of
from trainers.paths import Paths, write_atomically
from trainers.plan import TrainingPlan
from trainers.rows import as_rows
from trainers.splits import Splits
from trainers.status import RunFolder
from trainers.strategies import FullStrategy, LoraStrategy, QloraStrategy, Strategy
from trainers.strategies.p_tuning import PTuningStrategy
from trainers.strategies.soft_prompts import SoftPrompt
from trainers.strategies.strategy import refuse

SCRIPT = "train.py"
_PEFT = {
    "lora": "LoraConfig",
    "qlora": "LoraConfig",
    "prompt_tuning": "PromptTuningConfig",
    "p_tuning": "PromptEncoderConfig",
    "prefix_tuning": "PrefixTuningConfig",
}
_TRAINER = {"sft": "SFT", "dpo": "DPO", "kto": "KTO"}
_NVIDIA = Compute(device="cuda", dtype="bfloat16", reason="QLoRA needs an NVIDIA GPU", gflops=0)


class Code(str):
    """Text that stands in the script as it is, without quotes."""


@dataclass(frozen=True)
class _Rows:
    train: list[dict[str, Any]]
    dev: list[dict[str, Any]]


def write_script(plan: TrainingPlan, paths: Paths, folder: Path, compute: Compute | None = None) -> Path:
    """Write train.py, train.jsonl and, where there are dev rows, dev.jsonl into `folder`; the script's path.

    `compute` is what it is written for: this machine as measured, or an NVIDIA GPU for QLoRA. A parent's adapter is
    copied into the folder. Raises `PlanError` for a strategy that trains nothing and for all that would make the
    training fail; `DataError` and `ModelError` as a run would.
    """
    _require_trainable(plan)
    base = base_of(plan, paths)
    compute = compute or (_NVIDIA if isinstance(plan.strategy, QloraStrategy) else choose_compute(paths.cache))
    splits = _splits(plan)
    check_plan(_checked(plan), base, compute, splits)
    rows = _Rows(
        *(as_rows(plan.objective.usable(part), plan.prompt, plan.objective.type) for part in (splits.train, splits.dev))
    )
    parent = parent_adapter(plan)
    text = script_text(plan, base, compute, rows=len(rows.train), with_dev=bool(rows.dev), parent=parent is not None)
    for name, part in (("train", rows.train), ("dev", rows.dev)):
        if part:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
            write_atomically(folder / f"{name}.jsonl", lines)
    if parent is not None:
        shutil.copytree(parent, folder / "parent", dirs_exist_ok=True)
    write_atomically(folder / SCRIPT, text)
    return folder / SCRIPT


def script_text(
    plan: TrainingPlan, base: LocalModel, compute: Compute, *, rows: int, with_dev: bool, parent: bool = False
) -> str:
    """The script itself, for so many training rows. With `parent`, it begins from the adapter in the folder parent."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"literal": literal, "call": call, "docstring": _in_docstring}
    template = environment.from_string(files(__package__).joinpath("script.py.jinja").read_text("utf-8"))
    strategy, objective = plan.strategy, plan.objective
    peft = None if parent else _peft_arguments(strategy)
    parts = {
        "plan": plan,
        "strategy": strategy,
        "objective": objective,
        "compute": compute,
        "base": base.ref if base.kind == "hub" else str(base.folder),
        "versions": " ".join(f"{name}=={version(name).partition('+')[0]}" for name in _packages(strategy)),
        "kind": _TRAINER[objective.type],
        "arguments": _trainer_arguments(plan, compute, rows, with_dev),
        "load": _load_arguments(plan, compute),
        "peft": (_PEFT[strategy.type], peft) if peft is not None else None,
        "parent": parent,
        "with_dev": with_dev,
        "from_prompt": not parent and isinstance(strategy, SoftPrompt) and strategy.init == "prompt",
        "keeps_network": with_dev and isinstance(strategy, PTuningStrategy),
        "eva": not parent and getattr(strategy, "init", "") == "eva",
        "alters_base": not parent and strategy.form == "adapter" and not strategy.keeps_base,
        "decay": strategy.layer_decay if isinstance(strategy, FullStrategy) else 1.0,
        "unfreezing": strategy.unfreezing if isinstance(strategy, FullStrategy) else None,
        "like_lengths": isinstance(objective, SftObjective) and not objective.packing,
        "computes_first": getattr(strategy, "init", "default") != "default" and isinstance(strategy, LoraStrategy),
        "callbacks": _callbacks(plan, with_dev),
        "artefact": strategy.form,
        "script": SCRIPT,
    }
    return template.render(parts, imports=_imports(parts))


def _require_trainable(plan: TrainingPlan) -> None:
    strategy = plan.strategy
    if not strategy.trains:
        told = f"{strategy.title} trains nothing, so that there is no script to write"
        raise refuse("type", told, "Use lora, or start a run: it needs no training.")
    if not strategy.by_trl:
        told = f"{strategy.title} needs more than TRL, so that there is no plain script of it"
        raise refuse("type", told, "Start a run instead: `tunewright train`.")
    if plan.data.general_rows:
        told = f"data.general_rows is {plan.data.general_rows}: a run has the base write these, and a script cannot."
        raise PlanError(told, hint="Set it to 0, or start a run instead: `tunewright train`.")
    if isinstance(strategy, SoftPrompt) and strategy.init == "prompt" and not plan.prompt.system.strip():
        raise refuse("init", "there is no system prompt to begin from", "Write one, or use `init: random`.")


def _splits(plan: TrainingPlan) -> Splits:
    """The rows as a run of this plan would see them."""
    data = load_dataset(plan.data.path, plan.data.columns, plan.data.edits)
    splits = splits_for(plan, data)
    return replace(splits, train=splits.train[: plan.data.max_train_rows])


def _checked(plan: TrainingPlan) -> TrainingPlan:
    """The plan as it can be checked here: a script for a GPU may be written where there is none."""
    strategy = plan.strategy
    if not isinstance(strategy, QloraStrategy):
        return plan
    if not strategy.keeps_base:
        raise refuse("init", f"{strategy.init} would change quantized weights", "Use `init: default`.")
    lora = strategy.model_dump(exclude={"type", "quantization", "double_quantization"})
    return plan.model_copy(update={"strategy": LoraStrategy(**lora)})


# What the libraries are told


def _trainer_arguments(plan: TrainingPlan, compute: Compute, rows: int, with_dev: bool) -> dict[str, Any]:
    """The arguments of TRL's configuration; checkpoints go beside the script, and a progress bar may be shown."""
    shared = arguments(plan, RunFolder(Path()), compute, rows=rows, with_dev=with_dev)
    shared = {name: value for name, value in shared.items() if name != "disable_tqdm"}
    return {**shared, "output_dir": Code('str(HERE / "checkpoints")'), **_objective_arguments(plan)}


def _objective_arguments(plan: TrainingPlan) -> dict[str, Any]:
    objective = plan.objective
    # No second model is held: an adapter is switched off or copied, else the log-probabilities are computed first.
    reference = {"precompute_ref_log_probs": plan.strategy.form == "model"}
    if isinstance(objective, DpoObjective):
        return {"beta": objective.beta, "loss_type": [objective.loss], **reference}
    if isinstance(objective, KtoObjective):
        return {**objective.model_dump(include={"beta", "desirable_weight", "undesirable_weight"}), **reference}
    order = "random" if objective.packing else "group_by_length"
    return {"completion_only_loss": True, "packing": objective.packing, "train_sampling_strategy": order}


def _peft_arguments(strategy: Strategy) -> dict[str, Any] | None:
    """The arguments of PEFT's configuration; None where the base's own weights are trained."""
    if isinstance(strategy, LoraStrategy):
        return {
            "r": strategy.r,
            "lora_alpha": strategy.alpha,
            "lora_dropout": strategy.dropout,
            "target_modules": strategy.target_modules,
            "use_rslora": strategy.use_rslora,
            "use_dora": strategy.use_dora,
            "init_lora_weights": True if strategy.init == "default" else strategy.init,
            **({"eva_config": Code("EvaConfig(rho=1.0)")} if strategy.init == "eva" else {}),
            "task_type": "CAUSAL_LM",
        }
    if isinstance(strategy, SoftPrompt):
        width = {"encoder_hidden_size": strategy.encoder_hidden_size} if isinstance(strategy, PTuningStrategy) else {}
        return {"num_virtual_tokens": strategy.num_virtual_tokens, **width, "task_type": "CAUSAL_LM"}
    return None


def _load_arguments(plan: TrainingPlan, compute: Compute) -> dict[str, Any]:
    """The arguments of from_pretrained; weights that are trained are held in float32, as `modeling` has it."""
    whole = plan.strategy.form == "model" or compute.dtype == "float16"
    options: dict[str, Any] = {"dtype": Code(f"torch.{'float32' if whole else compute.dtype}")}
    if plan.trust_remote_code:
        options["trust_remote_code"] = True
    options["attn_implementation"] = "sdpa"
    if isinstance(plan.strategy, QloraStrategy):
        bits = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": plan.strategy.quantization,
            "bnb_4bit_use_double_quant": plan.strategy.double_quantization,
            "bnb_4bit_compute_dtype": Code(f"torch.{compute.dtype}"),
        }
        options["quantization_config"] = Code(call("BitsAndBytesConfig", bits, indent=4))
    return options


def _callbacks(plan: TrainingPlan, with_dev: bool) -> list[str]:
    patience, strategy = plan.training.patience, plan.strategy
    early = [f"EarlyStoppingCallback({patience})"] if with_dev and patience else []
    return [*early, *(["GradualUnfreezing()"] if isinstance(strategy, FullStrategy) and strategy.unfreezing else [])]


def _packages(strategy: Strategy) -> tuple[str, ...]:
    more = ("peft",) if strategy.form == "adapter" else ()
    return ("torch", "transformers", *more, "trl", "datasets", "accelerate")


def _imports(parts: Mapping[str, Any]) -> list[str]:
    """The script's import lines, in the order that ruff wants."""
    kind, strategy = parts["kind"], parts["strategy"]
    peft = [parts["peft"][0]] if parts["peft"] else []
    peft += ["PeftModel"] if parts["parent"] else []
    peft += ["EvaConfig", "initialize_lora_eva_weights"] if parts["eva"] else []
    shared = ["AutoModelForCausalLM", "AutoTokenizer", "set_seed"]
    shared += ["BitsAndBytesConfig"] if isinstance(strategy, QloraStrategy) else []
    shared += ["EarlyStoppingCallback"] if any("Early" in made for made in parts["callbacks"]) else []
    shared += ["TrainerCallback"] if parts["unfreezing"] else []
    found = {
        "datasets": ["Dataset"],
        "peft": peft,
        "transformers": shared,
        "transformers.trainer_pt_utils": ["LengthGroupedSampler"] if parts["like_lengths"] else [],
        "trl": [f"{kind}Config", f"{kind}Trainer"],
    }
    return [f"from {module} import {', '.join(sorted(names))}" for module, names in found.items() if names]


# As Python text


def literal(value: Any) -> str:
    """A value as Python source, with double quotes. Takes what plans hold: text, numbers, lists, None, `Code`."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def call(name: str, named: Mapping[str, Any], *first: str, indent: int = 0) -> str:
    """A call with one argument a line; `first` are source texts."""
    given = [*first, *(f"{key}={literal(value)}" for key, value in named.items())]
    lines = "".join(f"{' ' * (indent + 4)}{one},\n" for one in given)
    return f"{name}(\n{lines}{' ' * indent})"


def _in_docstring(text: str) -> str:
    """A name that somebody typed, as it may stand in a docstring: it must not end it."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())
