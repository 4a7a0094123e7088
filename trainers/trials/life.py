"""Starting, watching and stopping trials: a process of its own that outlives who started it, as a training is.

Owns the life of a round: its folder, its worker process, and telling a dead worker from a busy one. Refuses to try
anything (that is `worker`) and never imports torch.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from prompts.errors import DataError, PlanError, RunError
from prompts.spec import TaskSpec
from trainers import jobs
from trainers.dataset import Dataset, load_dataset
from trainers.detached import launch, living, terminate
from trainers.hardware import detect
from trainers.parents import base_of
from trainers.paths import PYTHON, Paths, require_free_space
from trainers.plan import TrainingPlan
from trainers.ray_cluster import dashboard
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import Candidate, TrialOrder, TrialsStatus

_FEWEST = 4  # rows: with fewer, what one learned from leaves nothing to ask that would tell
_BYTES = 200e6  # of disk; adapters are small, and the worker looks again before each training
_KILLED = "The process that tries ended without a word; it was killed, often because memory ran out."
_GOES_ON = "Go on: what was tried so far counts, and a try that was cut off is done once more."


def create(
    order: TrialOrder, paths: Paths, data: Dataset | None = None, *, spec: TaskSpec | None = None
) -> TrialsFolder:
    """Make the trials' folder with the order and the rows in it. `data` are the plans' rows, where they are read
    already; `spec` the person's task, which every run is to carry.

    Raises `PlanError` for an order that cannot be carried out, `DataError` for too few rows, `ModelError` where the
    base is not there, `RunError` where the disk is full.
    """
    _check(order)
    plan = order.candidates[0].plan
    base_of(plan, paths)
    require_free_space(paths.home, _BYTES, "Trying the options")
    data = data or load_dataset(plan.data.path, plan.data.columns, plan.data.edits)
    splits = jobs.splits_for(plan, data)
    train = tuple(row for row in splits.train[: plan.data.max_train_rows] if row.output)
    splits = replace(splits, train=train, dev=tuple(row for row in splits.dev if row.output))
    rows = len(splits.train) + len(splits.dev)
    if rows < _FEWEST:
        told = f"{plan.data.path.name} leaves {rows} answered row{'s' if rows != 1 else ''} to try the options on."
        hint = f"Add rows: {_FEWEST} beside the test rows are the least, some to learn from and others to ask."
        raise DataError(told, hint=hint)
    folder = TrialsFolder(paths.home / "trials" / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    folder.write_splits(splits)
    if spec:
        folder.write_spec(spec)
    folder.write_status(TrialsStatus(message="Waiting for the process that tries."))
    folder.write_order(order)  # last: a folder with an order is whole
    return folder


def budget(minutes: float) -> float:
    """What a person typed as a budget. Raises `PlanError` for nothing and for what is no number."""
    if not 0 < minutes < float("inf"):
        told = f"A budget of {minutes:g} minutes leaves no time to try anything."
        raise PlanError(told, hint="Give at least a minute; or take the advice that the rules give without trying.")
    return float(minutes)


def _check(order: TrialOrder) -> None:
    """Raise `PlanError` where the candidates cannot be compared with each other, or not be tried here."""
    if not order.candidates:
        raise PlanError("There is no option to try.", hint="Name at least one.")
    keys = [candidate.key for candidate in order.candidates]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise PlanError(f"Two options are called {twice[0]!r}.", hint="Give each a key of its own.")
    first = order.candidates[0]
    for other in order.candidates[1:]:
        if field := _differs(first, other):
            told = f"{other.title}: its {field} is not that of {first.title}, so that they cannot be compared."
            raise PlanError(told, hint="Try options for the same base model, rows and metric.")
    if order.device == "cuda" and not detect().gpus:
        raise PlanError("There is no NVIDIA GPU here to try the options on.", hint="Leave the device open, or `cpu`.")
    if order.cluster:
        dashboard(order.cluster.address)


def _differs(one: Candidate, other: Candidate) -> str:
    """What of two plans has to be the same and is not; empty where they can be compared."""
    alike: dict[str, Callable[[TrainingPlan], object]] = {
        "base model": lambda plan: (plan.base_model, plan.parent),
        "data": lambda plan: (plan.data.path, plan.data.columns, plan.data.edits, plan.data.max_train_rows),
        "division of the rows": lambda plan: (plan.data.shares, plan.data.seed),
        "metric": lambda plan: plan.evaluation.metric,
    }
    return next((name for name, of in alike.items() if of(one.plan) != of(other.plan)), "")


def start(folder: TrialsFolder) -> None:
    """Start the worker in a session of its own, so that neither a closed terminal nor the app's end stops it."""
    environment = {"CUDA_VISIBLE_DEVICES": ""} if folder.order().device == "cpu" else {}
    launch([*PYTHON, "trainers.trials.worker", str(folder.path)], folder.log, folder.worker_file, **environment)


def status(folder: TrialsFolder) -> TrialsStatus:
    """Where the trials are now. A worker that died without saying so shows as failed, or cancelled if they were to
    stop."""
    written = folder.status()
    if written.state in ENDED or living(folder.worker_file) is not None:
        return written
    written = folder.status()  # they may have ended between the two looks
    if written.state in ENDED or not folder.worker_file.is_file():
        return written
    gone = {"seconds_left": None, "doing": None}
    if folder.stop_file.exists():
        return written.model_copy(update={**gone, "state": "cancelled", "message": "Stopped.", "hint": _GOES_ON})
    hint = f"{_GOES_ON} What it said last is in {folder.log}."
    return written.model_copy(update={**gone, "state": "failed", "message": _KILLED, "hint": hint})


def stop(folder: TrialsFolder) -> None:
    """Ask the worker to end: within a step, with a decision from what was tried. Raises `RunError` where they have
    ended."""
    if status(folder).state in ENDED:
        raise RunError("The trials have ended already.", hint="Go on with them, or start new ones.")
    folder.stop_file.touch()
    if worker := living(folder.worker_file):
        terminate(worker)


def resume(folder: TrialsFolder, *, minutes: float | None = None) -> None:
    """Go on from what was tried; with a larger budget in all, if one is given. Raises `RunError` for trials that go
    on, `PlanError` for a budget that is none."""
    now = status(folder)
    if now.state not in ENDED:
        raise RunError("The trials go on already.", hint="Wait, or stop them.")
    if minutes is not None:
        folder.write_order(folder.order().model_copy(update={"budget_minutes": budget(minutes)}))
    elif now.state == "done":
        raise RunError("The trials are done.", hint="Give them more minutes, or start new ones.")
    folder.stop_file.unlink(missing_ok=True)
    folder.write_status(now.model_copy(update={"state": "queued", "message": "Going on where it was.", "hint": ""}))
    start(folder)


def find(id: str, paths: Paths) -> TrialsFolder:
    """Trials by their id. Raises `RunError`."""
    folder = paths.home / "trials" / id
    if id and folder.parent == paths.home / "trials" and (folder / "order.json").is_file():
        return TrialsFolder(folder)
    raise RunError(f"There are no trials {id!r}.", hint="They may have been deleted; start new ones.")


def list_all(paths: Paths) -> Sequence[TrialsFolder]:
    """All trials, the newest first."""
    return [TrialsFolder(order.parent) for order in sorted(paths.home.glob("trials/*/order.json"), reverse=True)]


def latest(paths: Paths) -> TrialsFolder | None:
    """The trials that were ordered last."""
    return next(iter(list_all(paths)), None)


def delete(folder: TrialsFolder) -> None:
    """Remove trials and their files; the runs that they made stay. Raises `RunError` where they go on."""
    if status(folder).state not in ENDED:
        raise RunError("The trials go on.", hint="Stop them first.")
    shutil.rmtree(folder.path)
