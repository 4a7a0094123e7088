"""Starting, watching and stopping training runs, each a process of its own that outlives who started it.

Owns the life of a run: its directory, its worker process, cancelling, and telling a dead worker from a busy one.
Refuses to train (that is `worker`) and never imports torch.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil

from prompts.errors import DataError, RunError
from trainers import launching, ray_cluster
from trainers.data import normal
from trainers.dataset import Dataset, load_dataset
from trainers.detached import launch, living, terminate
from trainers.estimating.disk import disk_bytes
from trainers.evaluation.subject import check_files, subject_of
from trainers.parents import base_of
from trainers.paths import PYTHON, Paths, require_free_space, write_atomically
from trainers.plan import EvaluationPlan, TrainingPlan
from trainers.splits import Splits
from trainers.status import ENDED, RunFolder, RunStatus

_LONGEST_NAME = 80
_KILLED = "The training process ended without a word; it was killed, often because memory ran out."


def create_run(
    plan: TrainingPlan, paths: Paths, data: Dataset | None = None, held_out: Splits | None = None
) -> RunFolder:
    """Make a run directory with the plan and the splits in it. `data` are the plan's rows, where they are read already;
    `held_out` is as `splits_for` takes it.

    Raises `DataError` for unusable data and `RunError` where the disk is full.
    """
    require_free_space(paths.runs, disk_bytes(0, whole=False), "A training run")
    data = data or load_dataset(plan.data.path, plan.data.columns, plan.data.edits)
    splits = splits_for(plan, data, held_out)
    if not splits.train:
        raise DataError(f"{plan.data.path.name} leaves no row to train on.", hint="Add rows, or raise the train share.")
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    run = RunFolder(paths.runs / f"{stamp}-{plan.strategy.type}-{secrets.token_hex(2)}")
    for name, examples in splits.parts():
        run.write_split(name, examples[: plan.data.max_train_rows] if name == "train" else examples)
    if data.table.aside_rows:
        data.table.write_set_aside(run.set_aside)
    write_atomically(run.path / "plan.yaml", plan.to_yaml())
    run.write_status(RunStatus(message="Waiting for the training process."))
    return run


def splits_for(plan: TrainingPlan, data: Dataset, held_out: Splits | None = None) -> Splits:
    """The rows as a plan divides them. The test rows are those that have an answer to compare with.

    Where `held_out` is given, its test and arena rows take the place of the data's own, but for inputs that the plan
    trains on: a run that goes on from another is measured on the rows that the other one was measured on.
    """
    splits = data.splits(plan.data.shares, plan.data.seed, with_disliked=plan.objective.takes_disliked)
    trained = {normal(row.input) for row in (*splits.train, *splits.dev)} if held_out else set()
    kept = {
        name: tuple(row for row in getattr(held_out or splits, name) if row.output and normal(row.input) not in trained)
        for name in ("test", "arena")
    }
    return replace(splits, **kept)


def start(run: RunFolder) -> None:
    """Start the worker in a session of its own, so that neither a closed terminal nor the app's end stops it.

    In its place, what launches several of them (`launching`) or follows the run on a cluster (`on_ray`), where the
    run's folder says so.
    """
    command = [*PYTHON, "trainers.on_ray", str(run.path)] if ray_cluster.kept(run) else launching.command(run)
    launch(command, run.log, run.path / "worker.json")


def status(run: RunFolder) -> RunStatus:
    """Where the run is now. A worker that died without saying so shows as failed, or cancelled if that was asked."""
    written = run.written_status()
    if written.state in ENDED or _worker(run) is not None:
        return written
    written = run.written_status()  # it may have ended between the two looks
    if written.state in ENDED or not (run.path / "worker.json").is_file():
        return written
    if (run.path / "cancel").exists():
        return written.model_copy(update={"state": "cancelled", "message": "Cancelled.", "seconds_left": None})
    hint = f"Resume goes on from the last checkpoint. What it said last is in {run.log}."
    return written.model_copy(update={"state": "failed", "message": _KILLED, "hint": hint, "seconds_left": None})


def stop(run: RunFolder) -> None:
    """Ask a training to end after its next step and to keep what it has learned. Raises `RunError` beyond training."""
    now = status(run)
    if now.state in ENDED or now.phase == "evaluating":
        raise RunError(f"{run.name} is not training any more.", hint="Cancel it, or wait for its report.")
    run.stop_file.touch()


def resume(run: RunFolder) -> None:
    """Go on where a run was cut off: from its last whole checkpoint, or with the report where that is all that lacks.

    Raises `RunError` for a run that is done or goes on.
    """
    now = status(run)
    if now.state == "done":
        raise RunError(f"{run.name} is done.", hint="Start a new run, with this one as its parent to train on.")
    if now.state not in ENDED:
        raise RunError(f"{run.name} goes on already.", hint="Wait, or cancel it.")
    for asked in (run.path / "cancel", run.stop_file):
        asked.unlink(missing_ok=True)
    run.write_status(now.model_copy(update={"state": "queued", "message": "Going on where it was.", "hint": ""}))
    start(run)


def evaluate(run: RunFolder, paths: Paths, how: EvaluationPlan | None = None) -> None:
    """Examine a run's result anew, in a worker of its own; `how` other than its plan says, if given.

    The report that is there stays until the new one is whole. Raises a `TunewrightError` where there is nothing to
    examine, or its base model is gone.
    """
    if status(run).state not in ENDED:
        raise RunError(f"{run.name} goes on.", hint="Wait until it has ended.")
    if not run.has_result:
        raise RunError(f"{run.name} left nothing to evaluate.", hint="Resume it, or start a new run.")
    if not run.split("test"):
        told = f"{run.name} has no test rows: none of the rows that were held out has an answer to compare with."
        raise DataError(told, hint="Give rows answers in the data and train again; the test rows are sealed per run.")
    plan = run.plan()
    base_of(plan, paths)
    check_files(subject_of(run, how))
    if how:
        run.write_how(how)
    (run.path / "cancel").unlink(missing_ok=True)
    now = run.written_status()
    run.write_status(now.model_copy(update={"state": "queued", "message": "Waiting to be examined.", "hint": ""}))
    start(run)


def cancel(run: RunFolder) -> None:
    """Ask the worker to stop. What it has logged so far stays. Harmless where it has ended already."""
    worker = _worker(run)
    if worker is None:
        return
    (run.path / "cancel").touch()
    terminate(worker)


def rename(run: RunFolder, name: str) -> None:
    """Give a run a name of the person's own; an empty one takes it away. The id stays. Raises `RunError`."""
    name = " ".join(name.split())
    if len(name) > _LONGEST_NAME:
        raise RunError(f"A name has at most {_LONGEST_NAME} characters.", hint="Choose a shorter one.")
    write_atomically(run.path / "name", name)


def delete(run: RunFolder) -> None:
    """Remove a run and all its files. Raises `RunError` for one that goes on."""
    if status(run).state not in ENDED:
        raise RunError(f"{run.name} goes on.", hint="Cancel it first.")
    shutil.rmtree(run.path)


def list_runs(paths: Paths) -> list[RunFolder]:
    """All runs, the newest first."""
    return [RunFolder(plan.parent) for plan in sorted(paths.runs.glob("*/plan.yaml"), reverse=True)]


def find_run(name: str, paths: Paths) -> RunFolder:
    """A run by its id or path. Raises `RunError`."""
    for path in (paths.runs / name, Path(name)):
        if (path / "plan.yaml").is_file():
            return RunFolder(path.resolve())
    raise RunError(f"There is no run {name!r}.", hint="`tunewright runs` lists them.")


def _worker(run: RunFolder) -> psutil.Process | None:
    return living(run.path / "worker.json")
