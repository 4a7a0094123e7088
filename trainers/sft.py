"""Supervised fine-tuning with TRL's SFTTrainer and a PEFT adapter, loss on completions only. Imports torch.

Owns building the trainer from a plan. Refuses to know processes and files other than the checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from prompts.errors import DataError
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
    """A trainer that is ready to train. With dev rows it keeps the epoch whose dev loss is lowest.

    Raises `DataError` where no row leaves room for its answer.
    """
    train, dev = (as_dataset(run.split(name), plan.prompt) for name in ("train", "dev"))
    for dataset in (train, dev):
        _require_room(dataset, tokenizer, plan.training.max_tokens)
    return SFTTrainer(
        model=model,
        args=_config(plan, run, compute, with_dev=bool(dev)),
        train_dataset=train,
        eval_dataset=dev if dev else None,
        processing_class=tokenizer,
        peft_config=plan.strategy.peft_config(),
        callbacks=callbacks,
    )


def _require_room(dataset: Dataset, tokenizer: Any, max_tokens: int) -> None:
    """TRL drops rows that are cut before their answer begins, and fails obscurely where none is left."""

    def asked(row: dict[str, Any]) -> int:
        return len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False))

    if len(dataset) and all(asked(row) >= max_tokens for row in dataset):
        raise DataError(
            f"Every prompt fills all {max_tokens} tokens of a row, so that no answer is left to learn from.",
            hint="Raise max_tokens, or shorten the prompt.",
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
