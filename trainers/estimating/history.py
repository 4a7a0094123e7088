"""What earlier runs took, beside what had been foretold: by how much estimates are off here.

Owns `estimates.jsonl`, one line a run, which outlives the runs themselves, and the factors drawn from it. A line keeps
the workload, so that it is held against the formulas of today and not against those of its day. Refuses to measure.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainers.estimating.plain import plain
from trainers.estimating.records import Machine, Memory, Seconds, TrainingEstimate
from trainers.estimating.workload import Workload
from trainers.paths import Paths

_FILE = "estimates.jsonl"
_MOST_RUNS = 200  # the last ones of each kin: machines and libraries change
# Runs that the formulas themselves count for: with one run of its kin an estimate is moved half of the way, with four
# of them four fifths.
_WEIGHT = 1.0
_FURTHEST = 5.0  # no correction beyond this factor: such a run was disturbed
_UNSURE = ("activations", "logits", "cache", "runtime")  # what a correction of memory may change: the rest is counted


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Measured(_Record):
    """What a run took. Memory in GB: the most in training and of all; phases as `Seconds` has them, with testing and
    examining together in `testing`. `share` is how much of its steps were made, where it ended early."""

    memory_gb: float
    training_memory_gb: float = 0.0
    seconds: Seconds
    share: float = 1.0

    @classmethod
    def phases(cls) -> tuple[str, ...]:
        """The phases that are measured apart."""
        return ("loading", "training", "checking", "testing")


class Past(_Record):
    """A run that was foretold and then measured."""

    run: str
    when: float
    workload: Workload
    machine: Machine
    told: TrainingEstimate
    measured: Measured

    @property
    def kin(self) -> tuple[str, ...]:
        return kin_of(self.workload, self.machine)


def kin_of(work: Workload, machine: Machine) -> tuple[str, ...]:
    """What makes runs alike, from the widest to the nearest: machine and device, then dtype and strategy."""
    return (f"{machine.name}/{machine.device}", f"{machine.dtype}/{work.strategy.type}/{work.objective}")


@dataclass(frozen=True)
class Correction:
    """By what to multiply, how many runs say so, and by which factor such estimates are typically off still."""

    factor: float = 1.0
    runs: int = 0
    spread: float | None = None


@dataclass(frozen=True)
class History:
    """Runs that were foretold and then measured, the oldest first."""

    runs: Sequence[Past] = ()

    def without(self, run: str) -> History:
        """The same without one run."""
        return History([past for past in self.runs if past.run != run])

    @cached_property
    def _ratios(self) -> Sequence[tuple[tuple[str, ...], dict[str, float]]]:
        """Of each run its kin, and measured by foretold of "memory" and of each phase that tells."""
        return [(past.kin, ratios(past)) for past in self.runs]

    def correction(self, work: Workload, machine: Machine, what: str) -> Correction:
        """A robust factor: the median of log ratios, shrunk towards 1 by the number of runs; nearest kin last.

        `what` is "memory" or a phase.
        """
        wide, near = kin_of(work, machine)
        of_machine = [(kin, found) for kin, found in self._ratios if kin[0] == wide and what in found][-_MOST_RUNS:]
        at, count, logs = 0.0, 0, list[float]()
        for alike in (of_machine, [one for one in of_machine if one[0][1] == near]):
            if alike:
                logs = [_log(found[what]) for _, found in alike]
                at += (statistics.median(logs) - at) * len(logs) / (len(logs) + _WEIGHT)
                count = len(logs)
        spread = math.exp(statistics.median(abs(log - at) for log in logs)) if logs else None
        return Correction(math.exp(at), count, spread)


NO_HISTORY = History()


def _log(ratio: float) -> float:
    return math.log(min(_FURTHEST, max(1 / _FURTHEST, ratio)))


def corrected(work: Workload, machine: Machine, history: History) -> tuple[Memory, Seconds, Correction]:
    """Memory and time as the formulas have them, corrected by history; the last tells of the time of the training."""
    held, spent = plain(work, machine)
    if not history.runs:
        return held, spent, Correction()
    memory = history.correction(work, machine, "memory")
    phases = {name: history.correction(work, machine, name) for name in Measured.phases()}
    main = phases["training"] if work.trains else phases["testing"]
    factors = {name: phases["testing" if name == "examining" else name].factor for name in Seconds.model_fields}
    return (
        scaled(held, memory.factor),
        Seconds(**{name: value * factors[name] for name, value in spent.model_dump().items()}),
        replace(main, runs=max(main.runs, memory.runs)),
    )


def ratios(past: Past) -> dict[str, float]:
    """Measured by what the formulas say, of memory and of the phases; without those that tell nothing."""
    held, spent = plain(past.workload, past.machine)
    context = held.runtime if past.machine.device == "cuda" else 0.0  # PyTorch counts what it gave out itself
    found = {"memory": (past.measured.memory_gb + context) / held.total} if past.measured.memory_gb else {}
    for name in Measured.phases():
        foretold, took = getattr(spent, name), getattr(past.measured.seconds, name)
        if name == "testing":
            foretold += spent.examining
        if name in ("training", "checking"):
            foretold *= past.measured.share
        if took > 0 and foretold > 0:
            found[name] = took / foretold
    return found


def scaled(held: Memory, factor: float) -> Memory:
    """The same memory times a factor; what is counted exactly stays, and what is not makes up the difference."""
    values = held.model_dump()
    unsure = sum(values[name] for name in _UNSURE)
    share = max(0.1, 1 + held.total * (factor - 1) / unsure) if unsure else 1.0
    return Memory(**{name: value * (share if name in _UNSURE else 1.0) for name, value in values.items()})


# The file


def history_file(paths: Paths) -> Path:
    """Where the history of this home is kept."""
    return paths.home / _FILE


def read_history(paths: Paths) -> History:
    """All runs that were measured here; damaged lines are skipped."""
    try:
        text = history_file(paths).read_text("utf-8", errors="replace")
    except OSError:
        return NO_HISTORY
    return History(tuple(_parsed(text.split("\n"))))


def _parsed(lines: Iterable[str]) -> Iterable[Past]:
    for line in lines:
        try:
            yield Past.model_validate(json.loads(line))
        except (ValueError, ValidationError):
            continue


def append(past: Past, paths: Paths) -> None:
    """Add a line, whole or not at all: it is on the disk when this returns."""
    file = history_file(paths)
    file.parent.mkdir(parents=True, exist_ok=True)
    line = past.model_dump_json() + "\n"
    with file.open("ab") as stream:
        if stream.tell() and not _ends_whole(file):
            line = "\n" + line  # another process was killed while it wrote
        stream.write(line.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
