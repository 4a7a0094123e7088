"""Advice without the app: a spec and a file in, the advice out, and with trials its evidence.

Owns finding trials of the same spec and rows to go on with. Refuses to advise (`advice`), to say what can be tried
(`trialling`) and to try it (`trainers.trials`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assistant.advice.advise import advise
from assistant.advice.bases import is_away
from assistant.advice.records import Advice
from assistant.advice.situation import Situation
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.settings import Settings
from assistant.spec_file import Asked, passing_project
from assistant.trialling import options_for, with_wording
from prompts.errors import DataError, ModelError, PlanError, RunError, TunewrightError
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.dataset import load_dataset
from trainers.estimating.history import read_history
from trainers.models import EMBEDDED
from trainers.paths import Paths
from trainers.ray_cluster import Cluster
from trainers.trials import life
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import TrialOrder

MINUTES = 10.0  # that trials take where nobody says otherwise


@dataclass(frozen=True)
class Looked:
    """What was found out of a spec and a file: all that advice rests on, and the wordings that could be tried.

    `situation` is None where there is no data; then `advice` is all there is.
    """

    advice: Advice
    spec: TaskSpec
    situation: Situation | None = None
    wordings: tuple[PromptVersion, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How trials are to go on: minutes in all (None for the usual, or for what it was), device, cluster."""

    minutes: float | None = None
    device: str = ""
    cluster: Cluster | None = None


def look(
    asked: Asked, data: Path | None, settings: Settings, columns: dict[str, str], *, to_try: bool = False
) -> Looked:
    """Advise by rules alone. Nothing is kept, and the plans name the person's own file.

    `columns` are those that the person named; wordings are collected where options are `to_try`. Raises a
    `TunewrightError` where file, spec or base cannot be used.
    """
    with passing_project(settings, asked, data, columns, fetch_model=False) as (pipeline, project):
        return _looked(pipeline, project, data, settings.paths, to_try=to_try)


def _looked(pipeline: Pipeline, project: Project, data: Path | None, paths: Paths, *, to_try: bool) -> Looked:
    if project.data is None or project.prompt is None or data is None:
        return Looked(pipeline.advice(project), project.spec)
    found = _situation(pipeline, project, to_try=to_try)
    own = project.data.model_copy(update={"path": data.resolve()})
    found = found.model_copy(
        update={"project": project.model_copy(update={"data": own}), "history": read_history(paths)}
    )
    return Looked(advise(found), project.spec, found, _wordings(pipeline, project) if to_try else ())


def _situation(pipeline: Pipeline, project: Project, *, to_try: bool) -> Situation:
    """All that the advice rests on. A base that would have to be fetched is not: the embedded model stands in for it.

    Raises `ModelError` where options are `to_try` on such a base.
    """
    wanted = pipeline.base_ref(project)
    if not is_away(wanted):
        return pipeline.situation(project)
    if to_try:
        told = f"Nothing can be tried on {wanted}: it is not on this machine."
        hint = f"Look at the advice without --measure; if it is this base, `tunewright fetch {wanted}` brings it."
        raise ModelError(told, hint=hint)
    spec = project.spec.model_copy(update={"base_model": EMBEDDED})
    found = pipeline.situation(project.model_copy(update={"spec": spec}))
    return found.model_copy(update={"wanted": wanted})


def _wordings(pipeline: Pipeline, project: Project) -> tuple[PromptVersion, ...]:
    """The wordings among which a project would search; none where nothing can be tried."""
    with suppress(TunewrightError):
        return tuple(version for one in pipeline.trial_options(project).candidates for version in one.wordings)
    return ()


# With trials


def order_trials(looked: Looked, limits: Limits, paths: Paths) -> tuple[TrialsFolder, str]:
    """Trials of these options: those of the same spec, rows and base gone on with, else new ones; and which it is.

    What was tried already is never tried again. Raises a `TunewrightError` where nothing can be tried.
    """
    if limits.minutes is not None:
        life.budget(limits.minutes)
    situation = looked.situation
    if situation is None:
        raise DataError("There is no data, so that nothing can be tried.", hint="Give a file with --data.")
    earlier = next((one for one in life.list_all(paths) if _of_the_same(one, looked, limits)), None)
    if earlier is not None:
        return earlier, _gone_on(earlier, limits)
    options = options_for(situation, wordings=looked.wordings)
    order = TrialOrder(
        candidates=options.candidates,
        expected=options.expected,
        budget_minutes=limits.minutes or MINUTES,
        device=checked_device(limits.device),
        cluster=limits.cluster,
    )
    project = situation.project
    assert project.data is not None
    data = load_dataset(project.data.path, project.data.columns, project.data.edits)
    folder = life.create(order, paths, data, spec=project.spec)
    life.start(folder)
    return folder, "begun"


def _of_the_same(folder: TrialsFolder, looked: Looked, limits: Limits) -> bool:
    """Whether these trials were of this spec, these rows, this prompt and base, on this device or cluster."""
    situation = looked.situation
    assert situation is not None and situation.splits is not None and situation.project.prompt is not None
    try:
        order, rows, spec = folder.order(), folder.splits(), folder.spec()
    except RunError:
        return False
    plan = order.candidates[0].plan
    train = tuple(row for row in situation.splits.train if row.output)
    dev = tuple(row for row in situation.splits.dev if row.output)
    address = limits.cluster.address if limits.cluster else ""
    return (
        spec == situation.project.spec
        and (rows.train, rows.dev) == (train[: len(rows.train)], dev)
        and (plan.base_model, plan.prompt.id) == (situation.base.ref, situation.project.prompt.id)
        and (order.device, order.cluster.address if order.cluster else "") == (limits.device, address)
    )


def _gone_on(folder: TrialsFolder, limits: Limits) -> str:
    """Go on with trials, if there is anything to go on with; and what was done, in a word."""
    state, had = life.status(folder).state, folder.order().budget_minutes
    if state not in ENDED:
        return "joined"
    if state == "done" and (limits.minutes is None or limits.minutes <= had):
        return "found"
    life.resume(folder, minutes=limits.minutes)
    return "gone on with"


def with_evidence(looked: Looked, folder: TrialsFolder) -> Looked:
    """The advice once more, with what the trials have decided. Raises `RunError` where they failed."""
    situation, status = looked.situation, life.status(folder)
    decision = folder.decision()
    if decision is None and status.state == "failed":
        raise RunError(status.message, hint=status.hint)
    if situation is None or decision is None:
        return looked
    tried = folder.tried()
    candidates = tuple(with_wording(one, tried) for one in folder.order().candidates)
    proved = situation.model_copy(update={"decision": decision, "candidates": candidates})
    return replace(looked, advice=advise(proved), situation=proved)


def checked_device(said: str) -> Any:
    """A device as a person named it. Raises `PlanError`."""
    if said not in ("", "cpu", "cuda"):
        raise PlanError(f"There is no device {said!r}.", hint="Use cpu or cuda, or leave it out.")
    return said
