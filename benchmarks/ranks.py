"""Which rank a LoRA of few rows should have, and how many steps: the adapters that plans begin with beside others.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.ranks --data DIR [--tasks banking8 clinc | all] [--seeds 1]
        [--ways "rank 32, 36 steps" ...] [--rows N] [--test 80]

Tasks, rows and test rows are those of `benchmarks.advice` (its first seed is the one that the question came from, hence
another here): every adapter is trained on all training rows of a project, by the very code of a try, with the plan that
the rules advise, but for the rank and the epochs that these steps take; as ever, the scale is twice the rank. Printed
are the score of each on the test rows and what it scores more than rank 8 after 36 steps, row by row, then the mean
over tasks with its interval by drawing each task's test rows anew. A cell is one file; what is there is not done again.
"""

from __future__ import annotations

import argparse
from math import ceil
from pathlib import Path

from benchmarks.advice import DEFAULT, Bench, over_tasks, tasks_named
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED
from trainers.paths import default_paths
from trainers.plan import TrainingPlan
from trainers.trials.records import Candidate

WAYS = {f"rank {rank}, {steps} steps": (rank, steps) for steps in (36, 72, 144) for rank in (8, 32)}
FIRST = next(iter(WAYS))


def changed(plan: TrainingPlan, rank: int, steps: int, rows: int) -> TrainingPlan:
    """The plan with this rank, and so many epochs over the rows that there are at least these steps."""
    epochs = float(ceil(steps / ceil(rows / plan.training.effective_batch)))
    strategy = plan.strategy.model_copy(update={"r": rank, "alpha": 2.0 * rank})
    training = plan.training.model_copy(update={"epochs": epochs})
    return plan.model_copy(update={"strategy": strategy, "training": training})


def scores(bench: Bench, ways: list[str]) -> dict[str, list[float]]:
    """The score of every test row by way; each way printed when it is there."""
    project = bench.pipeline.project(bench.id)
    train = bench.pipeline.splits(project).train
    usual = next(one for one in bench.pipeline.trial_options(project).candidates if one.key == "lora_8")
    found = {}
    for way in ways:
        plan = changed(usual.plan, *WAYS[way], len(train))
        key = way.replace(",", "").replace(" ", "_")
        tried = bench.in_full(Candidate(key=key, title=way, plan=plan, price=usual.price), train)
        found[way] = [tried.scores[row.row] for row in bench.test]
        epochs, loss = plan.training.epochs, tried.losses[-1]
        told = f"after {epochs:.0f} epochs, last loss {loss:.3f}, {tried.seconds:.0f} s"
        print(f"  {way:26} {tried.score:6.1%} {told}", flush=True)
    bench.pipeline.close()
    return found


def more(found: list[dict[str, list[float]]], way: str) -> str:
    """What a way scores more than the first one, in points: the mean over tasks and its interval."""
    mean, low, high = over_tasks([(task[FIRST], task[way]) for task in found])
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(DEFAULT), help="names, or `all`")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--ways", nargs="+", choices=[way for way in WAYS if way != FIRST], default=[])
    parser.add_argument("--rows", type=int, default=0, help="in place of each task's own number")
    parser.add_argument("--test", type=int, default=80)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--out", type=Path, default=default_paths().cache / "benchmarks" / "ranks")
    args = parser.parse_args()
    args.meta_rounds = 0
    ways = [FIRST, *(args.ways or (way for way in WAYS if way != FIRST))]
    wanted = tasks_named(args.tasks, parser)
    print(f"{detect()}; {choose_compute(default_paths().cache).reason}", flush=True)
    found = []
    for task in wanted:
        for seed in args.seeds:
            print(f"\n{task.name}, {args.rows or task.rows} rows, seed {seed}", flush=True)
            found.append(scores(Bench(task, seed, args), ways))
    print(f"\nmore than {FIRST}, in points, on {len(found)} tasks of {args.test} test rows")
    for way in ways[1:]:
        each = ", ".join(more([one], way).split(" ")[0] for one in found)
        print(f"{way:26} {more(found, way):24} by task {each}")


if __name__ == "__main__":
    main()
