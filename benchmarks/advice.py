"""How much worse what was advised is than the best option: by rules alone, and with trials, and what these cost.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.advice --data DIR [--tasks banking8 clinc | all] [--seeds 0]
        [--rows N] [--test 80] [--minutes 60] [--meta-rounds 12] [--base-model embedded] [--out FOLDER]

DIR holds the folders `banking77`, `clinc150`, `snips_slots` and `e2e_nlg`. A task is a project as a person has it: a
file of 12 to 300 rows from the data's training files, a spec, and a prompt written in a minute. Three things are done
with it. The rules advise (`assistant.advice`). The options are tried, as "Try the options" does it, with a budget that
is more than they may use. And every option is run in full: on all training rows, by the very code of a try, and asked
test rows from the data's own test files, which nothing else sees. Meta-training gets fewer rounds than is usual: 60
would take longer than everything else together.

The best option is the one with the highest mean on half of the test rows; regret is what it scores more than the
advised one on the other half, and so for both halves: below 0 where the halves disagree about the best. `lead` is what
the best on all test rows scores more there, which flatters it by the luck that it was chosen for. The cost of the
trials is their processor time beside that of running all options in full, each by itself, test rows included; loading
the base counts for neither. A cell (task, option, seed) is one file in FOLDER; what is there is not done again, and
trials that were cut off go on. Trials keep the plans that they were begun with: where the plans that are advised have
changed since, another FOLDER measures them.

By default banking8 and clinc, 40 rows each, with the embedded model; `--tasks` names others, or `all` six.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assistant.advice.records import Option
from assistant.pipeline import Pipeline
from assistant.settings import settings_from_environment
from assistant.trialling import standing_for
from benchmarks.prompts import TASKS as SOURCES
from benchmarks.prompts import Row, balanced
from prompts.metrics import Comparison, compare
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.data import Example, Mapping
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED
from trainers.paths import Paths, default_paths, write_atomically
from trainers.strategies import MetaLoraStrategy
from trainers.trials import life
from trainers.trials.deciding import decide
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import Candidate, TrialOrder, Tried

_TEST_ROWS_FROM = 1_000_000  # their row numbers, so that they are no training row's
_DRAWS = 4999
Rows = Callable[[Path], list[Row]]


@dataclass(frozen=True)
class Task:
    """A task of so many rows: what a person would say of it, and the prompt they would write in a minute."""

    name: str
    rows: int
    spec: TaskSpec
    naive: str
    training: Rows
    testing: Rows


def _source(name: str) -> tuple[Rows, Rows]:
    """The rows for training and for testing of one of `benchmarks.prompts`' tasks: the answers as they are there."""
    found = next(task for task in SOURCES if task.name == name)
    return found.training, found.testing


def _banking77(file: str, intents: int) -> Rows:
    def rows(data: Path) -> list[Row]:
        with (data / "banking77" / file).open(encoding="utf-8", newline="") as lines:
            found = [{"input": row["text"], "output": row["category"]} for row in csv.DictReader(lines)]
        kept = sorted({row["output"] for row in found})[:intents]
        return [row for row in found if row["output"] in kept]

    return rows


def _snips_intent(part: str) -> Rows:
    """Which of the three intents a request has."""

    def rows(data: Path) -> list[Row]:
        found = []
        for file in sorted((data / "snips_slots").glob(f"{part}_*.json")):
            for intent, said in json.loads(file.read_text("utf-8")).items():
                texts = ("".join(span["text"] for span in one["data"]).strip() for one in said)
                found += [{"input": text, "output": intent} for text in texts]
        return found

    return rows


_LABEL = {"task": "classification", "output_format": "label"}
_BANK = TaskSpec.model_validate({**_LABEL, "input": "bank customer's message"})
_BANK_PROMPT = "Name the intent of the bank customer's message."
TASKS = (
    Task(
        "tiny", 12, TaskSpec.model_validate({**_LABEL, "input": "request to a voice assistant"}),
        "Name the intent of the request.", _snips_intent("train"), _snips_intent("validate"),
    ),
    Task("banking8", 40, _BANK, _BANK_PROMPT, *_source("banking77")),
    Task(
        "clinc", 40, TaskSpec.model_validate({**_LABEL, "input": "question about a car"}),
        "Name the intent of the question.", *_source("clinc150"),
    ),
    Task(
        "snips", 80, TaskSpec(task="extraction", input="request to a voice assistant", output_format="json"),
        "Extract the slots of the request as JSON.", *_source("snips"),
    ),
    Task(
        "e2e", 80, TaskSpec(task="generation", input="attributes of a restaurant", output_format="text"),
        "Write a sentence about the restaurant.", *_source("e2e"),
    ),
    Task("banking20", 300, _BANK, _BANK_PROMPT, _banking77("train.csv", 20), _banking77("test.csv", 20)),
)  # fmt: skip
DEFAULT = ("banking8", "clinc")


class Bench:
    """One task with one seed: a project in a folder of its own, and what is known of it so far."""

    def __init__(self, task: Task, seed: int, args: argparse.Namespace) -> None:
        self.task, self.seed, self.args = task, seed, args
        rng = random.Random(seed)
        rows = balanced(task.training(args.data), args.rows or task.rows, rng)
        self.test = [
            Example(row=_TEST_ROWS_FROM + n, input=row["input"], output=row["output"])
            for n, row in enumerate(balanced(task.testing(args.data), args.test, rng))
        ]
        drawn = json.dumps([rows, args.base_model], ensure_ascii=False)
        name = f"{task.name}-{len(rows)}-{seed}-{args.meta_rounds}-{hashlib.sha256(drawn.encode()).hexdigest()[:6]}"
        self.folder: Path = args.out / name
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "rows.jsonl"
        write_atomically(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        settings = settings_from_environment()
        self.paths = Paths(home=self.folder / "home", cache=settings.paths.cache)
        self.pipeline = Pipeline(replace(settings, paths=self.paths, database_url=""))
        self.id = self._project(file)

    def _project(self, file: Path) -> str:
        """The project's id; it is made at the first start."""
        there = [one.id for one in self.pipeline.store.projects()]
        if there:
            return there[0]
        id = self.pipeline.store.create_project(self.task.name).id
        self.pipeline.edit_spec(id, self.task.spec.known() | {"base_model": self.args.base_model})
        self.pipeline.add_file(id, file, columns=Mapping(input="input", output="output"))
        self.pipeline.take_prompt(id, PromptVersion(system=self.task.naive, reason="naive"))
        return id

    def advised_by_rules(self) -> Option:
        """What the rules say before anything was tried. Kept: once trials are there, the advice is theirs."""
        file = self.folder / "rules.json"
        if not file.is_file():
            advice = self.pipeline.advice(self.pipeline.project(self.id))
            write_atomically(file, advice.best.model_dump_json(indent=1))
        return Option.model_validate_json(file.read_text("utf-8"))

    def trials(self) -> TrialsFolder:
        """The trials, ended; those of an earlier start are gone on with."""
        file = self.folder / "trials.txt"
        if file.is_file():
            folder = life.find(file.read_text("utf-8"), self.paths)
            if life.status(folder).state in ("failed", "cancelled"):
                life.resume(folder)
        else:
            project = self.pipeline.project(self.id)
            options = self.pipeline.trial_options(project).candidates  # what "Try the options" would try
            shorter = tuple(_shorter(one, self.args.meta_rounds) for one in options)
            order = TrialOrder(candidates=shorter, budget_minutes=self.args.minutes, seed=self.seed)
            folder = life.create(order, self.paths, self.pipeline.dataset(project), spec=project.spec)
            life.start(folder)
            write_atomically(file, folder.id)
        told = ""
        while (status := life.status(folder)).state not in ENDED:
            if status.message != told:
                told = status.message
                print(f"  {status.spent_seconds:4.0f} s  {told}", flush=True)
            time.sleep(0.5)
        if folder.decision() is None:
            raise SystemExit(f"{self.task.name}: {status.message} {status.hint}")
        return folder

    def in_full(self, candidate: Candidate, train: Sequence[Example]) -> Tried:
        """A candidate on these training rows, asked the test rows. Of its cell's file where that is there."""
        from trainers.trials.carrying import run_in_full

        asked = [[row.input, row.output] for row in self.test]
        content = json.dumps([candidate.model_dump(mode="json", exclude={"price"}), asked], ensure_ascii=False)
        file = self.folder / "cells" / f"{candidate.key}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.json"
        if not file.is_file():
            found = run_in_full(candidate, train, self.test, self._shared(candidate), self.paths)
            if found.failed:
                raise SystemExit(f"{self.task.name}, {candidate.title}: {found.failed}")
            write_atomically(file, found.model_dump_json(indent=1))
        return Tried.model_validate_json(file.read_text("utf-8"))

    def _shared(self, candidate: Candidate) -> Any:
        """One loaded base for all options of the task."""
        from trainers.trials.sharing import open_shared

        if not hasattr(self, "_base"):
            self._base = open_shared(candidate.plan, self.paths)
        return self._base

    def run(self) -> Found:
        """Rules, trials, every option in full; each printed when it is there."""
        rules = self.advised_by_rules()
        print(f"  rules alone: {rules.title}", flush=True)
        folder = self.trials()
        candidates, train = folder.order().candidates, folder.splits().train
        by_rules = standing_for(rules, candidates)
        # Decided anew, by today's rule: tries are dear and kept, a decision costs nothing.
        order = folder.order().model_copy(update={"expected": by_rules})
        decision = decide(order, folder.tried(), len(train))
        print(f"  with trials: {decision.sentence}", flush=True)
        full = {}
        for one in candidates:
            found = full[one.key] = self.in_full(one, train)
            print(f"  {one.title:28} {found.score:6.1%} on {len(found.scores)} test rows, {_spent(found)}", flush=True)
        self.pipeline.close()
        tried = folder.tried()
        return Found(
            task=self.task.name,
            rows=self.args.rows or self.task.rows,
            scores={key: [found.scores[row.row] for row in self.test] for key, found in full.items()},
            # What cannot be tried here (more data, another base) leaves a person with their prompt.
            by_rules=by_rules or "prompt",
            by_trials=decision.advised,
            cpu=(sum(one.cpu_seconds for one in tried), sum(one.cpu_seconds for one in full.values())),
            wall=(sum(one.seconds for one in tried), sum(one.seconds for one in full.values())),
        )


def _shorter(candidate: Candidate, rounds: int) -> Candidate:
    """A candidate with no more rounds of meta-training than these."""
    strategy = candidate.plan.strategy
    if not isinstance(strategy, MetaLoraStrategy):
        return candidate
    fewer = strategy.model_copy(update={"rounds": min(rounds, strategy.rounds)})
    return candidate.model_copy(update={"plan": candidate.plan.model_copy(update={"strategy": fewer})})


@dataclass(frozen=True)
class Found:
    """What came of a task: each option's scores on the test rows, which were advised, and seconds of trials and all."""

    task: str
    rows: int
    scores: dict[str, list[float]]
    by_rules: str
    by_trials: str
    cpu: tuple[float, float]
    wall: tuple[float, float]

    def regret(self, advised: str) -> Comparison:
        """What the best of one half of the test rows scores more than the advised on the other, over both halves."""
        return compare(*self.pairs(advised))

    def pairs(self, advised: str) -> tuple[list[float], list[float]]:
        """By test row the score of the advised, and that of the option that was best on the other half."""
        own, best = [], []
        for part in (0, 1):
            choosing = {key: sum(found[1 - part :: 2]) for key, found in self.scores.items()}
            winner = max(choosing, key=choosing.__getitem__)  # of equals the first, which is the simplest
            best += self.scores[winner][part::2]
            own += self.scores[advised][part::2]
        return own, best

    def lead(self, advised: str) -> float:
        """What the best on all test rows scores more on them than the advised, in points."""
        own, best = (sum(self.scores[key]) / len(self.scores[key]) for key in (advised, self.best))
        return 100 * (best - own)

    @property
    def best(self) -> str:
        return max(self.scores, key=lambda key: sum(self.scores[key]))


def over_tasks(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float, float]:
    """What the second of each task's pair of scores by row is more than the first, in points: the mean over tasks and
    its interval by drawing each task's rows anew."""
    import numpy as np

    rng = np.random.default_rng(0)
    differences = [np.asarray(more) - np.asarray(less) for less, more in pairs]
    draws = [rng.choice(found, (_DRAWS, len(found))).mean(axis=1) for found in differences]
    low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    return 100 * float(np.mean([found.mean() for found in differences])), 100 * float(low), 100 * float(high)


def mean_regret(found: Sequence[Found], how: str) -> str:
    """The mean over tasks with its interval, and the mean lead."""
    mean, low, high = over_tasks([one.pairs(getattr(one, how)) for one in found])
    lead = sum(one.lead(getattr(one, how)) for one in found) / len(found)
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f}), lead {lead:.1f}"


def _spent(found: Tried) -> str:
    return f"{found.cpu_seconds:.0f} s of processor time, {found.seconds:.0f} s"


def line(found: Found) -> str:
    """One line of the table."""
    columns = [f"{found.task:<10} {found.rows:>5} {found.best:<14}"]
    for advised in (found.by_rules, found.by_trials):
        regret = found.regret(advised)
        points = f"{100 * regret.difference:+.0f} ({100 * regret.low:+.0f} to {100 * regret.high:+.0f})"
        columns.append(f"{advised:<14} {points:<18} {found.lead(advised):4.1f} ")
    cost = found.cpu[0] / found.cpu[1] if found.cpu[1] else 0.0
    return f"{' '.join(columns)} {cost:5.0%}  {found.cpu[0]:.0f} of {found.cpu[1]:.0f} s"


def tasks_named(given: Sequence[str], parser: argparse.ArgumentParser) -> list[Task]:
    """The tasks of these names, or `all`, in their own order; a name that there is not ends the program."""
    names = [task.name for task in TASKS]
    if wrong := sorted(set(given) - {*names, "all"}):
        parser.error(f"there is no task {wrong[0]}; there are {', '.join(names)}")
    return [task for task in TASKS if task.name in given or "all" in given]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(DEFAULT), help="names, or `all`")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=0, help="in place of each task's own number")
    parser.add_argument("--test", type=int, default=80)
    parser.add_argument("--minutes", type=float, default=60.0, help="the budget of the trials")
    parser.add_argument("--meta-rounds", type=int, default=12)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--out", type=Path, default=default_paths().cache / "benchmarks" / "advice")
    args = parser.parse_args()
    wanted = tasks_named(args.tasks, parser)
    print(f"{detect()}; {choose_compute(default_paths().cache).reason}", flush=True)
    results = []
    for task in wanted:
        for seed in args.seeds:
            began = time.monotonic()
            print(f"\n{task.name}, {args.rows or task.rows} rows, seed {seed}", flush=True)
            results.append(Bench(task, seed, args).run())
            print(f"  {time.monotonic() - began:.0f} s in this run", flush=True)
    print(
        f"\n{'task':<10} {'rows':>5} {'best':<14} {'rules':<14} {'regret':<18} lead  {'trials':<14} "
        f"{'regret':<18} lead   cost"
    )
    for found in results:
        print(line(found))
    spent, full = (sum(one.cpu[part] for one in results) for part in (0, 1))
    print(f"\nmean regret by rules alone {mean_regret(results, 'by_rules')}; with trials "
          f"{mean_regret(results, 'by_trials')}, at {spent / full:.0%} of the cost")  # fmt: skip


if __name__ == "__main__":
    main()
