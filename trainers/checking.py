"""Whether a plan can be followed, asked before a model is loaded. Never imports torch.

Owns the checks that need the base's files, the parent's or the rows; what a plan's own values say is checked where they
are read (`plan`). Refuses to change a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prompts.errors import DataError, ModelError, PlanError
from trainers.adapters import SOFT_PROMPTS, check_fits, read_config
from trainers.data import Example
from trainers.evaluation.subject import check_files, planned
from trainers.hardware import Compute
from trainers.models import LocalModel
from trainers.plan import TrainingPlan
from trainers.splits import Splits
from trainers.status import RunFolder
from trainers.tokens import token_counter


def check_plan(plan: TrainingPlan, base: LocalModel, compute: Compute, splits: Splits) -> list[str]:
    """Raise what would make this training fail, with the field and the way out; return what is worth a warning."""
    plan.strategy.check(base.shape, compute)
    check_parent(plan, base)
    train = plan.objective.usable(splits.train)
    if plan.strategy.trains and not train:
        told = f"No training row has {plan.objective.needs}, which {plan.objective.title} learns from."
        raise DataError(told, hint="Bring such rows, or choose another objective.")
    check_files(planned(plan, splits))
    warnings = _template_warnings(base.folder, plan)
    if plan.strategy.trains:
        dev = plan.objective.usable(splits.dev)
        _check_room(plan, base.folder, train, "training")
        _check_room(plan, base.folder, dev, "dev")
        if not dev and plan.data.shares.dev > 0:
            told = f"The dev split is empty: {len(splits.train)} rows leave none for it."
            raise DataError(told, hint="Bring more rows, raise data.shares.dev, or set it to 0 to train without one.")
        if not dev:
            warnings.append("There are no dev rows: nothing says when to stop, so the last step is kept.")
    return warnings


def check_parent(plan: TrainingPlan, base: LocalModel) -> None:
    """Raise `PlanError` where the run to begin from is not there, or is another kind of thing."""
    if plan.parent is None:
        return
    run = RunFolder(plan.parent)
    if run.artefact is None:
        raise PlanError(f"parent: {plan.parent} holds no finished run.", hint="Name a run that is done.")
    if run.artefact == run.model:
        return
    config, strategy = read_config(run.adapter), plan.strategy
    if config.get("peft_type") in SOFT_PROMPTS:
        raise PlanError("parent: PEFT trains no saved soft prompt on.", hint="Begin from the base: leave parent out.")
    if run.plan().base_model != plan.base_model:
        told = f"parent: it was trained on {run.plan().base_model}, and this plan's base model is {plan.base_model}"
        raise PlanError(f"{told}.", hint="Use the same base_model.")
    if strategy.form != "adapter" or run.plan().strategy.type != strategy.type:
        told = f"parent: it is {run.plan().strategy.title}, which cannot go on as {strategy.title}"
        raise PlanError(f"{told}.", hint=f"Use strategy.type: {run.plan().strategy.type}.")
    rank = getattr(strategy, "r", None)
    if rank is not None and config.get("r") != rank:
        raise PlanError(f"strategy.r: the parent's rank is {config.get('r')}, not {rank}.", hint="Use the parent's.")
    check_fits(run.adapter, base.folder)


def parent_adapter(plan: TrainingPlan) -> Path | None:
    """The adapter to begin from, where the parent has one."""
    run = RunFolder(plan.parent) if plan.parent else None
    return run.adapter if run and run.artefact == run.adapter else None


def _check_room(plan: TrainingPlan, folder: Path, rows: Sequence[Example], split: str) -> None:
    """Rows are cut from the end: where every prompt fills all of it, no answer is left to learn from."""
    counter, most = token_counter(folder), plan.training.max_tokens
    if rows and all(counter.count(plan.prompt.messages(row.input)) >= most for row in rows):
        raise DataError(
            f"training.max_tokens: every prompt of the {split} rows fills all {most} tokens, so that no answer is left "
            "to learn from.",
            hint="Raise max_tokens, or shorten the prompt.",
        )


def _template_warnings(folder: Path, plan: TrainingPlan) -> list[str]:
    """What the chat template does otherwise in a training than when it answers."""
    counter = token_counter(folder)
    asked = plan.prompt.messages("a question")
    try:
        before = counter.render(asked)
        whole = counter.render([*asked, asked[-1].model_copy(update={"role": "assistant", "content": "an answer"})],
                               for_reply=False)  # fmt: skip
    except ModelError as error:
        raise PlanError(f"prompt: {error.message}", hint=error.hint) from error
    warnings = []
    if not whole.startswith(before):
        warnings.append("The model's chat template begins an answer otherwise in training than when it is asked: "
                        "the first tokens of answers may be off.")  # fmt: skip
    ending = whole.partition("an answer")[2]
    if counter.ends and not any(token in ending for token in counter.ends):
        warnings.append("The model's chat template puts no end token after an answer, so that the tuned model may not "
                        "know when to stop.")  # fmt: skip
    return warnings
