"""What each option would be: its plan, and what that takes here and elsewhere.

Owns which strategy, objective and base model an option stands for. Refuses to rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from assistant.advice.costs import estimate_of, fits_of, price, serving_of
from assistant.advice.plans import advised_plan, objective_of
from assistant.advice.records import Kind
from assistant.advice.situation import Situation
from trainers.estimating.records import Fit, ServingEstimate, TrainingEstimate
from trainers.models import CatalogueEntry, LocalModel, catalogue
from trainers.objectives import SftObjective
from trainers.plan import TrainingPlan
from trainers.strategies import (
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PromptStrategy,
    PromptTuningStrategy,
)

SHOTS = 4  # rows a label that an episode takes
_WAYS, _LAYER_DECAY = 5, 0.9
_MOST_SHOWN = 8  # as measured in benchmarks/strategies.py
_APART = 0.9  # models whose sizes are nearer than this share are of one size


@dataclass(frozen=True)
class Made:
    """An option's plan with its estimates; `training` is None where nothing is trained."""

    plan: TrainingPlan
    training: TrainingEstimate | None
    serving: ServingEstimate
    fits: tuple[Fit, ...] = ()

    @property
    def price(self) -> float:
        return price(self.training, self.serving)


def make(situation: Situation, plan: TrainingPlan) -> Made:
    """A plan with what it takes. Needs data, profile and splits."""
    trains = plan.strategy.trains
    return Made(
        plan=plan,
        training=estimate_of(situation, plan) if trains else None,
        serving=serving_of(situation, plan),
        fits=fits_of(situation, plan) if trains else (),
    )


def plan_for(kind: Kind, situation: Situation) -> TrainingPlan | None:
    """The plan that an option stands for; None where there is none that could be started."""
    maker = _PLANS.get(kind)
    return maker(situation) if maker and _has_rows(situation) else None


def _has_rows(situation: Situation) -> bool:
    return bool(situation.splits and situation.splits.train and situation.project.data)


def _few_shot(situation: Situation) -> TrainingPlan:
    """As many examples as there are labels, within reason."""
    assert situation.splits and situation.profile
    wanted = min(_MOST_SHOWN, max(FewShotStrategy().examples, len(situation.profile.labels)))
    shown = min(wanted, len(situation.splits.train))
    return advised_plan(situation, FewShotStrategy(examples=shown), SftObjective())


def _meta(situation: Situation) -> TrainingPlan | None:
    ways = min(_WAYS, episode_labels(situation))
    return advised_plan(situation, MetaLoraStrategy(ways=ways, shots=SHOTS), SftObjective()) if ways > 1 else None


def _preference(situation: Situation) -> TrainingPlan | None:
    objective = objective_of(situation.project)
    if not objective.compares:
        return None
    plan = advised_plan(situation, LoraStrategy(), objective)
    if situation.parent is None:
        return plan
    begun = plan.model_copy(update={"parent": situation.parent})
    return begun.model_copy(update={"strategy": _parents_strategy(situation, plan)})


def _parents_strategy(situation: Situation, plan: TrainingPlan) -> LoraStrategy:
    """What goes on from an adapter has its rank."""
    from trainers.status import RunFolder

    assert situation.parent is not None and isinstance(plan.strategy, LoraStrategy)
    before = RunFolder(situation.parent).plan().strategy
    return before if isinstance(before, LoraStrategy) else plan.strategy


def at_hand(situation: Situation, ref: str | None) -> LocalModel | None:
    """A model of the catalogue, where it is on this machine already."""
    return next((base for base in situation.bases if base.ref == ref), None)


def plan_on(base: LocalModel, situation: Situation) -> TrainingPlan:
    """A LoRA on another base model."""
    return advised_plan(situation.model_copy(update={"base": base}), LoraStrategy(), SftObjective())


def smaller_than(parameters: float) -> list[CatalogueEntry]:
    """The models of the catalogue that are smaller, the largest first."""
    return [entry for entry in reversed(catalogue()) if entry.parameters_m * 1e6 < _APART * parameters]


def larger_than(parameters: float) -> list[CatalogueEntry]:
    """The models of the catalogue that are larger, the smallest first."""
    return [entry for entry in catalogue() if entry.parameters_m * 1e6 * _APART > parameters]


def episode_labels(situation: Situation) -> int:
    """How many labels have enough training rows for an episode."""
    if not situation.splits or not situation.profile or not situation.profile.labels:
        return 0
    counts = Counter(row.output for row in situation.splits.train)
    return sum(count >= SHOTS for count in counts.values())


_PLANS: dict[Kind, Callable[[Situation], TrainingPlan | None]] = {
    "prompt": lambda situation: advised_plan(situation, PromptStrategy(), SftObjective()),
    "few_shot": _few_shot,
    "prompt_tuning": lambda situation: advised_plan(situation, PromptTuningStrategy(), SftObjective()),
    "lora": lambda situation: advised_plan(situation, LoraStrategy(), SftObjective()),
    "meta_lora": _meta,
    "full": lambda situation: advised_plan(situation, FullStrategy(layer_decay=_LAYER_DECAY), SftObjective()),
    "preference": _preference,
}
