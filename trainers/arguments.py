"""What the three trainers are told alike: batch, rate, precision, evaluation, checkpoints. Imports no torch.

Owns the translation of a plan to TRL's arguments. Refuses to know models and data.
"""

from __future__ import annotations

from typing import Any

from trainers.hardware import Compute
from trainers.launching import shared, world_size
from trainers.plan import TrainingPlan
from trainers.status import RunFolder


def arguments(plan: TrainingPlan, run: RunFolder, compute: Compute, *, rows: int, with_dev: bool) -> dict[str, Any]:
    """Keyword arguments that SFTConfig, DPOConfig and KTOConfig have in common. `rows` are those to be trained on."""
    on_cpu, how = compute.device == "cpu", plan.training
    size, pieces = shared(how, world_size())
    return {
        "output_dir": str(run.checkpoints),
        "num_train_epochs": how.epochs,
        "learning_rate": how.learning_rate,
        "weight_decay": how.weight_decay,
        "max_grad_norm": how.max_grad_norm,
        "per_device_train_batch_size": size,
        "per_device_eval_batch_size": how.batch_size,
        "gradient_accumulation_steps": pieces,
        "warmup_steps": how.warmup,
        "lr_scheduler_type": how.schedule,
        "max_length": how.max_tokens,
        "seed": how.seed,
        "data_seed": how.seed,
        # TRL's defaults are bfloat16 and gradient checkpointing, both of which only slow most CPUs down.
        "use_cpu": on_cpu,
        "bf16": compute.dtype == "bfloat16",
        "fp16": compute.dtype == "float16",
        "gradient_checkpointing": checkpoints_gradients(plan, compute),
        "dataloader_pin_memory": not on_cpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would hide what `Divergence` looks for
        "report_to": "none",
        "disable_tqdm": True,
        **_evaluation(plan, rows, with_dev),
    }


def checkpoints_gradients(plan: TrainingPlan, compute: Compute) -> bool:
    """Whether activations are computed a second time rather than kept."""
    if not plan.strategy.can_checkpoint:
        return False
    asked = plan.training.gradient_checkpointing
    return compute.device != "cpu" if asked is None else asked


def _evaluation(plan: TrainingPlan, rows: int, with_dev: bool) -> dict[str, Any]:
    """When the dev rows are looked at, and what is kept: what was best, and the last checkpoint to resume from.

    Checkpoints to resume from are asked for by the clock (`callbacks.Checkpoints`), whatever is said here.
    """
    kept = {"save_total_limit": 1, "eval_strategy": "no", "save_strategy": "no"}
    if not with_dev:
        return kept
    per_epoch = -(-rows // plan.training.effective_batch)
    often = plan.training.evaluations_per_epoch
    when = (
        {"eval_strategy": "steps", "eval_steps": max(1, per_epoch // often)}
        if often > 1
        else {"eval_strategy": "epoch"}
    )
    best = {"save_strategy": "best", "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    return {**kept, **when, **best, "greater_is_better": False}
