"""What the worker calls: before a run to write down what is foretold, after it what it took.

Owns RUN/estimate.json and the line in the home's history. An estimate that fails costs no run. Never imports torch.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from trainers.data import labels_of
from trainers.energy import NOTHING_SAID
from trainers.estimating.history import Measured, Past, append, read_history
from trainers.estimating.machines import this_machine
from trainers.estimating.records import Machine, Seconds, TrainingEstimate
from trainers.estimating.training import estimate
from trainers.estimating.workload import Workload, workload_of
from trainers.hardware import Compute, detect
from trainers.memory import peak_memory_gb
from trainers.models import LocalModel
from trainers.paths import Paths, write_atomically
from trainers.row_lengths import row_lengths
from trainers.status import RunFolder
from trainers.tokens import token_counter

_FILE = "estimate.json"
_MOST_LENGTHS = 5_000  # rows whose tokens are counted: enough for a mean and a longest batch


class Foretold(BaseModel):
    """What was foretold of a run, and what that rests on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    workload: Workload
    machine: Machine
    told: TrainingEstimate


@dataclass
class Watch:
    """Looks at one run: `foretell` before it, `loaded` when the model is there, `made` when its training is over, and
    `keep` when it is done.

    A run that was cut off and goes on, or was followed otherwise than planned, tells nothing of its estimate: of it no
    line is kept.
    """

    run: RunFolder
    paths: Paths
    begun: float = field(default_factory=time.monotonic)
    _loaded: float = 0.0
    _made: float = 0.0
    _whole: bool = True

    def foretell(self, base: LocalModel, compute: Compute) -> None:
        """Write RUN/estimate.json, if it is not there yet. What comes from here on counts, the wait before does not."""
        self.begun = time.monotonic()
        try:
            if self.run.has_result or (self.run.path / _FILE).exists():
                self._whole = False
                return
            work, machine = workload_of_run(self.run, base), this_machine(detect(), compute, NOTHING_SAID)
            told = estimate(work, machine, read_history(self.paths))
            foretold = Foretold(workload=work, machine=machine, told=told)
            write_atomically(self.run.path / _FILE, foretold.model_dump_json(indent=1))
        except Exception:
            self._whole = False
            traceback.print_exc()

    def loaded(self) -> None:
        """The model is there, and its training begins; the first time counts."""
        self._loaded = self._loaded or time.monotonic() - self.begun

    def made(self) -> None:
        """The artefact is there, and its examination begins."""
        self._made = time.monotonic() - self.begun

    def keep(self) -> None:
        """Add what the run took to the history."""
        try:
            if (foretold := read_foretold(self.run)) and self._whole and not (self.run.path / "adjusted.json").exists():
                found = self._measured(time.monotonic() - self.begun)
                past = Past(run=self.run.id, when=time.time(), measured=found, **dict(foretold))
                append(past, self.paths)
        except Exception:
            traceback.print_exc()

    def _measured(self, total: float) -> Measured:
        status, report, lines = self.run.written_status(), self.run.report(), self.run.metrics()
        steps = [line for line in lines if "loss" in line]
        training = float(steps[-1]["seconds"]) if steps else 0.0
        testing = report.evaluation_seconds if report else 0.0
        checking = max(0.0, self._made - self._loaded - training) if self._loaded else 0.0
        loading = max(0.0, total - training - checking - testing)
        return Measured(
            memory_gb=peak_memory_gb(),
            training_memory_gb=max((float(line.get("memory_gb", 0)) for line in steps), default=0.0),
            seconds=Seconds(loading=loading, training=training, checking=checking, testing=testing),
            share=status.step / status.total_steps if status.total_steps else 1.0,
        )


def workload_of_run(run: RunFolder, base: LocalModel) -> Workload:
    """What a run will compute, from its own rows."""
    plan = run.plan()
    train, dev, test = (run.split(name) for name in ("train", "dev", "test"))
    usable = plan.objective.usable(train) if plan.strategy.trains else train
    lengths, answer = row_lengths(usable[:_MOST_LENGTHS], plan.prompt, token_counter(base.folder), lambda share: None)
    return workload_of(
        plan,
        base,
        lengths,
        train=len(usable),
        dev=len(dev),
        test=len(test),
        answer_tokens=answer,
        labels=len(labels_of((*usable, *test))),
    )


def read_foretold(run: RunFolder) -> Foretold | None:
    """What was foretold of a run; None where nothing was, or it cannot be read."""
    try:
        return Foretold.model_validate_json((run.path / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
