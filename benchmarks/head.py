"""What the language model's head costs for tokens that carry no loss: a training step with and without them.

    python -m benchmarks.head [--rows 8] [--steps 6] [--base-model embedded]

LoRA on sample tickets, prompt of some 70 tokens and answers of some 4. Both ways in turn, step by step, in one process;
prints the ratio of their times. TRL leaves such tokens out where Triton compiles, and `trainers.building` has it do so
everywhere.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.hardware import choose_compute
from trainers.models import EMBEDDED, resolve
from trainers.paths import default_paths
from trainers.rows import as_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--base-model", default=EMBEDDED)
    args = parser.parse_args()

    import trl.trainer.utils
    from peft import LoraConfig
    from trl import SFTConfig

    from trainers.building import Sft
    from trainers.modeling import load_base, load_tokenizer

    paths = default_paths()
    base, compute = resolve(args.base_model, paths), choose_compute(paths.cache)
    model, tokenizer = load_base(base.folder, compute, training=True), load_tokenizer(base.folder)
    prompt = PromptVersion(system="Classify the support ticket. Answer with the team only.")
    rows = as_dataset(_tickets(args.rows), prompt)
    how = SFTConfig(output_dir="/tmp/unused", use_cpu=compute.device == "cpu", bf16=compute.dtype == "bfloat16",
                    gradient_checkpointing=False, report_to="none")  # fmt: skip
    lora = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = Sft(model=model, args=how, train_dataset=rows, processing_class=tokenizer, peft_config=lora)
    batch = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    tokens, with_loss = batch["attention_mask"].sum().item(), (batch["labels"] != -100).sum().item()
    print(f"{compute.reason}; {args.rows} rows, {tokens} tokens, {with_loss} of them carry loss", flush=True)
    taken: dict[bool, list[float]] = {True: [], False: []}
    for step in range(args.steps + 1):
        for compact in (True, False):
            trl.trainer.utils._use_triton = lambda device, compact=compact: compact
            began = time.monotonic()
            _step(trainer, batch)
            if step:  # the first of each warms up
                taken[compact].append(time.monotonic() - began)
    ratios = [whole / compact for compact, whole in zip(taken[True], taken[False], strict=True)]
    told = {name: statistics.median(taken[compact]) for name, compact in (("with loss alone", True), ("all", False))}
    print(", ".join(f"head on {name}: {seconds:.2f} s a step" for name, seconds in told.items()))
    middle, spread = statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}, n={len(ratios)}"
    print(f"all take {middle:.2f} times as long ({spread})")


def _step(trainer: Any, batch: Any) -> None:
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    trainer.model.zero_grad()


def _tickets(count: int) -> list[Example]:
    with Path(str(files("assistant.samples").joinpath("ticket_triage.csv"))).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    return [Example(row=n, input=row["ticket"], output=row["team"]) for n, row in enumerate(rows)]


if __name__ == "__main__":
    main()
