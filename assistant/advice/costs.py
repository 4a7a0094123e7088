"""What a plan takes in a situation: rows, tokens, minutes, and how its result answers.

Owns handing the situation to the estimates. Refuses to estimate (that is `trainers.estimating`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from assistant.advice.situation import Situation
from trainers.estimating.machines import known_machines, this_machine
from trainers.estimating.records import Fit, Machine, ServingEstimate, TrainingEstimate
from trainers.estimating.serving import serving
from trainers.estimating.training import estimate, fits
from trainers.estimating.workload import Workload, workload_of
from trainers.plan import TrainingPlan
from trainers.strategies import FewShotStrategy

_LENGTHS = 4000  # rows that an estimate looks at
_ANSWERS = 1000  # that a result is thought to give, where options are held against each other


class Cost(BaseModel):
    """What a plan takes: rows trained on, tokens over all epochs, minutes from start to report."""

    model_config = ConfigDict(frozen=True)

    rows: int
    test_rows: int
    tokens: int
    minutes: float
    machine: str
    estimate: TrainingEstimate

    def __str__(self) -> str:
        return f"about {self.minutes:.0f} minute{'s' if self.minutes != 1 else ''} on {self.machine}"


def cost_of(situation: Situation, plan: TrainingPlan) -> Cost:
    """The cost of a plan on this machine. Needs data, profile and splits."""
    assert situation.splits is not None
    found = estimate_of(situation, plan)
    rows = len(situation.splits.train)
    return Cost(
        rows=min(rows, plan.data.max_train_rows or rows),
        test_rows=len(situation.splits.test),
        tokens=found.tokens,
        minutes=max(1, round(found.seconds.total / 60)),
        machine=str(situation.machine),
        estimate=found,
    )


def machine_of(situation: Situation) -> Machine:
    """This machine as the estimates take it."""
    return this_machine(situation.machine, situation.compute, situation.rates)


def work_of(situation: Situation, plan: TrainingPlan) -> Workload:
    """What a plan would compute. Needs data, profile and splits."""
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    return workload_of(
        plan,
        situation.base,
        _sample(profile.token_lengths),
        train=len(splits.train),
        dev=len(splits.dev),
        test=len(splits.test),
        answer_tokens=profile.answer_tokens,
        labels=len(profile.labels),
    )


def _sample(lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Of very many rows every so-and-so-many'th, and the longest: each plan's estimate goes through them."""
    step = -(-len(lengths) // _LENGTHS)
    return lengths if step <= 1 else (*lengths[::step], max(lengths))


def estimate_of(situation: Situation, plan: TrainingPlan) -> TrainingEstimate:
    """Memory, time, energy and money of following a plan here."""
    return estimate(work_of(situation, plan), machine_of(situation), situation.history)


def fits_of(situation: Situation, plan: TrainingPlan) -> tuple[Fit, ...]:
    """Whether a plan's training would fit the machines of the list."""
    return fits(work_of(situation, plan), known_machines())


def serving_of(situation: Situation, plan: TrainingPlan) -> ServingEstimate:
    """What answering with a plan's result takes here."""
    profile = situation.profile
    assert profile is not None
    row = round(sum(profile.token_lengths) / max(1, len(profile.token_lengths)))
    shown = plan.strategy.examples * row if isinstance(plan.strategy, FewShotStrategy) else 0
    machine = machine_of(situation)
    by_vllm = plan.strategy.serving.vllm and machine.device == "cuda"
    return serving(
        situation.base,
        plan.strategy,
        machine,
        prompt_tokens=max(1, row - profile.answer_tokens) + shown,
        answer_tokens=max(1, profile.answer_tokens),
        engine="vllm" if by_vllm else "embedded",
    )


def price(training: TrainingEstimate | None, served: ServingEstimate | None) -> float:
    """What orders options that stand alike, the cheapest first: seconds of training and of a thousand answers."""
    spent = training.seconds.total if training else 0.0
    return spent + (_ANSWERS * served.seconds_per_answer if served else 0.0)
