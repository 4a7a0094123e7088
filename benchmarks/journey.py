"""Banking77 on the embedded model without the UI: plan, run, report.

    python -m benchmarks.journey --data DIR [--intents 8] [--train 128] [--test 200] [--base-model embedded]
        [--general-rows 0]

DIR holds `train.csv` and `test.csv` of Banking77 (text,category). Takes the first intents alphabetically, equally many
rows of each, seeded. Both arms answer greedily, unconstrained, with at most 24 new tokens. Prints as it goes; a run
that was interrupted is found again by its settings and goes on to be watched. `--general-rows` mixes so many general
questions, answered by the base itself, into the training: the report then tells what that saves of the base.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from pathlib import Path

from prompts.errors import PlanError
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.data import Mapping
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED
from trainers.paths import default_paths
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan
from trainers.splits import Shares
from trainers.status import ENDED, RunFolder
from trainers.strategies.lora import LoraStrategy

_SEED = 0


def take(path: Path, intents: list[str], count: int) -> list[dict[str, str]]:
    """`count` rows of these intents, as equally many of each as there are, in seeded order."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["category"]].append(row)
    rng = random.Random(_SEED)
    for intent in intents:
        rng.shuffle(rows[intent])
    turns = max(len(rows[intent]) for intent in intents)
    in_turn = [rows[intent][i] for i in range(turns) for intent in intents if i < len(rows[intent])]
    return in_turn[:count]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "category"])
        writer.writeheader()
        writer.writerows(rows)


def build_plan(args: argparse.Namespace, folder: Path) -> TrainingPlan:
    """The plan, with its data written to `folder`."""
    with (args.data / "train.csv").open(encoding="utf-8", newline="") as file:
        intents = sorted({row["category"] for row in csv.DictReader(file)})[: args.intents]
    for name, count in (("train", args.train), ("test", args.test)):
        write(folder / f"{name}.csv", take(args.data / f"{name}.csv", intents, count))
    return TrainingPlan(
        name="banking77",
        base_model=args.base_model,
        data=DataPlan(
            path=folder,
            columns=Mapping(input="text", output="category", split="split"),
            shares=Shares(train=1.0, dev=0.0, test=0.0, arena=0.0),
            seed=_SEED,
            general_rows=args.general_rows,
        ),
        prompt=PromptVersion(system="Name the intent of the bank customer's message."),
        strategy=LoraStrategy(r=args.rank, alpha=2 * args.rank),
        training=Optimization(
            epochs=args.epochs, learning_rate=args.learning_rate, batch_size=args.batch_size, max_tokens=128
        ),
        evaluation=EvaluationPlan(metric="exact match", max_new_tokens=24, batch_size=20),
    )


def is_of(run: RunFolder, plan: TrainingPlan) -> bool:
    """Whether a run follows this plan; one whose plan is of an earlier form does not."""
    try:
        return run.plan() == plan
    except PlanError:
        return False


def find_or_start(plan: TrainingPlan) -> RunFolder:
    """A run of the very same plan that goes on or is done, else a new one."""
    for run in jobs.list_runs(default_paths()):
        if jobs.status(run).state not in ("failed", "cancelled") and is_of(run, plan):
            print(f"found run {run.id}", flush=True)
            return run
    run = jobs.create_run(plan, default_paths())
    jobs.start(run)
    print(f"started run {run.id}", flush=True)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--intents", type=int, default=8)
    parser.add_argument("--train", type=int, default=128)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--general-rows", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--base-model", default=EMBEDDED)
    args = parser.parse_args()

    paths = default_paths()
    folder = paths.cache / "benchmarks" / f"banking77-{args.intents}-{args.train}-{args.test}"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{detect()}; {choose_compute(paths.cache).reason}", flush=True)
    began = time.monotonic()
    run = find_or_start(build_plan(args, folder))
    while (status := jobs.status(run)).state not in ENDED:
        left = f", {status.seconds_left:.0f} s left" if status.seconds_left else ""
        print(f"{time.monotonic() - began:5.0f} s  {status.phase} {status.fraction:.0%}{left}", flush=True)
        time.sleep(15)
    report = run.report()
    if report is None:
        raise SystemExit(f"{status.state}: {status.message} {status.hint}")
    print(f"base exact match: {report.base.value:.2f} (n={report.base.n})")
    print(f"tuned exact match: {report.tuned.value:.2f} (n={report.tuned.n})")
    print(f"95 % intervals: base {report.base.low:.2f} to {report.base.high:.2f}, tuned {report.tuned.low:.2f} to "
          f"{report.tuned.high:.2f}; {report.comparison.verdict}, p = {report.comparison.p_value:.2g}")  # fmt: skip
    for _, gate in report.every_gate:
        print(f"{gate.level:<8} {gate.name}: {gate.told}")
    print(f"verdict: {report.verdict.headline if report.verdict else 'none'}")
    whole = status.updated - status.started
    print(f"seconds: {whole:.0f} in all, {report.train_seconds:.0f} training {report.train_tokens:,} tokens, "
          f"{report.evaluation_seconds:.0f} examining")  # fmt: skip
    print(f"peak memory: {report.peak_memory_gb:.2f} GB")
    record = {"report": json.loads(report.model_dump_json()), "seconds": whole, "machine": str(detect())}
    (run.path / "benchmark.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
