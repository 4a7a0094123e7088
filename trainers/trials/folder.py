"""What the files of a round of trials say: what was ordered, what was tried, and what that proves.

Owns the layout of a trials' folder and its typed records. Refuses to start or stop anything (that is `life`).

    home/trials/ID/
      order.json           the candidates and the limits
      data/*.jsonl         the splits as they were; of test and side-by-side rows nothing is asked
      spec.json            the person's task, where the trials were started from a project
      worker.json          process id of the worker, and when that process began
      worker.log           all that the worker printed
      status.json          state, what is being tried, what was spent
      tried.jsonl          a line for each try that has ended
      answers.jsonl        what the untouched base said, by prompt and row: nothing is asked twice
      decision.json        what the tries prove
      stop                 there if somebody asked to stop
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from prompts.errors import RunError
from prompts.spec import TaskSpec
from trainers.data import Example
from trainers.paths import write_atomically
from trainers.splits import SPLITS, Splits
from trainers.status import ENDED, last_lines, read_rows, write_rows
from trainers.trials.records import Decision, TrialOrder, TrialsStatus, Tried

__all__ = ["ENDED", "TrialsFolder"]


class TrialsFolder:
    """Typed access to one round's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def worker_file(self) -> Path:
        return self.path / "worker.json"

    @property
    def answers(self) -> Path:
        return self.path / "answers.jsonl"

    def order(self) -> TrialOrder:
        """What was ordered. Raises `RunError` where the file is gone or damaged."""
        try:
            return TrialOrder.model_validate_json((self.path / "order.json").read_text("utf-8"))
        except (OSError, ValidationError) as error:
            raise RunError(f"The trials {self.id} cannot be read any more.", hint="Start new ones.") from error

    def write_order(self, order: TrialOrder) -> None:
        write_atomically(self.path / "order.json", order.model_dump_json(indent=1))

    def spec(self) -> TaskSpec | None:
        """The person's task as it was at the start; None where there was none."""
        try:
            return TaskSpec.model_validate_json((self.path / "spec.json").read_text("utf-8"))
        except FileNotFoundError:
            return None

    def write_spec(self, spec: TaskSpec) -> None:
        write_atomically(self.path / "spec.json", spec.model_dump_json(indent=1))

    def status(self) -> TrialsStatus:
        """The status as it was written last; whether the worker still lives is `life.status`' question."""
        try:
            return TrialsStatus.model_validate_json((self.path / "status.json").read_text("utf-8"))
        except FileNotFoundError:
            return TrialsStatus()

    def write_status(self, status: TrialsStatus) -> None:
        stamped = status.model_copy(update={"updated": time.time()})
        write_atomically(self.path / "status.json", stamped.model_dump_json(indent=1))

    def tried(self) -> list[Tried]:
        """Every try that has ended, in that order."""
        try:
            lines = (self.path / "tried.jsonl").read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [Tried.model_validate_json(line) for line in lines if line]

    def add(self, tried: Tried) -> None:
        """Written whole each time: there are some dozens of them, and half a line would be one lost."""
        lines = "".join(f"{one.model_dump_json()}\n" for one in (*self.tried(), tried))
        write_atomically(self.path / "tried.jsonl", lines)

    def decision(self) -> Decision | None:
        """What the tries prove; None where they have not got that far."""
        try:
            return Decision.model_validate_json((self.path / "decision.json").read_text("utf-8"))
        except FileNotFoundError:
            return None

    def write_decision(self, decision: Decision) -> None:
        write_atomically(self.path / "decision.json", decision.model_dump_json(indent=1))

    def splits(self) -> Splits:
        """The rows as they were when the trials were ordered. Raises `RunError`."""
        return Splits(**{name: self._split(name) for name in SPLITS})

    def _split(self, name: str) -> tuple[Example, ...]:
        file = self.path / "data" / f"{name}.jsonl"
        if not file.is_file():
            raise RunError(f"The trials {self.id} have no {name} rows any more.", hint="Start new ones.")
        return read_rows(file)

    def write_splits(self, splits: Splits) -> None:
        for name, rows in splits.parts():
            write_rows(self.path / "data" / f"{name}.jsonl", rows)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the worker's log."""
        return last_lines(self.log, lines)
