"""What a run's files say: the status that the worker writes and everybody reads.

Owns the layout of a run directory and its typed records. Refuses to start or stop anything (that is `jobs`).

    RUN_DIR/
      plan.yaml            what was asked for
      data/*.jsonl         the splits, as this run sees them
      worker.json          process id of the worker, and when that process began
      launch.json          how many processes on how many machines, where it is not one
      cluster.json         the Ray cluster that carries it out, where that is not this machine
      worker.log           all that the worker printed
      status.json          state, phase, progress, speed, time left
      metrics.jsonl        one line per optimizer step or evaluation
      name                 what the person calls it, where they gave it a name
      adjusted.json        how the plan is followed after a trouble; trouble.json: what ended one of several processes
      cancel, stop         there if somebody asked to give up, or to stop and keep what is learned
      checkpoints/         what the trainer keeps while it runs; gone once the artefact is saved
      begun/               the adapter before the first step, where the artefact is the difference to it
      adapter/ or model/   the artefact; of a strategy that only writes a prompt, prompt.json
      estimate.json        what was foretold of memory and time, and what that rests on
      energy.json          what the training took of electricity, by the machine's counters
      exports/             what was exported, each with its export.json; export.log is what the last one printed
      watch/               what its served model was asked, where somebody switched that on
      rehearsal.jsonl      general questions with the base's own answers, where the plan mixes some in
      spec.json            the person's task, where the run was started from a project
      trial.json           which try of which trials it is, where it is one; data/asked.jsonl are the rows it is asked
      tried.json           what came of that try
      examine.json         how it is examined, where that is not as the plan says
      paraphrases.json     test inputs in other words, by row number, where somebody wrote them
      asked/               what each arm said so far, while it is examined
      predictions.jsonl    both arms' answers on the test split
      evaluation.json      the report
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from prompts.errors import RunError
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.evaluation.records import EvaluationReport, Prediction
from trainers.paths import write_atomically
from trainers.plan import EvaluationPlan, TrainingPlan, read_plan

State = Literal["queued", "running", "done", "failed", "cancelled"]
Phase = Literal["preparing", "training", "evaluating", "finished"]
EARLY = "The new examination ended early"  # of a run whose report from before stands
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


class RunStatus(BaseModel):
    """Where a run is. Seconds and tokens count within the training phase; `fraction` within the current phase."""

    model_config = ConfigDict(frozen=True)

    state: State = "queued"
    phase: Phase = "preparing"
    fraction: float = 0.0
    step: int = 0
    total_steps: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    hint: str = ""
    started: float = 0.0
    updated: float = 0.0
    peak_memory_gb: float = 0.0
    notes: tuple[str, ...] = ()  # what was done about troubles on the way, for the person

    @field_validator("state", mode="before")
    @classmethod
    def _renamed(cls, state: str) -> str:
        return "queued" if state == "starting" else state  # as runs of before the queue have it


class RunFolder:
    """Typed access to one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """A whole model, where every weight was tuned."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def begun(self) -> Path:
        return self.path / "begun"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def trial(self) -> Path:
        """Which try of which trials it is (`trials.runs`); there only where it is one."""
        return self.path / "trial.json"

    @property
    def tried(self) -> Path:
        """What came of that try, once it has ended."""
        return self.path / "tried.json"

    @property
    def artefact(self) -> Path | None:
        """The adapter or model that this run made; None for one that has none, or none yet."""
        for folder, mark in ((self.adapter, "adapter_config.json"), (self.model, "config.json")):
            if (folder / mark).is_file():
                return folder
        return None

    @property
    def has_result(self) -> bool:
        """Whether there is something to serve: an artefact, or a prompt of the run's own."""
        return self.artefact is not None or (self.path / "prompt.json").is_file()

    def result_prompt(self) -> PromptVersion:
        """The prompt that the result answers with: the plan's, or the one that the run made."""
        try:
            return PromptVersion.model_validate_json((self.path / "prompt.json").read_text("utf-8"))
        except FileNotFoundError:
            return self.plan().prompt

    def write_prompt(self, prompt: PromptVersion) -> None:
        write_atomically(self.path / "prompt.json", prompt.model_dump_json(indent=1))

    @property
    def name(self) -> str:
        """What the person calls it, else its id."""
        try:
            return (self.path / "name").read_text("utf-8").strip() or self.id
        except OSError:
            return self.id

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def set_aside(self) -> Path:
        """The rows of the data that could not be read; there only where there were some."""
        return self.path / "set-aside.csv"

    def plan(self) -> TrainingPlan:
        """The plan as written at the start. Raises `PlanError`."""
        return read_plan(self.path / "plan.yaml")

    def spec(self) -> TaskSpec | None:
        """The person's task as it was at the start; None for a run of the command line."""
        try:
            return TaskSpec.model_validate_json((self.path / "spec.json").read_text("utf-8"))
        except FileNotFoundError:
            return None

    def write_spec(self, spec: TaskSpec) -> None:
        write_atomically(self.path / "spec.json", spec.model_dump_json(indent=1))

    def how(self) -> EvaluationPlan:
        """How the result is examined: as somebody asked since, else as the plan says. Raises `PlanError`."""
        try:
            return EvaluationPlan.model_validate_json((self.path / "examine.json").read_text("utf-8"))
        except FileNotFoundError:
            return self.plan().evaluation

    def write_how(self, how: EvaluationPlan) -> None:
        write_atomically(self.path / "examine.json", how.model_dump_json(indent=1))

    def paraphrases(self) -> dict[int, str]:
        try:
            raw = json.loads((self.path / "paraphrases.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return {int(row): text for row, text in raw.items()}

    def write_paraphrases(self, texts: dict[int, str]) -> None:
        write_atomically(self.path / "paraphrases.json", json.dumps(texts, ensure_ascii=False, indent=1))

    @property
    def asked(self) -> Path:
        return self.path / "asked"

    def write_status(self, status: RunStatus) -> None:
        stamped = status.model_copy(update={"updated": time.time()})
        write_atomically(self.path / "status.json", stamped.model_dump_json(indent=1))

    def written_status(self) -> RunStatus:
        """The last status that the worker wrote; whether it still lives is `jobs.status`' question."""
        try:
            return RunStatus.model_validate_json((self.path / "status.json").read_text())
        except FileNotFoundError:
            return RunStatus()

    def write_split(self, name: str, examples: tuple[Example, ...]) -> None:
        write_rows(self.path / "data" / f"{name}.jsonl", examples)

    def split(self, name: str) -> tuple[Example, ...]:
        """One split's examples. Raises `RunError` where the run lacks it."""
        file = self.path / "data" / f"{name}.jsonl"
        if not file.is_file():
            raise RunError(f"Run {self.id} has no {name} split.", hint="Start the run again.")
        return read_rows(file)

    def add_metrics(self, **values: Any) -> None:
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def forget_metrics_after(self, step: int) -> None:
        """Drop what was logged beyond a checkpoint: a resumed run logs these steps again."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_atomically(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def tokens_trained(self) -> int:
        """The tokens of all steps that are logged."""
        return max((line.get("tokens", 0) for line in self.metrics()), default=0)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict per logged step: step, and loss or eval_loss, and what else was logged."""
        try:
            lines = (self.path / "metrics.jsonl").read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]  # what follows the last newline is still being written

    def write_report(self, report: EvaluationReport, predictions: list[Prediction]) -> None:
        lines = "".join(prediction.model_dump_json() + "\n" for prediction in predictions)
        write_atomically(self.path / "predictions.jsonl", lines)
        write_atomically(self.path / "evaluation.json", report.model_dump_json(indent=1))

    def report(self) -> EvaluationReport | None:
        """The report, or None where the run has not got that far."""
        try:
            return EvaluationReport.model_validate_json((self.path / "evaluation.json").read_text("utf-8"))
        except FileNotFoundError:
            return None

    def predictions(self) -> list[Prediction]:
        try:
            lines = (self.path / "predictions.jsonl").read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [Prediction.model_validate_json(line) for line in lines if line]

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the worker's log."""
        return last_lines(self.log, lines)


def write_rows(file: Path, rows: Sequence[Example]) -> None:
    """Rows as JSON, a line each."""
    write_atomically(file, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_rows(file: Path) -> tuple[Example, ...]:
    """The rows that `write_rows` wrote."""
    return tuple(Example(**json.loads(line)) for line in file.read_text("utf-8").split("\n") if line)


def last_lines(log: Path, lines: int) -> str:
    """The end of a log; a progress bar's carriage returns count as line ends. Empty where there is no log."""
    try:
        text = log.read_bytes()[-20_000:].decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.replace("\r", "\n").strip().split("\n")[-lines:])
