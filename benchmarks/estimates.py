"""What a training takes beside what was foretold: peak memory and time, each plan a real run in a process of its own.

    python -m benchmarks.estimates [--full] [--only lora,full] [--again] [--folder DIR]

Plans differ in strategy, length of the rows, batch and size of the model: the embedded one, and Llamas of 15, 40 and
300 million random weights with its tokenizer. Each takes a few steps on rows made of the sample tickets' words, looks
at dev and test rows, and ends; the examination's probes are left out but in one plan. Prints a line for each as it
goes; what is measured already is kept in DIR (default: the cache) and not measured again, unless --again is said.
--full takes more plans and more steps. At the end the median and the worst error of memory and time: as the formulas
have them, and corrected by the history of the other plans, each left out in turn. Needs about 4 GB of memory and
12 minutes on two cores; --full 10 GB and 40 minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.kept import Kept
from prompts.versions import PromptVersion
from trainers.data import Example, Mapping
from trainers.estimating.history import NO_HISTORY, History, Past, read_history
from trainers.estimating.training import estimate
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED, resolve
from trainers.objectives import AnyObjective, DpoObjective, SftObjective
from trainers.paths import PYTHON, Paths, default_paths, worker_environment, write_atomically
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan
from trainers.status import RunFolder
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    PrefixTuningStrategy,
    PromptTuningStrategy,
)
from trainers.strategies.full import Unfreezing

# Weights in millions: layers, width, width within, heads, key heads.
_SIZES = {15: (6, 256, 704, 4, 2), 40: (10, 448, 1216, 7, 7), 300: (24, 896, 2432, 14, 7)}
_TESTED = 8


@dataclass(frozen=True)
class Cell:
    """One plan: `size` in millions of weights, 135 for the embedded model; `tokens` is about a row's length."""

    name: str
    strategy: AnyStrategy
    size: int = 135
    tokens: int = 64
    batch: int = 4
    steps: int = 4
    objective: AnyObjective = field(default_factory=SftObjective)
    answer: int = 4
    probes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        return f"{self.name}, {self.size}M, {self.tokens} tokens x {self.batch}"


CELLS = (
    Cell("lora 8", LoraStrategy(r=8)),
    Cell("lora 8", LoraStrategy(r=8), batch=16),
    Cell("lora 8", LoraStrategy(r=8), tokens=512, batch=1),
    Cell("lora 8", LoraStrategy(r=8), tokens=256, batch=4, answer=120),
    Cell("lora 32", LoraStrategy(r=32), batch=1, steps=8),
    Cell("lora 8", LoraStrategy(r=8), size=15, batch=16, steps=12),
    Cell("lora 8", LoraStrategy(r=8), size=40, tokens=256, steps=6),
    Cell("lora 8", LoraStrategy(r=8), size=300),
    Cell("dora", LoraStrategy(r=8, use_dora=True)),
    Cell("prompt tuning", PromptTuningStrategy(), steps=6),
    Cell("prefix tuning", PrefixTuningStrategy(), steps=6),
    Cell("full", FullStrategy()),
    Cell("full", FullStrategy(), size=40, tokens=256, batch=4, steps=6),
    Cell("full, gradual", FullStrategy(unfreezing=Unfreezing(layers=5)), steps=6),
    Cell("dpo", LoraStrategy(r=8), objective=DpoObjective()),
    Cell("few-shot", FewShotStrategy(), steps=1),
)
MORE = (
    Cell("lora 8", LoraStrategy(r=8), tokens=512, batch=8, steps=6),
    Cell("lora 8", LoraStrategy(r=8), tokens=1024, batch=2, steps=6),
    Cell("lora 32", LoraStrategy(r=32), batch=16, steps=8),
    Cell("lora 8", LoraStrategy(r=8), size=300, tokens=256, batch=8, steps=6),
    Cell("full", FullStrategy(), size=300, batch=4),
    Cell("full", FullStrategy(), tokens=256, batch=16, steps=6),
    Cell("prompt tuning", PromptTuningStrategy(num_virtual_tokens=64), tokens=256, batch=8, steps=8),
    Cell("dpo", LoraStrategy(r=8), tokens=256, batch=8, objective=DpoObjective(), answer=100, steps=6),
    Cell("dpo, full", FullStrategy(), objective=DpoObjective()),
    Cell("lora 8, examined", LoraStrategy(r=8), probes=("memorisation", "robustness", "general", "perplexity")),
)


# What is run


def build(millions: int, like: Path, folder: Path) -> Path:
    """A Llama of random weights with the embedded model's tokenizer. Made in a process of its own: Linux counts what a
    process held before it became another one as that one's peak."""
    if not (folder / "model.safetensors").exists():
        layers, width, inner, heads, kv = _SIZES[millions]
        sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner}
        sizes |= {"num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": width // heads}
        code = (
            "import json, sys, torch\n"
            "from transformers import AutoConfig, LlamaForCausalLM\n"
            "like, folder, sizes = sys.argv[1:]\n"
            "config = AutoConfig.from_pretrained(like)\n"
            "config.update(json.loads(sizes))\n"
            "torch.manual_seed(0)\n"
            "LlamaForCausalLM(config).save_pretrained(folder)\n"
        )
        argv = [sys.executable, "-c", code, str(like), str(folder), json.dumps(sizes)]
        subprocess.run(argv, check=True, capture_output=True)
        for path in like.glob("*"):
            if "token" in path.name or path.suffix == ".jinja":
                shutil.copy(path, folder)
    return folder


def rows(count: int, tokens: int, answer: int, *, pairs: bool, seed: int) -> tuple[Example, ...]:
    """Rows of about so many tokens, between two thirds and all of it, out of the sample tickets' words."""
    text = files("assistant.samples").joinpath("ticket_triage.csv").read_text("utf-8")
    words = " ".join(row["ticket"] for row in csv.DictReader(text.splitlines())).split()
    dice = random.Random(seed)

    def some(tokens: float) -> str:
        start = dice.randrange(len(words))
        return " ".join((words * 40)[start : start + max(1, int(tokens / 1.25))])

    found = []
    for number in range(count):
        whole = tokens * dice.uniform(0.67, 1.0)
        asked = max(2.0, whole - answer - 30)
        found.append(Example(number + 1, some(asked), some(answer), rejected=some(answer) if pairs else ""))
    return tuple(found)


def plan_of(cell: Cell, base: str, folder: Path) -> TrainingPlan:
    """The cell's plan. Its data file is only named: the rows are written into the run."""
    return TrainingPlan(
        base_model=base,
        data=DataPlan(path=folder / "rows.csv", columns=Mapping(input="text", output="label")),
        prompt=PromptVersion(system="Say which team the ticket belongs to."),
        strategy=cell.strategy,
        objective=cell.objective,
        training=Optimization(epochs=1, batch_size=cell.batch, max_tokens=2 * cell.tokens + 64, learning_rate=1e-4),
        evaluation=EvaluationPlan(probes=cell.probes, few_shot=0, probe_rows=8, max_new_tokens=8),
    )


def run_cell(cell: Cell, paths: Paths, base: str) -> tuple[Past, dict[str, float]]:
    """Follow the plan in a process of its own; what was foretold and measured, and that process' own usage."""
    run = RunFolder(paths.runs / f"{int(time.time() * 1000)}-{cell.strategy.type}")
    pairs, count = cell.objective.compares, cell.batch * cell.steps
    run.write_split("train", rows(count, cell.tokens, cell.answer, pairs=pairs, seed=1))
    run.write_split("dev", rows(4, cell.tokens, cell.answer, pairs=pairs, seed=2))
    run.write_split("test", rows(_TESTED, cell.tokens, cell.answer, pairs=pairs, seed=3))
    run.write_split("arena", ())
    write_atomically(run.path / "plan.yaml", plan_of(cell, base, run.path).to_yaml())
    homes = {"TUNEWRIGHT_HOME": str(paths.home), "TUNEWRIGHT_CACHE": str(paths.cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    with run.log.open("ab") as log:
        worker = subprocess.Popen(
            [*PYTHON, "trainers.worker", str(run.path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**worker_environment(), **homes},
        )
        _, code, usage = os.wait4(worker.pid, 0)
    if code:
        sys.exit(f"{cell.told} failed: {run.written_status().message}\n{run.log_tail()}")
    past = read_history(paths).runs[-1]
    assert past.run == run.id, "the worker left no line of history"
    return past, {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gb": usage.ru_maxrss / 2**20}


# What is told


@dataclass(frozen=True)
class Errors:
    """Relative errors by plan."""

    memory: Sequence[float]
    seconds: Sequence[float]

    def told(self, name: str) -> str:
        def one(errors: Sequence[float]) -> str:
            return f"median {statistics.median(map(abs, errors)):.0%}, worst {max(errors, key=abs):+.0%}"

        return f"{name:<42} memory: {one(self.memory)};  time: {one(self.seconds)}"


def errors(pasts: Sequence[Past], histories: Iterable[History]) -> Errors:
    """By how much each is foretold too high or too low, given a history for each."""
    memory, seconds = [], []
    for past, history in zip(pasts, histories, strict=True):
        told = estimate(past.workload, past.machine, history)
        memory.append(told.memory.total / past.measured.memory_gb - 1)
        seconds.append(told.seconds.total / past.measured.seconds.total - 1)
    return Errors(memory, seconds)


def line(cell: Cell, past: Past, more: dict[str, float]) -> str:
    told, found = estimate(past.workload, past.machine), past.measured
    phases = " ".join(
        f"{name} {getattr(told.seconds, name) + (told.seconds.examining if name == 'testing' else 0):.1f}/"
        f"{getattr(found.seconds, name):.1f}"
        for name in found.phases()
    )
    memory, spent = told.memory.total / found.memory_gb - 1, told.seconds.total / found.seconds.total - 1
    return (
        f"{cell.told:<38} memory {told.memory.total:5.2f}/{found.memory_gb:5.2f} GB ({memory:+4.0%})"
        f"  time {told.seconds.total:5.0f}/{found.seconds.total:5.0f} s ({spent:+4.0%})"
        f"  [{phases}; {more['cpu_seconds']:.0f} s of CPU]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="names of strategies, with commas")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    own = default_paths()
    folder = args.folder or own.cache / "benchmarks" / "estimates"
    compute, machine = choose_compute(own.cache), detect()
    like = resolve(EMBEDDED, own)
    paths = Paths(home=folder / "home", cache=own.cache)
    kept = Kept(folder / "measured.json")
    print(f"{machine}: {compute.reason}, {compute.gflops:.0f} GFLOP/s. Foretold / measured.", flush=True)
    pasts: list[Past] = []
    wanted = args.only.split(",") if args.only else []
    for cell in (*CELLS, *(MORE if args.full else ())):
        if wanted and not any(name in cell.name for name in wanted):
            continue
        base = EMBEDDED if cell.size == 135 else str(build(cell.size, like.folder, folder / "models" / f"{cell.size}M"))
        key = json.dumps([cell.told, cell.steps, cell.answer, str(machine), compute.dtype])
        if args.again or not kept.get(key):
            past, more = run_cell(cell, paths, base)
            kept.put(key, {"past": past.model_dump(mode="json"), "more": more})
        known: dict[str, Any] = kept.get(key)
        pasts.append(Past.model_validate(known["past"]))
        print(line(cell, pasts[-1], known["more"]), flush=True)
    if not pasts:
        sys.exit("There is no plan of that name.")
    print(errors(pasts, [NO_HISTORY] * len(pasts)).told(f"{len(pasts)} plans, by the formulas alone:"))
    whole = History(tuple(pasts))
    print(errors(pasts, [whole.without(past.run) for past in pasts]).told("corrected by the history of the others:"))


if __name__ == "__main__":
    main()
