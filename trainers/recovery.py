"""A training that goes on: resumed where it was cut off, with smaller batches where memory runs out, at a lower rate
where the loss explodes. Imports torch.

Owns what is tried after a trouble and what the person is told of it. Refuses to build trainers (`building`) and to
notice troubles (`callbacks`).
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from prompts.errors import ModelError, PlanError, RunError
from trainers.arguments import checkpoints_gradients
from trainers.building import build_trainer
from trainers.callbacks import (
    Checkpoints,
    Diverged,
    Divergence,
    LowerRate,
    Progress,
    StopWhenAsked,
    last_checkpoint,
    require_disk,
)
from trainers.hardware import Compute
from trainers.launching import Again, is_main, world_size
from trainers.memory import ran_out
from trainers.paths import write_atomically
from trainers.plan import Optimization, TrainingPlan
from trainers.status import RunFolder

_SLOWER = 0.3  # the share of the rate after an explosion
_SUSPECT = 10  # steps before an explosion was seen in which a checkpoint may be spoiled already


class Adjusted(BaseModel):
    """How the plan is followed now, and why it is not followed to the letter. Kept in the run: a resumed one goes on
    like this."""

    model_config = ConfigDict(frozen=True)

    training: Optimization
    slowed: bool = False
    old_rate_until: int = 0
    notes: tuple[str, ...] = ()

    def holds_old_rate(self, checkpoint: Path | None) -> bool:
        """Whether a checkpoint is from before the rate was lowered, and would bring the old one back."""
        return self.slowed and checkpoint is not None and _step(checkpoint) <= self.old_rate_until


def train(
    plan: TrainingPlan,
    run: RunFolder,
    load: Callable[[], tuple[Any, Any]],
    compute: Compute,
    started: float,
    parent: Path | None = None,
    more: list[Any] | None = None,
) -> Any:
    """Train until it is done, whatever happens on the way, and return the trainer.

    `load` gives a fresh base model and its tokenizer; `more` are callbacks besides the usual. Raises `ModelError` or
    `RunError` where nothing helps.
    """
    now = _read(run) or Adjusted(training=plan.training)
    while True:
        point = last_checkpoint(run.checkpoints)
        watching = [Progress(run, started, now.notes), Checkpoints(now.training.checkpoint_minutes), StopWhenAsked(run)]
        watching += [Divergence(), *([LowerRate(_SLOWER)] if now.holds_old_rate(point) else []), *(more or [])]
        model, tokenizer = load()
        adjusted = plan.model_copy(update={"training": now.training})
        if is_main():
            run.forget_metrics_after(_step(point))
        require_disk(run.checkpoints)
        trouble: Diverged | Exception | None = None
        try:
            trainer = build_trainer(adjusted, run, model, tokenizer, compute, watching, parent)
            _require_whole_weights(trainer)
            trainer.train(resume_from_checkpoint=str(point) if point else None)
            trainer.accelerator.wait_for_everyone()  # the checkpoints are removed next, which others may still read
        except Diverged as error:
            trouble = error.with_traceback(None)
        except Exception as error:
            if not ran_out(error):
                raise
            trouble = error.with_traceback(None)  # what it points to holds the memory that is to be freed
        if trouble is None:
            return trainer
        trainer = model = None
        _free()
        now = _slower(now, trouble, run) if isinstance(trouble, Diverged) else _smaller(now, plan, compute, trouble)
        write_atomically(run.path / "adjusted.json", now.model_dump_json(indent=1))
        if world_size() > 1:
            raise Again  # all of them, not this one alone: `launching` starts them once more, and all read what is kept


def _require_whole_weights(trainer: Any) -> None:
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        told = "launch.config_file: FSDP and DeepSpeed divide the weights among processes, which we cannot save yet."
        raise PlanError(told, hint="Use a configuration of kind MULTI_GPU, or none.")


def _read(run: RunFolder) -> Adjusted | None:
    try:
        return Adjusted.model_validate_json((run.path / "adjusted.json").read_text("utf-8"))
    except FileNotFoundError:
        return None


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _smaller(now: Adjusted, plan: TrainingPlan, compute: Compute, error: Exception) -> Adjusted:
    """The same effective batch in smaller pieces; then activations computed twice. Raises `RunError` beyond that."""
    how = now.training
    fewest = 2 if plan.objective.type == "kto" else 1
    effective = how.effective_batch
    sizes = [size for size in range(how.batch_size // 2, fewest - 1, -1) if effective % size == 0]
    if sizes:
        note = f"Memory ran out: batches of {sizes[0]} rows now, {effective // sizes[0]} of them a step as before."
        change: dict[str, Any] = {"batch_size": sizes[0], "gradient_accumulation": effective // sizes[0]}
    elif plan.strategy.can_checkpoint and not checkpoints_gradients(plan.model_copy(update={"training": how}), compute):
        note = "Memory ran out: activations are computed twice now, which is slower and takes less."
        change = {"gradient_checkpointing": True}
    else:
        raise RunError(
            "Memory ran out, with the smallest batches too.",
            hint="Use shorter rows (max_tokens), LoRA or QLoRA instead of more, or a smaller base model.",
        ) from error
    return now.model_copy(update={"training": how.model_copy(update=change), "notes": (*now.notes, note)})


def _slower(now: Adjusted, trouble: Diverged, run: RunFolder) -> Adjusted:
    """Once more, from before the trouble, at a lower rate.

    Raises `ModelError` the second time.
    """
    if now.slowed:
        raise ModelError(
            f"Training does not hold: {trouble} at step {trouble.step}, at a lower rate too.",
            hint="Use a much lower learning_rate, more warmup, and look at the rows for what is odd.",
        )
    point = last_checkpoint(run.checkpoints)
    while point is not None and _step(point) > trouble.step - _SUSPECT:
        shutil.rmtree(point, ignore_errors=True)
        point = last_checkpoint(run.checkpoints)
    where = f"from step {_step(point)}" if point else "from the beginning"
    rate = now.training.learning_rate * _SLOWER
    note = f"At step {trouble.step} {trouble}. Once more {where}, at a learning rate of {rate:.2g}."
    training = now.training.model_copy(update={"learning_rate": rate})
    return Adjusted(training=training, slowed=True, old_rate_until=_step(point), notes=(*now.notes, note))


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
