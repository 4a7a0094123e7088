"""The plans that advice makes: for each way to go one that fits the time, with where its figures come from.

Owns how a time budget is kept, and when general rows are mixed in. Refuses to rank, and to know what is usual for a
strategy (that is `trainers.defaults`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from assistant.advice.costs import estimate_of
from assistant.advice.situation import Situation
from assistant.project import Project
from prompts.metrics import metric_for
from prompts.versions import PromptVersion
from trainers.defaults import Situation as Known
from trainers.defaults import Usual, usual
from trainers.estimating.records import Seconds
from trainers.objectives import AnyObjective, DpoObjective, KtoObjective, SftObjective
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan
from trainers.strategies import AnyStrategy, ImportedStrategy, LoraStrategy, MetaLoraStrategy

# What a training may take where nobody said: long enough for some hundred short rows on two cores.
_MINUTES = {"cpu": 6.0, "cuda": 60.0}
_PROBING_SHARE = 0.25  # of a time budget: the rest is for learning, and what was left out can be examined later
_LEAST_SECONDS = 15.0  # of learning, however little time there is
_ROUNDS = 20  # the fewest of meta-learning; chosen by us, as fewer were never tried
# Half of these steps left slots half learned here. No more epochs than Mosbach et al. 2021 took for small data.
_STEPS, _MOST_EPOCHS = 72, 20.0
_MORE_EPOCHS = (
    "so many that there are 72 steps, which were 4 points better than 36 on four tasks of 24 and 48 rows "
    "(benchmarks/ranks.py): fewer leave small data half learned (Mosbach et al. 2021, arXiv 2006.04884); the epoch "
    "with the lowest dev loss is kept"
)
_FEW_ASKED = 4  # rows at once in the examination, where memory is short
_MEMORY = "so that it fits into the memory"
_BUDGET = "what fits into the time budget"
# Measured here: 40 general questions beside 128 rows. Below this size a base answers too few of them to keep anything.
_GENERAL, _BESIDE, _SMALLEST = 40, 128, 100_000_000
_KEPT = (
    "measured here: without them general tasks fell from 35 % to 0 %, with 40 beside 128 rows 33 % were kept, at 94 "
    "instead of 96 % of the task (benchmarks/journey.py --general-rows 40)"
)
# What stands at keys of which nothing is usual.
_UNTOUCHED = {
    "data.max_train_rows": None,
    "data.general_rows": 0,
    "evaluation.batch_size": EvaluationPlan().batch_size,
}


@dataclass(frozen=True)
class _Within:
    """What of a plan fits into the time; `rounds` are those of meta-learning."""

    epochs: float
    rows: int | None = None
    general: int = 0
    probes: bool = True
    rounds: int | None = None


def advised_plan(
    situation: Situation, strategy: AnyStrategy | None = None, objective: AnyObjective | None = None
) -> TrainingPlan:
    """A plan that fits the time budget: LoRA, learning from what the data are, unless other ways are asked for.

    Needs data, profile and splits.
    """
    assert situation.splits
    objective, strategy = objective or objective_of(situation.project), strategy or LoraStrategy()
    fresh = _fresh(situation, strategy, objective)
    within = _within(situation, fresh)
    if within is None:
        rows = _most_rows(situation, strategy, objective)
        return _fitted(
            _fresh(situation, strategy, objective, rows), _Within(1.0, rows, probes=_probes(situation, fresh))
        )
    return _fitted(fresh, within)


def _fresh(
    situation: Situation, strategy: AnyStrategy, objective: AnyObjective, rows: int | None = None
) -> TrainingPlan:
    """The plan with all that is usual for so many rows, by default all, whatever time it takes."""
    project, profile, splits = situation.project, situation.profile, situation.splits
    assert project.data and profile and splits
    figures = usual(strategy, _figures(situation, rows), objective)
    plan = TrainingPlan(
        name=project.name,
        base_model=situation.base.ref,
        data=DataPlan(path=project.data.path, columns=project.data.columns, edits=project.data.edits),
        prompt=project.prompt or PromptVersion(),
        strategy=figures.strategy,
        objective=objective,
        training=figures.training,
        evaluation=EvaluationPlan(
            metric=metric_for(project.spec.output_format, project.spec.metric),
            max_new_tokens=max(8, profile.answer_tokens + 4),
        ),
    )
    return _in_memory(situation, _with_enough_steps(plan, rows or len(splits.train)))


def _with_enough_steps(plan: TrainingPlan, rows: int) -> TrainingPlan:
    """More epochs where the rows are so few that the usual ones would be over after a handful of steps.

    Soft prompts have more of them anyway, and preferences are to move the model little.
    """
    if plan.objective.type != "sft" or not plan.strategy.by_trl or not plan.strategy.trains or plan.strategy.virtual:
        return plan
    in_one = ceil(max(1, rows) / plan.training.effective_batch)
    epochs = max(plan.training.epochs, min(_MOST_EPOCHS, float(ceil(_STEPS / in_one))))
    return plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": epochs})})


def _in_memory(situation: Situation, plan: TrainingPlan) -> TrainingPlan:
    """The plan with fewer rows at once, or activations computed twice, where it would not fit otherwise.

    A step sees as many rows as before. What fits in no way stays as it is.
    """
    if estimate_of(situation, plan).fits:
        return plan
    ways = [
        _taking_less(plan, rows, asked, twice)
        for twice in dict.fromkeys((plan.training.gradient_checkpointing, True))
        for rows in _halves(plan.training.batch_size, 2 if plan.objective.type == "kto" else 1)
        for asked in (plan.evaluation.batch_size, _FEW_ASKED, 1)
    ]
    if not estimate_of(situation, ways[-1]).fits:
        return plan
    return next(way for way in ways if estimate_of(situation, way).fits)


def _halves(rows: int, least: int) -> list[int]:
    """So many rows and half as many as long as they divide."""
    return [rows, *(_halves(rows // 2, least) if rows % 2 == 0 and rows // 2 >= least else [])]


def _taking_less(plan: TrainingPlan, rows: int, asked: int, twice: bool | None) -> TrainingPlan:
    how = plan.training
    training = {
        "batch_size": rows,
        "gradient_accumulation": how.effective_batch // rows,
        "gradient_checkpointing": twice,
    }
    return plan.model_copy(
        update={
            "training": how.model_copy(update=training),
            "evaluation": plan.evaluation.model_copy(update={"batch_size": asked}),
        }
    )


def _fitted(fresh: TrainingPlan, within: _Within) -> TrainingPlan:
    rows = {"max_train_rows": within.rows, "general_rows": within.general}
    strategy = {"rounds": within.rounds} if within.rounds else {}
    return fresh.model_copy(
        update={
            "data": fresh.data.model_copy(update=rows),
            "strategy": fresh.strategy.model_copy(update=strategy),
            "training": fresh.training.model_copy(update={"epochs": within.epochs}),
            "evaluation": fresh.evaluation if within.probes else fresh.evaluation.model_copy(update={"probes": ()}),
        }
    )


def in_full(plan: TrainingPlan, situation: Situation) -> TrainingPlan:
    """A tried option's plan as it is followed afterwards: examined as usual, with the usual general rows."""
    usual = advised_plan(situation, plan.strategy, plan.objective)
    data = plan.data.model_copy(update={"general_rows": usual.data.general_rows})
    return plan.model_copy(update={"data": data, "evaluation": usual.evaluation})


def takes_general(plan: TrainingPlan) -> bool:
    """Whether general rows can be mixed into this kind of training, and have something to keep."""
    strategy = plan.strategy
    return plan.objective.type == "sft" and strategy.trains and strategy.by_trl and not strategy.virtual


def objective_of(project: Project) -> AnyObjective:
    """What the data can be learned from best: pairs, thumbs, or answers."""
    shape = project.data.columns.shape if project.data else None
    return DpoObjective() if shape == "preference" else KtoObjective() if shape == "thumbs" else SftObjective()


def minutes_for(situation: Situation) -> float:
    """The person's time budget, else what is usual for the device."""
    return situation.project.spec.time_budget_minutes or _MINUTES[situation.compute.device]


def _within(situation: Situation, fresh: TrainingPlan) -> _Within | None:
    """How many epochs fit; None where not even one does. General rows are left out first where they cost an epoch.

    The time that a person gives is for all of it, test included; the usual time is for learning alone.
    """
    wanted, probes = fresh.training.epochs, _probes(situation, fresh)
    if not fresh.strategy.trains:
        return _Within(wanted)
    whole = estimate_of(situation, fresh).seconds
    left = _left(situation, whole, probes=probes)
    if isinstance(fresh.strategy, MetaLoraStrategy):
        most = fresh.strategy.rounds
        return _Within(wanted, probes=probes, rounds=min(most, max(_ROUNDS, int(most * left / whole.training))))
    if not fresh.strategy.by_trl:
        return _Within(wanted, probes=probes)
    for general in dict.fromkeys((_general(situation, fresh), 0)):
        mixed = _Within(wanted, general=general, probes=probes)
        if epochs := _epochs(situation, fresh, mixed, left):
            return replace(mixed, epochs=epochs)
    return None


def _probes(situation: Situation, fresh: TrainingPlan) -> bool:
    """Whether the probes take no more than their share of the person's time."""
    said = situation.project.spec.time_budget_minutes
    return said is None or estimate_of(situation, fresh).seconds.examining <= _PROBING_SHARE * said * 60


def _most_rows(situation: Situation, strategy: AnyStrategy, objective: AnyObjective) -> int:
    """How many rows can be seen once, where there is not the time for all of them."""
    assert situation.splits
    low, high = 1, len(situation.splits.train)
    while low < high:
        rows = (low + high + 1) // 2
        plan = _fitted(_fresh(situation, strategy, objective, rows), _Within(1.0, rows))
        spent = estimate_of(situation, plan).seconds
        left = _left(situation, spent, probes=_probes(situation, plan)) - spent.checking
        low, high = (rows, high) if spent.training <= max(left, _LEAST_SECONDS) else (low, rows - 1)
    return low


def _left(situation: Situation, whole: Seconds, *, probes: bool) -> float:
    """The seconds that are left for learning."""
    left = minutes_for(situation) * 60
    if situation.project.spec.time_budget_minutes is not None:
        left -= whole.loading + whole.testing + (whole.examining if probes else 0.0)
    return max(left, _LEAST_SECONDS)


def _learning(spent: Seconds) -> float:
    return spent.training + spent.checking


def _epochs(situation: Situation, fresh: TrainingPlan, within: _Within, left: float) -> float:
    """The epochs that fit into the seconds left, in tenths; 0 where not even one does."""
    tenths = round(10 * within.epochs)
    while tenths >= 10:
        now = replace(within, epochs=tenths / 10)
        spent = _learning(estimate_of(situation, _fitted(fresh, now)).seconds)
        if spent <= left:
            return now.epochs
        tenths = min(tenths - 1, int(tenths * left / spent))
    return 0.0


def _general(situation: Situation, fresh: TrainingPlan) -> int:
    """As many general rows for the training rows as where we measured that they help, and not more than there."""
    if not takes_general(fresh) or situation.base.parameters < _SMALLEST or situation.splits is None:
        return 0
    return min(_GENERAL, len(situation.splits.train) * _GENERAL // _BESIDE)


def sources(situation: Situation, plan: TrainingPlan) -> dict[str, str]:
    """Where the figures of a plan come from, by dotted key; nothing for those that somebody changed."""
    needed = {"adapter": plan.strategy.adapter} if isinstance(plan.strategy, ImportedStrategy) else {}
    strategy = type(plan.strategy)(**needed)
    advised = advised_plan(situation, strategy, plan.objective)
    rows = advised.data.max_train_rows
    fresh = usual(strategy, _figures(situation, rows), plan.objective)
    found = {key: told for key, told in fresh.comments.items() if _at(plan, key) == _at(fresh, key)}
    more = advised.training.epochs > fresh.training.epochs
    changed = {
        "training.epochs": _MORE_EPOCHS if more else _BUDGET,
        "data.max_train_rows": _BUDGET,
        "data.general_rows": _KEPT,
        "training.gradient_checkpointing": _MEMORY,
        "training.batch_size": _MEMORY,
        "training.gradient_accumulation": _MEMORY,
        "evaluation.batch_size": _MEMORY,
        "strategy.rounds": _BUDGET,
    }
    return found | {
        key: told
        for key, told in changed.items()
        if _at(plan, key) == _at(advised, key) != _UNTOUCHED.get(key, _at(fresh, key))
    }


def _at(found: TrainingPlan | Usual, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = found
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def _figures(situation: Situation, rows: int | None = None) -> Known:
    """What the usual figures depend on, of this project; by default for all rows."""
    profile, splits, gpus = situation.profile, situation.splits, situation.machine.gpus
    assert profile is not None and splits is not None
    return Known(
        base=situation.base.shape,
        rows=rows or max(1, len(splits.train)),
        max_tokens=_round_up(profile.longest_tokens),
        device=situation.compute.device,
        memory_gb=gpus[0].memory_gb if gpus and situation.compute.device == "cuda" else situation.machine.memory_gb,
    )


def _round_up(tokens: int, step: int = 64) -> int:
    return max(step, -(-tokens // step) * step)
