"""A try as a run: its folder, as any other run has one, with a word on which try it is and the rows that it is asked.

Owns how a try's plan and splits follow from the candidate's, and the two records that make a run a try. Refuses to
carry it out (`carrying`). Never imports torch.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.data import Example, normal
from trainers.evaluation.quality import labels_to_score
from trainers.jobs import list_runs, rename
from trainers.paths import Paths, write_atomically
from trainers.plan import TrainingPlan
from trainers.splits import Shares
from trainers.status import RunFolder, RunStatus
from trainers.strategies import MetaLoraStrategy
from trainers.trials.records import Candidate, Tried, Try

TOO_LONG = "It takes longer than the budget allows."  # of a try that was ended
_ASKED = "asked"
_FEWEST_WAYS = 2
_LONGEST = 80  # characters of a run's name


class Trial(BaseModel):
    """Which try a run is. `trials` is the round's id, empty where it belongs to none; `labels` are the answers that
    there are, where these are labels, and `wordings` the prompts of which the best is to be found first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: str = ""
    tried: Try
    labels: tuple[str, ...] = ()
    wordings: tuple[PromptVersion, ...] = ()


def begin(
    candidate: Candidate,
    trial: Trial,
    learn: Sequence[Example],
    asked: Sequence[Example],
    paths: Paths,
    *,
    test: Sequence[Example] = (),
    arena: Sequence[Example] = (),
    spec: TaskSpec | None = None,
) -> RunFolder:
    """A run folder for one try: it learns from `learn`, is asked `asked`, and can be examined on `test` later."""
    plan = plan_of(candidate.plan, learn)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    run = RunFolder(paths.runs / f"{stamp}-{plan.strategy.type}-{secrets.token_hex(2)}")
    rows = {"train": learn, "dev": (), "test": test, "arena": arena, _ASKED: asked}
    for name, part in rows.items():
        run.write_split(name, tuple(part))
    write_atomically(run.trial, trial.model_dump_json(indent=1))
    if spec:
        run.write_spec(spec)
    run.write_status(RunStatus(message="Waiting to be tried."))
    rename(run, f"try: {candidate.title}"[: _LONGEST - 12] + f" on {portion_told(trial.tried)}")
    write_atomically(run.path / "plan.yaml", plan.to_yaml())  # last: a folder with a plan is a run
    return run


def plan_of(plan: TrainingPlan, learn: Sequence[Example]) -> TrainingPlan:
    """The candidate's plan as a try follows it: without dev rows, since these are asked at the end and not meanwhile.

    On so few rows nothing would be said by a stop between two epochs; and a row that chose the stop is no fair one to
    be asked. Meta-learning on one's own labels draws episodes that a portion can fill.
    """
    shares = plan.data.shares
    moved = Shares(train=shares.train + shares.dev, dev=0.0, test=shares.test, arena=shares.arena)
    data = plan.data.model_copy(update={"shares": moved, "max_train_rows": max(1, len(learn))})
    strategy = plan.strategy
    if isinstance(strategy, MetaLoraStrategy) and not strategy.pool:
        strategy = _fitted(strategy, learn)
    return plan.model_copy(update={"data": data, "strategy": strategy})


def _fitted(strategy: MetaLoraStrategy, learn: Sequence[Example]) -> MetaLoraStrategy:
    """With as many shots, and then as many ways, as these rows have: at most those of the plan."""
    inputs: dict[str, set[str]] = defaultdict(set)
    for row in learn:
        inputs[row.output].add(normal(row.input))
    parts = 2 if strategy.algorithm == "fomaml" else 1  # which asks other rows than it learns from
    for shots in range(strategy.shots, 0, -1):
        enough = sum(len(found) >= parts * shots for found in inputs.values())
        if enough >= min(strategy.ways, len(inputs)) >= _FEWEST_WAYS:
            return strategy.model_copy(update={"shots": shots, "ways": min(strategy.ways, enough)})
    return strategy  # which says itself what it lacks


def labels_for(candidate: Candidate, rows: Sequence[Example]) -> tuple[str, ...]:
    """The labels that a candidate's answers are among; none where its metric is not about labels."""
    allowed = candidate.plan.prompt.allowed
    return labels_to_score(candidate.plan.evaluation, rows, allowed.choices if allowed else ())


def portion_told(tried: Try) -> str:
    """ "1/4 of the rows", "all rows"; with the fold, where there are several."""
    share = Fraction(tried.portion).limit_denominator(100)
    told = "all rows" if share == 1 else f"{share}"
    return f"{told} ({tried.fold + 1})" if tried.fold else told


def trial_of(run: RunFolder) -> Trial | None:
    """Which try a run is; None for any other run."""
    try:
        return Trial.model_validate_json(run.trial.read_text("utf-8"))
    except FileNotFoundError:
        return None


def asked_of(run: RunFolder) -> tuple[Example, ...]:
    """The rows that a try is asked. Raises `RunError`."""
    return run.split(_ASKED)


def tried_of(run: RunFolder) -> Tried | None:
    """What came of a try; None where it has not ended."""
    try:
        return Tried.model_validate_json(run.tried.read_text("utf-8"))
    except FileNotFoundError:
        return None


def write_tried(run: RunFolder, tried: Tried) -> None:
    write_atomically(run.tried, tried.model_dump_json(indent=1))


def is_due(run: RunFolder) -> bool:
    """Whether a run is a try that has not been carried out yet."""
    return run.trial.is_file() and not run.tried.is_file()


def runs_of(trials: str, paths: Paths) -> Iterator[tuple[RunFolder, Trial]]:
    """The runs of a round, the newest first, those that were cut off among them."""
    for run in list_runs(paths):
        trial = trial_of(run)
        if trial and trial.trials == trials:
            yield run, trial
