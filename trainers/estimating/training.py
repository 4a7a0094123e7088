"""What following a plan takes on a machine: memory, time, energy and money, and whether it fits.

Owns putting these together. Refuses to know projects and prices.
"""

from __future__ import annotations

from collections.abc import Iterable

from trainers.estimating.history import NO_HISTORY, History, corrected
from trainers.estimating.memory import memory
from trainers.estimating.records import Fit, Machine, TrainingEstimate
from trainers.estimating.workload import Workload

ROOM = 0.92  # of a machine's memory: the rest is the system's


def estimate(work: Workload, machine: Machine, history: History = NO_HISTORY) -> TrainingEstimate:
    """What a plan takes on a machine, corrected by what earlier runs were found to take."""
    held, spent, correction = corrected(work, machine, history)
    return TrainingEstimate(
        machine=machine.name,
        tokens=work.tokens,
        memory=held,
        seconds=spent,
        fits=held.total <= ROOM * machine.memory_gb,
        watt_hours=None if machine.watts is None else machine.watts * spent.total / 3600,
        money=None if machine.per_hour is None else machine.per_hour * spent.total / 3600,
        corrected_by=correction.runs,
        spread=correction.spread,
    )


def fits(work: Workload, machines: Iterable[Machine]) -> tuple[Fit, ...]:
    """Whether a plan's training fits each of these machines, with the memory that it would need there."""
    return tuple(
        Fit(machine=one.name, memory_gb=one.memory_gb, needed_gb=memory(work, one).total / ROOM) for one in machines
    )


def tokens_per_second(work: Workload, machine: Machine, history: History = NO_HISTORY) -> float:
    """Training tokens a second, padding not counted; 0 where nothing is trained."""
    spent = estimate(work, machine, history).seconds.training
    return work.tokens / spent if spent > 0 else 0.0
