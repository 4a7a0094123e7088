"""Every strategy on the same rows: score, seconds, peak memory, size of what it leaves.

    python -m benchmarks.strategies --data DIR [--full] [--only lora,full] [--tokens 6000] [--test 50]

DIR holds `banking77/` and, for --full, `e2e_nlg/` (see the README's data sets). Default: Banking77 with 8 intents, the
embedded model, 6,000 training tokens a strategy, 50 test rows; labels are scored, not generated: the likeliest of the
eight by the sum of its tokens' log-probabilities counts. --full adds E2E (1 reference, chrF of greedy answers) and
takes three times as many tokens. Each strategy has the figures that a plan begins with (`trainers.defaults`); soft
prompts begin as the system prompt. Prints as it goes; what is done already is kept and not done again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.journey import take, write
from prompts.errors import TunewrightError
from prompts.metrics import METRICS, Score
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.checking import check_plan
from trainers.data import Example, Mapping
from trainers.defaults import Situation, usual
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.paths import default_paths, size_of
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan
from trainers.splits import Shares, Splits
from trainers.status import ENDED, RunFolder
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    PrefixTuningStrategy,
    PromptTuningStrategy,
    PTuningStrategy,
    QloraStrategy,
)
from trainers.strategies.full import Unfreezing

STRATEGIES: dict[str, AnyStrategy | None] = {
    "base": None,
    "few-shot, 8 examples": FewShotStrategy(examples=8),
    "lora": LoraStrategy(),
    "lora, rsLoRA": LoraStrategy(use_rslora=True),
    "lora, DoRA": LoraStrategy(use_dora=True),
    "lora, PiSSA": LoraStrategy(init="pissa_niter_16"),
    "lora, OLoRA": LoraStrategy(init="olora"),
    "lora, EVA": LoraStrategy(init="eva"),
    "lora, orthogonal": LoraStrategy(init="orthogonal"),
    "qlora": QloraStrategy(),
    "prompt tuning": PromptTuningStrategy(),
    "p-tuning": PTuningStrategy(),
    "prefix tuning": PrefixTuningStrategy(),
    "full": FullStrategy(),
    "full, gradual unfreezing": FullStrategy(unfreezing=Unfreezing(layers=3)),
    "full, layer-wise rates": FullStrategy(layer_decay=0.9),
    "full, both": FullStrategy(unfreezing=Unfreezing(layers=3), layer_decay=0.9),
}
_SEED, _INTENTS = 0, 8


class Task:
    """A data set in a folder, with the prompt and how answers are scored."""

    def __init__(self, name: str, folder: Path, columns: Mapping, prompt: PromptVersion, metric: str) -> None:
        self.name, self.folder, self.columns, self.prompt, self.metric = name, folder, columns, prompt, metric

    def rows(self, split: str) -> list[Example]:
        with (self.folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            return [
                Example(row=n, input=row[self.columns.input], output=row[self.columns.output])
                for n, row in enumerate(csv.DictReader(file), start=1)
            ]


def banking77(data: Path, folder: Path, train: int, test: int) -> Task:
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        intents = sorted({row["category"] for row in csv.DictReader(file)})[:_INTENTS]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.csv", take(data / "banking77" / "train.csv", intents, train))
    write(folder / "test.csv", take(data / "banking77" / "test.csv", intents, test))
    prompt = PromptVersion(system="Name the intent of the bank customer's message.")
    return Task("Banking77", folder, Mapping(input="text", output="category", split="split"), prompt, "exact match")


def e2e(data: Path, folder: Path, train: int, test: int) -> Task:
    folder.mkdir(parents=True, exist_ok=True)
    for split, source, count in (("train", "dev", train), ("test", "test", test)):
        with (data / "e2e_nlg" / f"{source}.csv").open(encoding="utf-8", newline="") as file:
            first = {row["mr"]: row for row in csv.DictReader(file)}  # one reference for each
        lines = [(row["mr"], row.get("ref") or row.get("human_reference", "")) for row in list(first.values())[:count]]
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("mr", "ref"), *lines])
    prompt = PromptVersion(system="Write one sentence about the restaurant with these attributes.")
    return Task("E2E", folder, Mapping(input="mr", output="ref", split="split"), prompt, "chrF")


def plan_for(task: Task, strategy: AnyStrategy, base: LocalModel, tokens: int, per_row: int) -> TrainingPlan:
    """The figures of a new plan, with as many epochs as the tokens are."""
    rows, machine = len(task.rows("train")), detect()
    device = choose_compute(default_paths().cache).device
    memory = machine.gpus[0].memory_gb if device == "cuda" else machine.memory_gb
    figures = usual(strategy, Situation(base.shape, rows, 128, device, memory))
    training = figures.training.model_copy(
        update={"epochs": round(tokens / (per_row * rows), 2), "batch_size": 4, "gradient_accumulation": 1}
    )
    shares = Shares(train=1.0, dev=0.0, test=0.0, arena=0.0)
    return TrainingPlan(
        name=task.name,
        base_model=base.ref,
        data=DataPlan(path=task.folder, columns=task.columns, shares=shares, seed=_SEED),
        prompt=task.prompt,
        strategy=figures.strategy,
        training=training,
        evaluation=EvaluationPlan(metric=task.metric, max_new_tokens=60),
    )


def trained(plan: TrainingPlan, base: LocalModel, task: Task) -> RunFolder:
    """A run of this plan, waited for. The test rows are answered here and not by the worker."""
    paths = default_paths()
    check_plan(plan, base, choose_compute(paths.cache), Splits(train=tuple(task.rows("train"))))
    run = jobs.create_run(plan, paths)
    run.write_split("test", ())
    jobs.start(run)
    while (status := jobs.status(run)).state not in ENDED:
        time.sleep(0.5)
    if status.state != "done":
        raise TunewrightError(f"{status.message} {status.hint}")
    return run


def answer(task: Task, base: LocalModel, run: RunFolder | None, scored: bool) -> list[str]:
    """What the result says to every test row: the likeliest label, or the greedy answer."""
    from trainers.evaluation.arm import base_arm, tuned_arm
    from trainers.scoring import best

    compute = choose_compute(default_paths().cache)
    how = EvaluationPlan(metric=task.metric, max_new_tokens=60)
    arm = base_arm(base.folder, task.prompt, how, compute)
    if run:
        arm = tuned_arm(arm, run.artefact, run.result_prompt(), compute)
    rows = task.rows("test")
    if not scored:
        return [said.text for said in arm.answer([row.input for row in rows])]
    labels = sorted({row.output for row in task.rows("train")})
    chats = [arm.prompt.messages(row.input) for row in rows]
    return [best(found) for found in arm.choose(chats, [labels] * len(rows))]


def tokens_a_row(task: Task, base: LocalModel) -> int:
    from trainers.tokens import token_counter

    counter, rows = token_counter(base.folder), task.rows("train")[:50]
    return round(
        sum(counter.count(task.prompt.messages(row.input)) + counter.counts([row.output])[0] for row in rows) / 50
    )


def measured(task: Task, name: str, base: LocalModel, args: argparse.Namespace, kept: Path) -> dict[str, Any]:
    """One line of the table, from the file where it is there already."""
    strategy = STRATEGIES[name]
    tokens = args.tokens * (3 if args.full else 1)
    plan = plan_for(task, strategy, base, tokens, tokens_a_row(task, base)) if strategy else None
    key = hashlib.sha256(f"{plan and plan.to_yaml()}{task.rows('test')}".encode()).hexdigest()[:12]
    file = kept / f"{key}.json"
    if file.is_file():
        return dict(json.loads(file.read_text()))
    try:
        run = trained(plan, base, task) if plan else None
        said = answer(task, base, run, scored=task.metric == "exact match")
    except TunewrightError as error:
        return {"refused": str(error)}
    score: Score = METRICS[task.metric].score(said, [row.output for row in task.rows("test")])
    found: dict[str, Any] = {"score": score.model_dump()}
    if run:
        status = run.written_status()
        artefact = size_of(run.artefact) if run.artefact else (run.path / "prompt.json").stat().st_size
        found |= {"seconds": status.train_seconds, "tokens": status.tokens, "memory": status.peak_memory_gb,
                  "artefact": artefact, "rate": plan.training.learning_rate if plan else 0}  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


def line(name: str, found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"{name:26}  not here: {found['refused']}"
    score = Score.model_validate(found["score"])
    text = f"{name:26} {score.value:6.1%} ({score.low:.0%} to {score.high:.0%})"
    if "seconds" not in found:
        return text
    trained = (
        f"{found['seconds']:6.0f} s {found['tokens']:7,} tokens {found['memory']:5.2f} GB"
        if found["tokens"]
        else " " * 32
    )
    return f"{text} {trained} {found['artefact'] / 1e6:9.3f} MB  rate {found['rate']:.2g}"


def tasks(args: argparse.Namespace, folder: Path) -> Iterator[Task]:
    size = 3 if args.full else 1
    yield banking77(args.data, folder / f"banking77-{size}", 128 * size, args.test)
    if args.full:
        yield e2e(args.data, folder / "e2e", 128 * size, args.test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="names, or parts of them, separated by commas")
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--test", type=int, default=50)
    parser.add_argument("--base-model", default=EMBEDDED)
    args = parser.parse_args()
    paths = default_paths()
    base = resolve(args.base_model, paths)
    folder = paths.cache / "benchmarks" / "strategies"
    print(f"{detect()}; {choose_compute(paths.cache).reason}; {base.name}", flush=True)
    wanted = [part.strip() for part in args.only.split(",") if part.strip()]
    began = time.monotonic()
    for task in tasks(args, folder):
        print(f"\n{task.name}, {task.metric}, {len(task.rows('test'))} test rows", flush=True)
        for name in STRATEGIES:
            if not wanted or any(part in name for part in wanted):
                print(line(name, measured(task, name, base, args, folder / "kept")), flush=True)
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
