"""From a plan to a trainer that is ready to train. Imports torch.

Owns which of TRL's trainers it is, how the model is wrapped, and its first values. Refuses to know processes, and files
other than the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trl.trainer.utils
from datasets import Dataset
from peft import PeftModel
from transformers import EarlyStoppingCallback, set_seed
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from prompts.errors import DataError
from trainers.arguments import arguments
from trainers.hardware import Compute
from trainers.launching import is_main
from trainers.objectives import DpoObjective, KtoObjective, SftObjective
from trainers.plan import TrainingPlan
from trainers.replay import rehearsal
from trainers.resumable import Resumable
from trainers.rows import as_dataset, mixed
from trainers.status import RunFolder
from trainers.strategies import Start

# TRL scores only the positions that carry loss where Triton compiles for them, and all of them on a CPU, where nothing
# is compiled. The head's product is a fifth of a step of the embedded model, most of it for tokens of the prompt.
trl.trainer.utils._use_triton = lambda device: True


class Sft(Resumable, SFTTrainer):
    """TRL's trainer of examples."""


class Dpo(Resumable, DPOTrainer):
    """TRL's trainer of pairs."""


class Kto(Resumable, KTOTrainer):
    """TRL's trainer of thumbs."""


def build_trainer(
    plan: TrainingPlan,
    run: RunFolder,
    model: Any,
    tokenizer: Any,
    compute: Compute,
    callbacks: list[Any],
    parent: Path | None = None,
) -> Any:
    """A trainer that is ready to train. With dev rows it keeps the evaluation whose dev loss is lowest.

    `model` is the base; `parent` an adapter on it to begin from. Raises `DataError` where nothing can be learned.
    """
    train, dev = (_rows(plan, run, name) for name in ("train", "dev"))
    if not len(train):
        told = f"No training row has {plan.objective.needs}."
        raise DataError(told, hint="Bring such rows, or choose another objective.")
    train = mixed(train, rehearsal(plan, run, model, tokenizer, compute))
    shared = arguments(plan, run, compute, rows=len(train), with_dev=bool(len(dev)))
    watching = list(callbacks)
    if len(dev) and plan.training.patience:
        watching.append(EarlyStoppingCallback(plan.training.patience))
    set_seed(plan.training.seed)  # first values are drawn before the trainer sets its own
    start = Start(model, tokenizer, Path(model.config._name_or_path), plan.prompt.system)
    wrapped, config = _wrapped(plan, start, parent)
    trainer = _TRAINERS[plan.objective.type](
        plan,
        shared,
        {
            "model": wrapped,
            "train_dataset": train,
            "eval_dataset": dev if len(dev) else None,
            "processing_class": tokenizer,
            "peft_config": config,
            "callbacks": [*watching, *plan.strategy.callbacks()],
            "optimizers": (_optimizer(plan, wrapped), None),
        },
    )
    if parent is None:
        plan.strategy.begin(trainer.model, start)
        plan.strategy.begin_from_data(trainer.model, trainer.get_train_dataloader)
        if plan.strategy.form == "adapter" and not plan.strategy.keeps_base and is_main():
            trainer.model.save_pretrained(run.begun)
    return trainer


def _rows(plan: TrainingPlan, run: RunFolder, name: str) -> Dataset:
    return as_dataset(plan.objective.usable(run.split(name)), plan.prompt, plan.objective.type)


def _wrapped(plan: TrainingPlan, start: Start, parent: Path | None) -> tuple[Any, Any]:
    """The model to train, and the configuration of the adapter that the trainer is to put on it, if any."""
    if parent is not None:  # a preference objective copies it as its frozen reference
        return PeftModel.from_pretrained(start.model, parent, is_trainable=True), None
    return start.model, plan.strategy.peft_config(start)


def _optimizer(plan: TrainingPlan, model: Any) -> Any:
    return plan.strategy.optimizer(model, plan.training.learning_rate, plan.training.weight_decay)


def _sft(plan: TrainingPlan, shared: dict[str, Any], parts: dict[str, Any]) -> Any:
    assert isinstance(plan.objective, SftObjective)
    # Rows of like length share a batch; packed ones have no length of their own.
    order = "random" if plan.objective.packing else "group_by_length"
    how = SFTConfig(**shared, completion_only_loss=True, packing=plan.objective.packing, train_sampling_strategy=order)
    return Sft(args=how, **parts)


def _dpo(plan: TrainingPlan, shared: dict[str, Any], parts: dict[str, Any]) -> Any:
    assert isinstance(plan.objective, DpoObjective)
    how = DPOConfig(**shared, beta=plan.objective.beta, loss_type=[plan.objective.loss], **_reference(plan))
    return Dpo(args=how, **parts)


def _kto(plan: TrainingPlan, shared: dict[str, Any], parts: dict[str, Any]) -> Any:
    assert isinstance(plan.objective, KtoObjective)
    weights = plan.objective.model_dump(include={"beta", "desirable_weight", "undesirable_weight"})
    return Kto(args=KTOConfig(**shared, **weights, **_reference(plan)), **parts)


def _reference(plan: TrainingPlan) -> dict[str, Any]:
    """No second model is held: an adapter is switched off or copied, else the log-probabilities are computed first."""
    return {"precompute_ref_log_probs": plan.strategy.form == "model"}


_TRAINERS: dict[str, Callable[[TrainingPlan, dict[str, Any], dict[str, Any]], Any]] = {
    "sft": _sft,
    "dpo": _dpo,
    "kto": _kto,
}
