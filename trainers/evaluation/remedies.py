"""Remedies as plans: a gate's advice applied to the run's own plan. Never imports torch.

Owns turning dotted keys into a plan. Refuses to choose a remedy (that is each probe's).
"""

from __future__ import annotations

from typing import Any

from trainers.evaluation.records import Remedy
from trainers.plan import TrainingPlan, parse_plan


def apply(remedy: Remedy, plan: TrainingPlan) -> TrainingPlan:
    """The plan with the remedy's changes. Raises `PlanError` where they do not go together with the rest."""
    raw = plan.model_dump(mode="json")
    for key, value in remedy.changes.items():
        *path, last = key.split(".")
        inner: dict[str, Any] = raw
        for name in path:
            inner = inner[name]
        inner[last] = value
    return parse_plan(raw, remedy.title)


def fewer_epochs(plan: TrainingPlan, epochs: float | None = None) -> Remedy:
    """Stop sooner: after so many epochs, by default half as many."""
    fewer = round(plan.training.epochs / 2, 2) if epochs is None else epochs
    return Remedy(
        title=f"Train for {fewer:g} epochs instead of {plan.training.epochs:g}",
        why="Each pass over the same rows fits their wording more closely.",
        changes={"training.epochs": fewer},
    )


def more_epochs(plan: TrainingPlan) -> Remedy | None:
    """Twice as many passes; None where there are very many already."""
    more = 2 * plan.training.epochs
    if more > 100:
        return None
    return Remedy(
        title=f"Train for {more:g} epochs instead of {plan.training.epochs:g}",
        why="It was still learning when it ended.",
        changes={"training.epochs": more},
    )


def lower_rate(plan: TrainingPlan, factor: float = 0.2) -> Remedy:
    """Smaller steps."""
    rate = plan.training.learning_rate * factor
    return Remedy(
        title=f"Lower the learning rate to {rate:.1g}",
        why="Smaller steps leave more of the base as it was.",
        changes={"training.learning_rate": float(f"{rate:.2g}")},
    )


def lower_rank(plan: TrainingPlan) -> Remedy | None:
    """About a quarter of the adapter's rank; None where the strategy has none, or it is small already."""
    rank = getattr(plan.strategy, "r", None)
    if not rank or rank < 4:
        return None
    lower = 2 * max(1, rank // 8)  # even, as the orthogonal initialisation needs it
    return Remedy(
        title=f"Use rank {lower} instead of {rank}",
        why="A smaller adapter can remember less of single rows and change less of the base.",
        # The scale is alpha / r: it stays.
        changes={"strategy.r": lower, "strategy.alpha": getattr(plan.strategy, "alpha", lower) * lower / rank},
    )


def more_dropout(plan: TrainingPlan) -> Remedy | None:
    """Dropout in the adapter; None where the strategy has none, or much already."""
    dropout = getattr(plan.strategy, "dropout", None)
    if dropout is None or dropout >= 0.2:
        return None
    higher = 0.1 if dropout < 0.1 else 0.2
    return Remedy(
        title=f"Use dropout {higher:g} instead of {dropout:g}",
        why="What single weights remember of single rows is made useless.",
        changes={"strategy.dropout": higher},
    )


def more_data(rows: int) -> Remedy:
    """Advice without a change of the plan: the data has to grow first."""
    return Remedy(
        title="Add rows",
        why=f"It trained on {rows} rows; with twice as many, each is seen half as often for the same steps.",
    )
