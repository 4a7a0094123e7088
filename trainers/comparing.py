"""Runs beside each other: where their plans differ, how their losses went. Never imports torch.

Owns the differences and the curves as plain rows. Refuses to draw and to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from trainers.plan import TrainingPlan
from trainers.status import RunFolder

# What every run has of its own, and what says nothing about the training.
_LEFT_OUT = ("name", "prompt.parent", "prompt.reason", "prompt.author")


class Difference(NamedTuple):
    """A plan's key and what each run has there, in the order of the runs; empty where one has no such key."""

    key: str
    values: tuple[str, ...]


class Point(NamedTuple):
    """One logged loss."""

    run: str
    split: str
    step: int
    loss: float


def differences(plans: Sequence[TrainingPlan]) -> list[Difference]:
    """Every key in which the plans are not all alike."""
    flat = [_flat(plan.model_dump(mode="json")) for plan in plans]
    keys = dict.fromkeys(key for one in flat for key in one if key not in _LEFT_OUT)
    rows = (Difference(key, tuple(one.get(key, "") for one in flat)) for key in keys)
    return [row for row in rows if len(set(row.values)) > 1]


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Leaves of nested mappings by their dotted keys."""
    if not isinstance(value, dict) or not value:
        return {path: "" if value is None else str(value)}
    found: dict[str, str] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{path}.{key}" if path else key)
    return found


def curves(runs: Sequence[RunFolder]) -> list[Point]:
    """The losses of training and dev rows of all runs, each under its run's name."""
    kinds = (("loss", "train"), ("eval_loss", "dev"))
    return [
        Point(run.name, split, line["step"], line[key])
        for run in runs
        for line in run.metrics()
        for key, split in kinds
        if key in line
    ]
