"""What a better prompt is worth, without any training: naive, the same with constrained output, and refined.

    python -m benchmarks.prompts --data DIR [--tasks banking77 clinc150 snips e2e] [--minutes 5] [--test 60]
                                 [--train 240] [--dev 160] [--base-model embedded] [--out FOLDER]

DIR holds the folders `banking77`, `clinc150`, `snips_slots` and `e2e_nlg`. Train and dev rows come from the data's own
training files, test rows from its test files, seeded. The search sees train and dev rows alone; test rows are answered
once by each of the three prompts, after it has ended. Greedy throughout. Free text cannot be held to anything, so there
the second column is the first. Prints as it goes; what is done is kept in FOLDER, and another start goes on there.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assistant.pipeline import Pipeline
from assistant.settings import settings_from_environment
from prompts.allowed import allowed_for
from prompts.metrics import METRICS, metric_for
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.data import Mapping
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED
from trainers.paths import Paths, default_paths

_SEED = 0
Row = dict[str, str]


@dataclass(frozen=True)
class Task:
    """A real task: what a person would say of it, the prompt they would write in a minute, and its rows."""

    name: str
    spec: TaskSpec
    naive: str
    training: Callable[[Path], list[Row]]
    testing: Callable[[Path], list[Row]]


def _banking77(file: str) -> Callable[[Path], list[Row]]:
    def rows(data: Path) -> list[Row]:
        with (data / "banking77" / file).open(encoding="utf-8", newline="") as lines:
            found = [{"input": row["text"], "output": row["category"]} for row in csv.DictReader(lines)]
        intents = sorted({row["output"] for row in found})[:8]
        return [row for row in found if row["output"] in intents]

    return rows


def _clinc150(file: str) -> Callable[[Path], list[Row]]:
    def rows(data: Path) -> list[Row]:
        lines = (data / "clinc150" / file).read_text("utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        domain = min(row["domain"] for row in found)  # the first by name
        return [{"input": row["text"], "output": row["intent"]} for row in found if row["domain"] == domain]

    return rows


def _snips(part: str) -> Callable[[Path], list[Row]]:
    def rows(data: Path) -> list[Row]:
        return [
            row
            for file in sorted((data / "snips_slots").glob(f"{part}_*.json"))
            for spans in json.loads(file.read_text("utf-8")).values()
            for row in (_slots(said["data"]) for said in spans)
        ]

    return rows


def _slots(spans: list[Row]) -> Row:
    """The sentence, and its slots as one JSON object; of a slot that occurs twice the first."""
    slots: Row = {}
    for span in spans:
        if "entity" in span:
            slots.setdefault(span["entity"], span["text"].strip())
    return {"input": "".join(span["text"] for span in spans).strip(), "output": json.dumps(slots, ensure_ascii=False)}


def _e2e(file: str) -> Callable[[Path], list[Row]]:
    def rows(data: Path) -> list[Row]:
        with (data / "e2e_nlg" / file).open(encoding="utf-8", newline="") as lines:
            first = {row["mr"]: row["ref"] for row in reversed(list(csv.DictReader(lines)))}
        return [{"input": mr, "output": ref} for mr, ref in first.items()]

    return rows


TASKS = (
    Task(
        "banking77",
        TaskSpec(task="classification", input="bank customer's message", output_format="label"),
        "Name the intent of the bank customer's message.",
        _banking77("train.csv"),
        _banking77("test.csv"),
    ),
    Task(
        "clinc150",
        TaskSpec(task="classification", input="question about a car", output_format="label"),
        "Name the intent of the question.",
        _clinc150("train.jsonl"),
        _clinc150("test.jsonl"),
    ),
    Task(
        "snips",
        TaskSpec(task="extraction", input="request to a voice assistant", output="its slots", output_format="json"),
        "Extract the slots of the request as JSON.",
        _snips("train"),
        _snips("validate"),
    ),
    Task(
        "e2e",
        TaskSpec(task="generation", input="attributes of a restaurant", output="a sentence", output_format="text"),
        "Write a sentence about the restaurant.",
        _e2e("dev.csv"),
        _e2e("test.csv"),
    ),
)


def balanced(rows: list[Row], count: int, rng: random.Random) -> list[Row]:
    """`count` rows in seeded order; of labels, equally many each as far as there are."""
    by_output: dict[str, list[Row]] = defaultdict(list)
    for row in rng.sample(rows, len(rows)):
        by_output[row["output"]].append(row)
    turns = range(max(map(len, by_output.values())))
    in_turn = [group[i] for i in turns for group in by_output.values() if i < len(group)]
    return in_turn[:count]


def write_data(task: Task, args: argparse.Namespace, path: Path) -> list[Row]:
    """Train and dev rows as the file that the search is given, and the test rows, which it is not."""
    rng = random.Random(_SEED)
    rows = balanced(task.training(args.data), args.train + args.dev, rng)
    train, dev = rows[: args.train], rows[args.train :]
    named = [{**row, "split": "train"} for row in train] + [{**row, "split": "dev"} for row in dev]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named), encoding="utf-8")
    return balanced(task.testing(args.data), args.test, rng)


class Bench:
    """One task's project in a folder of its own, its three prompts, and what is known of them so far."""

    def __init__(self, task: Task, args: argparse.Namespace) -> None:
        self.task, self.args = task, args
        self.folder: Path = args.out / f"{task.name}-{args.train}-{args.dev}-{args.test}-{args.minutes:g}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "result.json"
        self.known: dict[str, Any] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        settings = settings_from_environment()
        home = Paths(home=self.folder / "home", cache=settings.paths.cache)
        self.pipeline = Pipeline(replace(settings, paths=home, database_url=""))
        self.test = write_data(task, args, self.folder / "rows.jsonl")

    def keep(self, **known: Any) -> None:
        self.known |= known
        self._file.write_text(json.dumps(self.known, ensure_ascii=False, indent=1))

    def project(self) -> str:
        """The project's id; it is made at the first start."""
        if "project" not in self.known:
            id = self.pipeline.store.create_project(self.task.name).id
            facts = self.task.spec.known() | {"base_model": self.args.base_model}
            self.pipeline.edit_spec(id, facts)
            self.pipeline.add_file(
                id, self.folder / "rows.jsonl", columns=Mapping(input="input", output="output", split="split")
            )
            self.keep(project=id)
        return str(self.known["project"])

    def versions(self) -> dict[str, PromptVersion]:
        """The naive prompt and the same with constrained output."""
        naive = PromptVersion(system=self.task.naive, reason="naive")
        rows = self.pipeline.splits(self.pipeline.project(self.project())).train
        labels = sorted({row.output for row in rows}) if self.task.spec.output_format == "label" else []
        allowed = allowed_for(labels, [row.output for row in rows])
        held = naive.revised(reason="the same, constrained", allowed=allowed) if allowed else naive
        return {"naive": naive, "constrained": held}

    def refined(self, start: PromptVersion) -> PromptVersion:
        """What the search makes of a version. An earlier start's outcome is taken as it is."""
        if "refined" not in self.known:
            id = self.project()
            self.pipeline.take_prompt(id, start)
            begun = time.monotonic()
            job = self.pipeline.start_improving(id, minutes=self.args.minutes)
            told = ""
            while job.running:
                if job.message != told:
                    told = job.message
                    print(f"  {time.monotonic() - begun:4.0f} s  {told}", flush=True)
                time.sleep(0.5)
            if job.outcome is None:
                raise SystemExit(f"{self.task.name}: {job.error or job.message}")
            told = job.outcome.sentence
            print(f"  {time.monotonic() - begun:4.0f} s  {told}", flush=True)
            self.keep(
                refined=job.outcome.kept.model_dump(mode="json"),
                search={"better": job.outcome.better, "told": told, "seconds": time.monotonic() - begun},
            )
        return PromptVersion.model_validate(self.known["refined"])

    def answers(self, column: str, version: PromptVersion) -> list[str]:
        """One prompt's answers to the test rows."""
        kept = self.known.setdefault("answers", {})
        if version.id not in kept:
            project = self.pipeline.project(self.project())
            begun = time.monotonic()
            found = self.pipeline.asker(project).ask(version, [row["input"] for row in self.test])
            kept[version.id] = [answer.text for answer in found]
            print(f"  {column}: {len(self.test)} test rows in {time.monotonic() - begun:.0f} s", flush=True)
            self.keep(answers=kept)
        return list(kept[version.id])

    def run(self) -> dict[str, Any]:
        """The three columns, and the search's against the second on the same rows."""
        versions = self.versions()
        # The search comes first: it has its minutes with nothing of the test rows computed yet.
        versions["refined"] = self.refined(versions["constrained"])
        answers = {column: self.answers(column, version) for column, version in versions.items()}
        expected = [row["output"] for row in self.test]
        metric = METRICS[metric_for(self.task.spec.output_format)]
        found = metric.compare(answers["constrained"], answers["refined"], expected)
        scores = {column: metric.score(given, expected) for column, given in answers.items()}
        self.pipeline.close()
        return {"task": self.task.name, "metric": metric.name, **scores, "difference": found, **self.known["search"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--train", type=int, default=240)
    parser.add_argument("--dev", type=int, default=160)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--out", type=Path, default=default_paths().cache / "benchmarks" / "prompts")
    args = parser.parse_args()
    print(f"{detect()}; {choose_compute(default_paths().cache).reason}")
    results = []
    for task in TASKS:
        if task.name in args.tasks:
            print(f"{task.name}", flush=True)
            results.append(Bench(task, args).run())
    print(f"\n{'task':<10} {'metric':<12} {'naive':<26} {'constrained':<26} {'refined':<26} refined minus constrained")
    for found in results:
        difference = found["difference"]
        columns = " ".join(f"{found[column]!s:<26}" for column in ("naive", "constrained", "refined"))
        change = f"{difference.difference * 100:+.0f} ({difference.low * 100:+.0f} to {difference.high * 100:+.0f})"
        print(f"{found['task']:<10} {found['metric']:<12} {columns} {change} {difference.verdict}")


if __name__ == "__main__":
    main()
