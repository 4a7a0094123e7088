"""What to do where a model lost what it could do before: remedies that several probes give. Never imports torch.

Owns the advice against forgetting. Refuses to say whether something was forgotten (that is each probe's).
"""

from __future__ import annotations

from trainers.evaluation import remedies
from trainers.evaluation.probe import Subject
from trainers.evaluation.records import Remedy
from trainers.objectives import SftObjective
from trainers.plan import MOST_GENERAL_ROWS

_FEWEST, _SHARE = 30, 0.25  # general rows: a quarter of the training rows, and at least so many


def against_forgetting(subject: Subject) -> tuple[Remedy, ...]:
    """What keeps more of the base, the surest first; only what the run's own plan can take."""
    plan = subject.plan
    if not plan.strategy.trains:
        return ()
    found = [
        _rehearsal(subject),
        remedies.lower_rate(plan),
        remedies.fewer_epochs(plan) if plan.training.epochs > 1 else None,
        remedies.lower_rank(plan),
        _switchable() if plan.strategy.form == "adapter" else None,
    ]
    return tuple(remedy for remedy in found if remedy)


def _rehearsal(subject: Subject) -> Remedy | None:
    """General examples mixed in; None where the plan cannot, or does so with as many as there are already."""
    plan = subject.plan
    if not (isinstance(plan.objective, SftObjective) and plan.strategy.by_trl):
        return None
    rows = min(MOST_GENERAL_ROWS, max(_FEWEST, round(_SHARE * len(subject.train)), 2 * plan.data.general_rows))
    if rows <= plan.data.general_rows:
        return None
    return Remedy(
        title=f"Mix in {rows} general examples",
        why="The base answers general questions before the training, and its answers are trained on along with your "
        "rows, so that it goes on answering as it did.",
        changes={"data.general_rows": rows},
    )


def _switchable() -> Remedy:
    return Remedy(
        title="Keep the adapter for this task alone",
        why="The base itself is unchanged. Serve both side by side, ask the adapter for this task only, and the base "
        "for everything else: then nothing is lost.",
    )
