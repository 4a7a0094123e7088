"""What both bias probes share: how sure a gate has to be, how far a figure went from its ideal, and the remedies.

Refuses to ask a model and to know what was measured. Never imports torch.
"""

from __future__ import annotations

from prompts.metrics import Comparison
from trainers.evaluation.records import Remedy
from trainers.evaluation.remedies import fewer_epochs, lower_rank, lower_rate
from trainers.plan import TrainingPlan

# Many figures are looked at in each run, and a healthy one must not be accused: one in a hundred, not one in twenty.
ALPHA = 0.01


def away(base: float, tuned: float, ideal: float) -> float:
    """How far the result went from the ideal, counted from the base or from the ideal, whichever is nearer to it.

    Below 0 where it came nearer. What crosses the ideal counts from there.
    """
    before, after = base - ideal, tuned - ideal
    return abs(after) if before * after < 0 else abs(after) - abs(before)


def corrected(change: Comparison, p_value: float, went_away: float) -> Comparison:
    """A comparison whose p-value is one among several, and whose verdict says whether the ideal came nearer."""
    sure = p_value < ALPHA
    verdict = "cannot tell" if not sure else "worse" if went_away > 0 else "better"
    return change.model_copy(update={"p_value": p_value, "verdict": verdict, "more": None})


def fairer(plan: TrainingPlan, trained: bool) -> tuple[Remedy, ...]:
    """What helps against a learned bias: first the data, which is where it comes from, then a gentler training."""
    rank = lower_rank(plan)
    gentler = (fewer_epochs(plan), lower_rate(plan), *([rank] if rank else [])) if trained else ()
    return (
        Remedy(
            title="Balance the rows",
            why="Look which groups the training rows speak of, and with which answers; add rows where one group has "
            "few, or almost always the same answer.",
        ),
        Remedy(
            title="Add each row again with the groups exchanged",
            why="A copy of each row that names a person, with he and she, or one name and another, in each other's "
            "place and the same answer, shows that the group does not decide (counterfactual data augmentation, Lu et "
            "al. 2020, https://arxiv.org/abs/1807.11714).",
        ),
        *gentler,
    )
