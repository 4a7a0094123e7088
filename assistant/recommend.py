"""What to do, why, and what it will cost, including "do not tune yet". In its first form: readable rules.

Owns the ranking of options from spec, data and hardware. Refuses to start anything; the advised option carries a
ready plan.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from assistant.project import Project
from prompts.metrics import Score, metric_for
from trainers.defaults import Situation as Known
from trainers.defaults import Usual, usual
from trainers.estimate import probing_seconds, tokens_per_second, training_seconds
from trainers.evaluation.probes import replies
from trainers.hardware import Compute, Hardware
from trainers.models import LocalModel
from trainers.objectives import AnyObjective, DpoObjective, KtoObjective, SftObjective
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan
from trainers.profile import DatasetProfile
from trainers.splits import Splits
from trainers.strategies import AnyStrategy, ImportedStrategy, LoraStrategy

Kind = Literal["data", "prompt", "few_shot", "lora"]

# Below these, a LoRA mostly learns the rows by heart; chosen by us, to be replaced by measured tables.
_FEWEST_ROWS, _FEWEST_PER_LABEL = 40, 8
# A prompt whose lower bound reaches this needs no training.
_GOOD_ENOUGH = 0.90
_MINUTES = {"cpu": 6.0, "cuda": 60.0}
# On two cores this is about six minutes with the embedded model.
_MOST_CPU_TOKENS = 35_000
_PROBING_SHARE = 0.25  # of a time budget: the rest is for learning, and what was left out can be examined later
_BUDGET = "what fits into the time budget"


class Option(BaseModel):
    """One thing to do. `plan` is there where it can be started."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    title: str
    reasons: tuple[str, ...]
    cost: str
    advised: bool = False
    plan: TrainingPlan | None = None


class Situation(BaseModel):
    """All that the advice rests on. `score` is the current prompt's on the dev split, where it was measured."""

    model_config = ConfigDict(frozen=True)

    project: Project
    machine: Hardware
    compute: Compute
    base: LocalModel
    profile: DatasetProfile | None = None
    splits: Splits | None = None
    score: Score | None = None


class Cost(BaseModel):
    """What a plan takes: rows trained on, tokens over all epochs, minutes from start to report."""

    model_config = ConfigDict(frozen=True)

    rows: int
    test_rows: int
    tokens: int
    minutes: float
    machine: str

    def __str__(self) -> str:
        return f"about {self.minutes:.0f} minute{'s' if self.minutes != 1 else ''} on {self.machine}"


def estimate_cost(situation: Situation, plan: TrainingPlan) -> Cost:
    """The cost of a plan on this machine. Needs data, profile and splits."""
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    rows = min(len(splits.train), plan.data.max_train_rows or len(splits.train))
    mean = sum(profile.token_lengths) / max(1, len(profile.token_lengths))
    seen = plan.strategy.rows_seen(rows + plan.data.general_rows, plan.training.epochs)
    tokens = int(seen * min(mean, plan.training.max_tokens))
    seconds = training_seconds(tokens, situation.base.parameters, situation.compute)
    seconds += _probing_seconds(situation, plan.evaluation)
    return Cost(
        rows=rows,
        test_rows=len(splits.test),
        tokens=tokens,
        minutes=max(1, round(seconds / 60)),
        machine=str(situation.machine),
    )


def recommend(situation: Situation) -> list[Option]:
    """The options, the advised one first; exactly one is advised."""
    if situation.profile is None or situation.splits is None:
        return [no_data()]
    options = _with_data(situation) if situation.splits.train else [no_answers()]
    return sorted(options, key=lambda option: not option.advised)


def no_data() -> Option:
    """What to do before there is anything to learn from."""
    reason = "There is no data yet, and nothing can be learned or measured without examples."
    return Option(kind="data", title="Do not tune yet: bring data", reasons=(reason,), cost="free", advised=True)


def no_answers() -> Option:
    """What to do where there are inputs and nobody has answered any."""
    reason = "No row has an answer yet, and nothing can be learned or measured without some."
    return Option(kind="data", title="Do not tune yet: give answers", reasons=(reason,), cost="free", advised=True)


def _with_data(situation: Situation) -> list[Option]:
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    rarest = min(profile.labels.values(), default=profile.usable)
    broken = next((f.text for f in profile.findings if f.severity == "error"), "")
    few = len(splits.train) < _FEWEST_ROWS or rarest < _FEWEST_PER_LABEL
    good = situation.score is not None and situation.score.low >= _GOOD_ENOUGH
    advised: Kind = "data" if broken else "prompt" if good else "few_shot" if few else "lora"
    options = [
        _prompt(situation, advised == "prompt"),
        _few_shot(profile, rarest, advised == "few_shot"),
        _lora(situation, advised == "lora"),
    ]
    if broken:
        options.append(
            Option(kind="data", title="Do not tune yet: mend the data", reasons=(broken,), cost="free", advised=True)
        )
    return options


def _prompt(situation: Situation, advised: bool) -> Option:
    score = situation.score
    if score is None:
        reason = "The prompt has not been measured yet. That takes a minute and tells what tuning must beat."
    elif advised:
        reason = f"The prompt alone reaches {score} on the dev rows. Tuning has little left to gain."
    else:
        reason = f"The prompt alone reaches {score} on the dev rows, so there is room above it."
    title = "Do not tune: keep the prompt" if advised else "A better prompt"
    return Option(kind="prompt", title=title, reasons=(reason,), cost="no training", advised=advised)


def _few_shot(profile: DatasetProfile, rarest: int, advised: bool) -> Option:
    reasons = ["Solved examples in the prompt need no training, but every request pays for their tokens."]
    if advised:
        what = f"the rarest label has {rarest}" if profile.labels else "few"
        reasons.insert(
            0, f"Do not tune yet: with {profile.usable} examples ({what}) a tuned model learns rows by heart."
        )
    shown = 4
    extra = shown * profile.median_tokens
    cost = f"no training, about {extra} more tokens in each request" if extra else "no training"
    return Option(
        kind="few_shot",
        title=f"Few-shot: {shown} examples in the prompt",
        reasons=tuple(reasons),
        cost=cost,
        advised=advised,
    )


def _lora(situation: Situation, advised: bool) -> Option:
    plan = advised_plan(situation)
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    cost = estimate_cost(situation, plan)
    task = f"{len(profile.labels)} label{'s' * (len(profile.labels) != 1)}" if profile.labels else "free answers"
    enough = " are enough for a small adapter" if advised else ""
    reasons = [f"{profile.usable} examples with {task}{enough}; {cost.rows} of them train it."]
    if cost.rows < len(splits.train):
        reasons.append(f"More rows would not fit into the time budget; raise it to use all {len(splits.train)}.")
    if plan.objective.compares:
        reasons.append(f"The rows say what people prefer, so it learns from {plan.objective.title}, not by examples.")
    reasons.append("The base model stays as it is, and the adapter can be switched off at any time.")
    return Option(
        kind="lora",
        title=f"{plan.strategy.brief}, on {situation.base.name}",
        reasons=tuple(reasons),
        cost=f"{cost}, {cost.tokens:,} training tokens",
        advised=advised,
        plan=plan,
    )


def advised_plan(
    situation: Situation, strategy: AnyStrategy | None = None, objective: AnyObjective | None = None
) -> TrainingPlan:
    """A plan whose training tokens fit the time budget: LoRA, learning from what the data are, unless other ways are
    asked for.

    Needs data, profile and splits.
    """
    project, profile, splits = situation.project, situation.profile, situation.splits
    assert project.data and project.prompt and profile and splits
    objective = objective or _objective(project)
    figures = usual(strategy or LoraStrategy(), _figures(situation, objective), objective)
    epochs, most_rows = _affordable(situation, figures.training.epochs)
    return TrainingPlan(
        name=project.name,
        base_model=situation.base.ref,
        data=DataPlan(
            path=project.data.path,
            columns=project.data.columns,
            edits=project.data.edits,
            max_train_rows=most_rows,
        ),
        prompt=project.prompt,
        strategy=figures.strategy,
        objective=objective,
        training=figures.training.model_copy(update={"epochs": epochs}),
        evaluation=_evaluation(situation, profile),
    )


def _evaluation(situation: Situation, profile: DatasetProfile) -> EvaluationPlan:
    """How the result is examined: from all sides, unless that would take more than a share of the person's time."""
    spec = situation.project.spec
    how = EvaluationPlan(
        metric=metric_for(spec.output_format, spec.metric), max_new_tokens=max(8, profile.answer_tokens + 4)
    )
    minutes = spec.time_budget_minutes
    fits = minutes is None or _probing_seconds(situation, how) <= _PROBING_SHARE * minutes * 60
    return how if fits else how.model_copy(update={"probes": ()})


def _probing_seconds(situation: Situation, how: EvaluationPlan) -> float:
    return probing_seconds(replies(how), situation.base.parameters, situation.compute)


def _objective(project: Project) -> AnyObjective:
    """What the data can be learned from best: pairs, thumbs, or answers."""
    shape = project.data.columns.shape if project.data else None
    return DpoObjective() if shape == "preference" else KtoObjective() if shape == "thumbs" else SftObjective()


def sources(situation: Situation, plan: TrainingPlan) -> dict[str, str]:
    """Where the figures of a plan come from, by dotted key; nothing for those that somebody changed."""
    needed = {"adapter": plan.strategy.adapter} if isinstance(plan.strategy, ImportedStrategy) else {}
    fresh = usual(type(plan.strategy)(**needed), _figures(situation, plan.objective), plan.objective)
    found = {key: told for key, told in fresh.comments.items() if _at(plan, key) == _at(fresh, key)}
    epochs, rows = _affordable(situation, fresh.training.epochs)
    if plan.training.epochs == epochs != fresh.training.epochs:
        found["training.epochs"] = _BUDGET
    if rows and plan.data.max_train_rows == rows:
        found["data.max_train_rows"] = _BUDGET
    return found


def _at(found: TrainingPlan | Usual, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = found
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def _figures(situation: Situation, objective: AnyObjective) -> Known:
    """What the usual figures depend on, of this project."""
    profile, splits, gpus = situation.profile, situation.splits, situation.machine.gpus
    assert profile is not None and splits is not None
    return Known(
        base=situation.base.shape,
        rows=max(1, len(splits.train)),
        max_tokens=_round_up(profile.longest_tokens),
        device=situation.compute.device,
        memory_gb=gpus[0].memory_gb if gpus and situation.compute.device == "cuda" else situation.machine.memory_gb,
    )


def _affordable(situation: Situation, wanted: float) -> tuple[float, int | None]:
    """How many epochs fit into the time, and how many rows where not even one does."""
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    per_row = max(1.0, sum(profile.token_lengths) / max(1, len(profile.token_lengths)))
    affordable = _token_budget(situation) / per_row
    epochs = min(wanted, affordable / len(splits.train))
    if epochs < 1:
        return 1.0, max(1, int(affordable))
    return int(epochs * 10) / 10, None  # rounded down, so that the budget holds


def _token_budget(situation: Situation) -> float:
    device = situation.compute.device
    asked = situation.project.spec.time_budget_minutes
    minutes = asked or _MINUTES[device]
    around = 0.0
    if asked:
        assert situation.profile is not None
        around = training_seconds(0, situation.base.parameters, situation.compute)
        around += _probing_seconds(situation, _evaluation(situation, situation.profile))
    seconds = max(minutes * 60 - around, 15.0)  # what a person gives is for all of it, test included
    tokens = seconds * tokens_per_second(situation.base.parameters, situation.compute)
    return min(tokens, _MOST_CPU_TOKENS) if device == "cpu" and not asked else tokens


def _round_up(tokens: int, step: int = 64) -> int:
    return max(step, -(-tokens // step) * step)
