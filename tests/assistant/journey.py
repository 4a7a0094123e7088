"""What the tests of pipeline, chat and command line share: a measured machine, a project, and one finished run.

Made once a session, whichever file asks first, in folders under the session's own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.settings import Settings
from assistant.workbench import NEW_PROJECT
from prompts.metrics import compare, summarize
from tests.fakes import ScriptedRoom
from tests.trainers.runs import wait_until_ended, write_tickets
from trainers.evaluation.records import EvaluationReport
from trainers.hardware import choose_compute
from trainers.jobs import create_run
from trainers.paths import Paths
from trainers.status import RunFolder, RunStatus

DESCRIPTION = "Route tickets to the team that should answer"


@cache
def measured(root: Path) -> Path:
    """A cache folder in which this machine is measured already: that takes a child process with torch."""
    folder = root / "measured"
    choose_compute(folder)
    return folder


def open_pipeline(paths: Paths) -> tuple[Pipeline, ScriptedRoom]:
    """The app's inside on these folders, with an engine room that starts nothing."""
    settings = Settings(paths=paths, engine="embedded")
    room = ScriptedRoom(settings)
    return Pipeline(settings, room), room


def begin_project(pipeline: Pipeline, model: Path) -> Project:
    """A new project on a base model folder."""
    project = pipeline.store.create_project(NEW_PROJECT)
    return pipeline.edit_spec(project.id, {"base_model": str(model)})


@dataclass(frozen=True)
class Finished:
    """A project whose one run is done, and the folders that it lives in. Not to be changed."""

    paths: Paths
    id: str
    run_id: str

    def copy(self, root: Path) -> Finished:
        """The same in folders of one's own. The data files stay where they are."""
        paths = Paths(home=root / "copied", cache=self.paths.cache)
        shutil.copytree(self.paths.home, paths.home)
        return Finished(paths, self.id, self.run_id)


@cache
def finished(root: Path, model: Path) -> Finished:
    """A tiny model trained through the pipeline, for one epoch on a few rows."""
    paths = Paths(home=root / "finished" / "home", cache=root / "finished" / "cache")
    shutil.copytree(measured(root), paths.cache)
    with pytest.MonkeyPatch.context() as environment:  # the worker finds its folders there
        environment.setenv("TUNEWRIGHT_HOME", str(paths.home))
        environment.setenv("TUNEWRIGHT_CACHE", str(paths.cache))
        pipeline, _ = open_pipeline(paths)
        project = begin_project(pipeline, model)
        pipeline.edit_spec(project.id, {"description": DESCRIPTION, "task": "classification"})
        project = pipeline.add_file(project.id, write_tickets(root / "finished" / "tickets.csv", rows=40))
        plan = pipeline.plan(project)
        once = plan.training.model_copy(update={"epochs": 1.0, "learning_rate": 5e-3})
        pipeline.set_plan(project.id, plan.model_copy(update={"training": once}))
        run = pipeline.start_training(project.id)
        ended = wait_until_ended(run)
    assert ended.state == "done", run.log_tail()
    return Finished(paths, project.id, run.id)


def pretend_run(pipeline: Pipeline, id: str, status: RunStatus, *, better: bool = True) -> RunFolder:
    """A run of this project that nobody trained: the files that a worker would have left."""
    run = create_run(pipeline.plan(pipeline.project(id)), pipeline.settings.paths)
    run.write_status(status)
    if status.state == "done":
        low, high = [0.0] * 20, [1.0] * 20
        base, tuned = (low, high) if better else (high, low)
        report = EvaluationReport(
            metric="exact match",
            base=summarize(base),
            tuned=summarize(tuned),
            comparison=compare(base, tuned),
            prompt_id=run.plan().prompt.id,
            base_model="tiny",
            seed=0,
            train_rows=24,
            train_tokens=1000,
            train_seconds=1.0,
            peak_memory_gb=0.1,
        )
        run.write_report(report, [])
        run.adapter.mkdir()
        (run.adapter / "adapter_config.json").write_text("{}")
    before = pipeline.project(id)
    earlier = (*before.earlier_runs, before.run_id) if before.run_id else ()
    pipeline.change(id, run_id=run.id, earlier_runs=earlier)
    return run
