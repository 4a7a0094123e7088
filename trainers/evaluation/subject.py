"""What of a run is examined, and whether the files that it is to be examined with can be read. Never imports torch.

Owns reading these. Refuses to ask a model.
"""

from __future__ import annotations

from trainers.evaluation.own_tasks import own_tasks
from trainers.evaluation.pairs import read_pairs
from trainers.evaluation.perplexity import own_texts
from trainers.evaluation.probe import Subject
from trainers.plan import EvaluationPlan, TrainingPlan
from trainers.splits import Splits
from trainers.status import RunFolder


def subject_of(run: RunFolder, how: EvaluationPlan | None = None) -> Subject:
    """What an examination of a run looks at. Raises a `TunewrightError` where the run's files are not whole."""
    plan = run.plan()
    train = run.split("train")
    return Subject(
        plan=plan,
        how=how or run.how(),
        train=plan.objective.usable(train) if plan.strategy.trains else train,
        dev=run.split("dev"),
        test=run.split("test"),
        metrics=run.metrics(),
        spec=run.spec(),
        artefact=run.artefact,
        paraphrases=run.paraphrases(),
    )


def planned(plan: TrainingPlan, splits: Splits) -> Subject:
    """What an examination will look at once the plan has been carried out."""
    return Subject(plan=plan, how=plan.evaluation, train=splits.train, dev=splits.dev, test=splits.test)


def check_files(subject: Subject) -> None:
    """Raise `DataError` for a file of the person's own that a probe could not use, with the row and what is wrong."""
    how = subject.how
    if how.pairs and "stereotypes" in how.probes:
        read_pairs(how.pairs)
    if how.general_text and "perplexity" in how.probes:
        own_texts(how.general_text)
    if "general" in how.probes:
        own_tasks(subject)
