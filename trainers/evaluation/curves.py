"""Did it learn too little, enough, or too much? The curves of its losses, and how much better it does what it has seen.

Owns the verdict (underfit, good, overfit from a step, memorised) and the gap between training and test rows. Refuses to
read the curves themselves (`losses`) and to measure gaps (`gap`). Never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from prompts.errors import PlanError
from prompts.metrics import METRICS, Score, summarize
from trainers.data import Example
from trainers.evaluation.gap import FEWEST, Gap, measure
from trainers.evaluation.losses import Curves, read_curves
from trainers.evaluation.probe import OnProgress, Probe, Subject
from trainers.evaluation.records import Figure, Gate, Group, Part, Prediction, Remedy
from trainers.evaluation.remedies import (
    apply,
    fewer_epochs,
    lower_rank,
    lower_rate,
    more_data,
    more_dropout,
    more_epochs,
)
from trainers.plan import TrainingPlan

if TYPE_CHECKING:
    from trainers.evaluation.arm import Arm

# A train loss that is nearly gone: the answers' tokens have a probability of 0.95 and more.
_NOTHING_LEFT = 0.05
_BY_HEART = 0.9  # score on training rows
_ROOM = 0.9  # above it there is little left to learn
CURVES, GAP = "training curves", "gap between training and test rows"


class CurvesProbe(Probe):
    """Asks both arms for rows that were trained on, as the test rows are asked."""

    name: ClassVar[str] = "curves"
    title: ClassVar[str] = "Training curves"
    group: ClassVar[Group] = "overfitting"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.rows: list[Example] = [] if self._cannot_tell else subject.sample([r for r in subject.train if r.output])

    @property
    def _cannot_tell(self) -> str:
        """Why nothing can be said of what was seen in training; empty where something can."""
        plan = self.subject.plan
        if not plan.strategy.trains:
            return "This run trained nothing, so that it is not known what was seen in training."
        if plan.objective.compares:
            return f"Under {plan.objective.title} it learned which answers are liked, not the answers themselves."
        return ""

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        said = arm.answer([row.input for row in self.rows], on_progress=on_progress)
        return [answer.text for answer in said]

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        plan, why = self.subject.plan, self._cannot_tell
        if why or not (self.rows and predictions):
            why = why or "There are no rows to compare."
            gates = tuple(Gate(name=name, level="unknown", told=why) for name in (CURVES, GAP))
            return self._part("Nothing.", gates)
        metric = METRICS[self.subject.how.metric]
        expected = [row.output for row in self.rows]
        seen = metric.rows(base, expected), metric.rows(tuned, expected)
        unseen = [p.base_score for p in predictions], [p.tuned_score for p in predictions]
        gap = measure(*seen, *unseen)
        scores = summarize(seen[1]), summarize(unseen[1])
        rows = len(self.subject.train)
        gates = (_curves(plan, read_curves(self.subject.metrics), gap, scores, rows), _gap(plan, gap, scores, rows))
        asked = (
            f"The losses of the training were read, and both models were asked {len(self.rows)} of the {rows} rows "
            f"that were trained on, as they were asked the {len(predictions)} test rows."
        )
        return self._part(asked, gates, _figures(seen, unseen, gap))

    def _part(self, asked: str, gates: tuple[Gate, ...], figures: tuple[Figure, ...] = ()) -> Part:
        limits = (
            "Test rows come from the same source as the training rows. Rows from elsewhere may fare worse, and nothing "
            "here shows it."
        )
        return self.part(
            asked=asked,
            gates=gates,
            figures=figures,
            limits=limits,
        )


def _figures(seen: tuple[list[float], ...], unseen: tuple[list[float], ...], gap: Gap) -> tuple[Figure, ...]:
    one, other = (
        Figure(name=f"Score on {name}", base=summarize(rows[0]), tuned=summarize(rows[1]), note=f"{len(rows[0])} rows")
        for name, rows in (("training rows", seen), ("test rows", unseen))
    )
    note = f"{gap.seen} training rows, {gap.unseen} test rows; the base has seen neither"
    between = Figure(name="Gap", base=gap.base, tuned=gap.tuned, change=gap.excess, less_is_better=True, note=note)
    return one, other, between


# The gap


def _gap(plan: TrainingPlan, gap: Gap, scores: tuple[Score, Score], rows: int) -> Gate:
    seen, unseen = scores
    told = f"On training rows it scores {seen}, on test rows {unseen}: a gap of {gap.told}"
    told += f", the base's own being {gap.base.value * 100:.0f} points."
    level = gap.level
    if level == "unknown":
        return Gate(name=GAP, level=level, told=f"{told} Fewer than {FEWEST} rows on a side tell nothing.")
    if level == "passed":
        return Gate(name=GAP, level=level, told=f"{told} That is within chance, or too little to matter.")
    told += " It does better what it has seen, and that is not because those rows are easier."
    return Gate(name=GAP, level=level, told=told, remedies=against_overfitting(plan, rows))


def against_overfitting(plan: TrainingPlan, rows: int, epochs: float | None = None) -> tuple[Remedy, ...]:
    """What to do where single rows were learned rather than what they have in common, the cheapest first.

    `epochs` is where it began, if that is known. Only what goes together with the rest of the plan.
    """
    if epochs is not None and not 0 < epochs < plan.training.epochs:
        epochs = None
    by_epochs = plan.strategy.trains and plan.strategy.by_trl
    found = (fewer_epochs(plan, epochs) if by_epochs else None, more_dropout(plan), lower_rank(plan), more_data(rows))
    return tuple(remedy for remedy in found if remedy and _applies(remedy, plan))


def _applies(remedy: Remedy, plan: TrainingPlan) -> bool:
    try:
        apply(remedy, plan)
    except PlanError:
        return False
    return True


# The curves


def _curves(plan: TrainingPlan, curves: Curves, gap: Gap, scores: tuple[Score, Score], rows: int) -> Gate:
    shape = curves.shape if plan.strategy.by_trl else "no losses"
    if shape != "no losses":
        left = curves.train_at(curves.lowest if curves.dev else curves.last)
        if gap.level == "failed" and left < _NOTHING_LEFT and scores[0].value >= _BY_HEART:
            told = f"Memorised: nothing is left to learn from the training rows (a loss of {left:.2g}), "
            told += f"of which it answers {scores[0]} as given, and of the test rows only {scores[1]}."
            return Gate(name=CURVES, level="failed", told=told, remedies=against_overfitting(plan, rows))
    room = scores[0].value < _ROOM
    match shape:
        case "no losses":
            why = "The training logged no losses of your rows, so that there is no curve to read."
            return Gate(name=CURVES, level="unknown", told=why)
        case "no dev rows" | "one evaluation":
            why = "no rows were held out to watch it" if shape == "no dev rows" else "they were looked at only once"
            told = f"Where it began to overfit, if it did, cannot be told: {why} while it trained."
            return Gate(name=CURVES, level="unknown", told=told)
        case "overfit":
            return _overfit(plan, curves, gap, rows)
        case "unsteady":
            told = f"Unsteady: {_rise(curves)}, and so did that of the training rows."
            return Gate(name=CURVES, level="warning", told=told, remedies=(lower_rate(plan),))
        case "flat" if room:
            told = f"Underfit: the loss of the training rows went from {curves.first_train:.2g} to "
            told += f"{curves.train_at(curves.last):.2g}, so that it has hardly learned anything."
            return _underfit(plan, told)
        case "falling" if room:
            told = "Underfit: the loss of unseen rows was still falling when it ended, and of the training rows it "
            told += f"answers {scores[0]}."
            return _underfit(plan, told)
    told = f"Good: the loss of unseen rows fell to {curves.dev[curves.lowest]:.2g} and rose no more than by chance."
    return Gate(name=CURVES, level="passed", told=told)


def _underfit(plan: TrainingPlan, told: str) -> Gate:
    remedy = more_epochs(plan)
    return Gate(name=CURVES, level="warning", told=told, remedies=(remedy,) if remedy else ())


def _overfit(plan: TrainingPlan, curves: Curves, gap: Gap, rows: int) -> Gate:
    """The best weights are kept, so that the result is not the worse for it; but the plan asks for too much, unless the
    plan's own patience ended it."""
    epochs = curves.epochs.get(curves.lowest)
    through = max(curves.epochs.values(), default=plan.training.epochs)
    by_itself = plan.training.patience is not None and through < plan.training.epochs - 0.01
    told = f"Overfit from step {curves.lowest}: {_rise(curves)}, while that of the training rows went on falling. "
    told += "It stopped by itself" if by_itself else "What came after was for nothing"
    told += f": the weights of step {curves.lowest} were kept."
    if by_itself and gap.level == "passed":
        return Gate(name=CURVES, level="passed", told=told)
    remedies = against_overfitting(plan, rows, round(epochs, 2) if epochs else None)
    return Gate(name=CURVES, level="warning", told=told, remedies=remedies)


def _rise(curves: Curves) -> str:
    lowest = curves.lowest
    return f"after step {lowest} the loss of unseen rows rose from {curves.dev[lowest]:.2g} to {curves.last_dev:.2g}"
