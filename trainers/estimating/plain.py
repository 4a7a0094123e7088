"""Time by phases and memory by parts, as the formulas have them, before any history corrects them.

Owns putting the formulas together. Refuses to know earlier runs.
"""

from __future__ import annotations

from trainers.estimating.memory import memory
from trainers.estimating.records import Machine, Memory, Seconds
from trainers.estimating.speed import (
    checking_seconds,
    examining_seconds,
    loading_seconds,
    testing_seconds,
    training_seconds,
)
from trainers.estimating.workload import Workload


def plain(work: Workload, machine: Machine) -> tuple[Memory, Seconds]:
    """What the formulas say of a plan on a machine."""
    return memory(work, machine), seconds(work, machine)


def seconds(work: Workload, machine: Machine) -> Seconds:
    """The phases of a run."""
    return Seconds(
        loading=loading_seconds(work, machine),
        training=training_seconds(work, machine),
        checking=checking_seconds(work, machine),
        testing=testing_seconds(work, machine),
        examining=examining_seconds(work, machine),
    )
