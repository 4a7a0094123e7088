"""Supervised fine-tuning with TRL's SFTTrainer and a PEFT adapter, loss on completions only. Imports torch.

Owns building the trainer from a plan. Refuses to know processes and files other than the checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.hardware import Compute
from trainers.plan import TrainingPlan
from trainers.status import RunFolder


def as_dataset(examples: Sequence[Example], prompt: PromptVersion) -> Dataset:
    """Prompt and completion messages, rendered by the very prompt version that will serve.

    Not `messages` with assistant_only_loss: SmolLM2's chat template marks no assistant turns, so TRL refuses it.
    """
    return Dataset.from_list(
        [
            {
                "prompt": [message.model_dump() for message in prompt.messages(example.input)],
                "completion": [{"role": "assistant", "content": example.output}],
            }
            for example in examples
        ]
    )


def build_trainer(
    plan: TrainingPlan, run: RunFolder, model: Any, tokenizer: Any, compute: Compute, callbacks: list[Any]
) -> SFTTrainer:
    """A trainer that is ready to train. With dev rows it keeps the epoch whose dev loss is lowest."""
    dev = run.split("dev")
    return SFTTrainer(
        model=model,
        args=_config(plan, run, compute, with_dev=bool(dev)),
        train_dataset=as_dataset(run.split("train"), plan.prompt),
        eval_dataset=as_dataset(dev, plan.prompt) if dev else None,
        processing_class=tokenizer,
        peft_config=plan.strategy.peft_config(),
        callbacks=callbacks,
    )


def _config(plan: TrainingPlan, run: RunFolder, compute: Compute, *, with_dev: bool) -> SFTConfig:
    on_cpu, how = compute.device == "cpu", plan.training
    per_epoch = "epoch" if with_dev else "no"
    return SFTConfig(
        output_dir=str(run.path / "checkpoints"),
        num_train_epochs=how.epochs,
        learning_rate=how.learning_rate,
        per_device_train_batch_size=how.batch_size,
        per_device_eval_batch_size=how.batch_size,
        gradient_accumulation_steps=how.gradient_accumulation,
        warmup_steps=how.warmup,
        lr_scheduler_type="cosine",
        max_length=how.max_tokens,
        completion_only_loss=True,
        seed=how.seed,
        data_seed=how.seed,
        # TRL's defaults are bfloat16 and gradient checkpointing, both of which only slow a CPU down.
        use_cpu=on_cpu,
        bf16=compute.dtype == "bfloat16",
        fp16=compute.dtype == "float16",
        gradient_checkpointing=not on_cpu,
        dataloader_pin_memory=not on_cpu,
        train_sampling_strategy="group_by_length",
        logging_steps=1,
        eval_strategy=per_epoch,
        save_strategy=per_epoch,
        save_total_limit=1,
        load_best_model_at_end=with_dev,
        metric_for_best_model="eval_loss" if with_dev else None,
        report_to="none",
        disable_tqdm=True,
    )
