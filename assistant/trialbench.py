"""A project's trials: started within a budget, stopped, gone on with, and an option taken from what they found.

Owns these, between the runs and the votes, and whether what was decided still holds for today's rows, prompt and base.
Refuses to try anything (that is `trainers.trials`) and to say what can be tried (`trialling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from assistant.advice.plans import in_full
from assistant.hosts import is_here
from assistant.project import Project
from assistant.runbench import RunBench
from assistant.trialling import Options, options_for, with_wording
from prompts.errors import DataError, RunError, TunewrightError
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.plan import TrainingPlan
from trainers.ray_cluster import Cluster, dashboard, read_cluster
from trainers.status import RunFolder
from trainers.trials import life
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.halving import next_tries
from trainers.trials.records import Candidate, Decision, TrialOrder, TrialsStatus

MINUTES = {"cpu": 10.0, "cuda": 15.0}  # a first budget, until the person names one; chosen by us
Device = Literal["", "cpu", "cuda"]


class TrialBench(RunBench):
    """Trials of any number of projects."""

    # Before

    def trial_options(self, project: Project) -> Options:
        """What would be tried now, and what not and why. Raises a `TunewrightError` where nothing can be."""
        if project.data is None:
            raise DataError("There is no data, so that nothing can be tried.", hint="Bring rows with answers first.")
        if not self.examples(project):
            raise DataError("No row has an answer yet.", hint="Give some in the Data panel.")
        return options_for(self.situation(project), wordings=self._wordings(project))

    def _wordings(self, project: Project) -> Sequence[PromptVersion]:
        return self._candidates(project) if project.prompt else ()

    # Life

    def start_trials(self, id: str, minutes: float, *, device: str = "", cluster: str = "") -> TrialsFolder:
        """Try the options within a budget of minutes, in a process of its own; where something trains, it waits.

        Raises `PlanError` for a budget that is none, `RunError` for a wrong device or address and where trials go on
        already, and what `trial_options` raises.
        """
        minutes = life.budget(minutes)
        with self._lock:
            project = self.project(id)
            if self.trials_go_on(project):
                raise RunError("Trials go on already.", hint="Stop them, or wait for their end.")
            options = self.trial_options(project)
            order = TrialOrder(
                candidates=options.candidates,
                expected=options.expected,
                budget_minutes=minutes,
                device=_checked_device(device),
                cluster=_checked_cluster(project, cluster.strip()),
            )
            folder = life.create(order, self.settings.paths, self.dataset(project), spec=project.spec)
            self.step_aside()
            life.start(folder)
            self.change(id, trials_id=folder.id)
            return folder

    def stop_trials(self, id: str) -> None:
        """End the trials; what was found so far is decided on and kept. Raises `RunError` where none go on."""
        folder = self.trials(self.project(id))
        if folder is None or self.trials_status(folder).state in ENDED:
            raise RunError("No trials go on.", hint="Start them in the Strategy panel.")
        life.stop(folder)

    def resume_trials(self, id: str, minutes: float | None = None) -> TrialsFolder:
        """Go on with trials that were stopped or cut off, or that are done and get so many minutes more.

        Raises `RunError` where there are none, and where nothing is left to try.
        """
        with self._lock:
            folder = self.trials(self.project(id))
            if folder is None or self.trials_status(folder).state not in ENDED:
                raise RunError("No trials were cut off.", hint="Start them in the Strategy panel.")
            if self.trials_status(folder).state == "done" and not self.more_to_try(folder):
                raise RunError("The trials are done.", hint="Nothing is left to try: start new ones.")
            whole = folder.order().budget_minutes + life.budget(minutes) if minutes is not None else None
            life.resume(folder, minutes=whole)
            self.step_aside()
            self.change(id, announced=tuple(one for one in self.project(id).announced if one != folder.id))
            return folder

    def more_to_try(self, folder: TrialsFolder) -> bool:
        """Whether trials that are done would go on with more minutes: nothing but the budget ended them."""
        if self.trials_status(folder).state != "done":
            return False
        try:
            rows = folder.splits()
        except TunewrightError:
            return False
        return bool(next_tries(order_of(folder), folder.tried(), rows.train, math.inf, len(rows.dev)).tries)

    # What there is

    def trials(self, project: Project) -> TrialsFolder | None:
        """The trials that were started last, where they are still there."""
        try:
            return life.find(project.trials_id, self.settings.paths) if project.trials_id else None
        except TunewrightError:
            return None

    @staticmethod
    def trials_status(folder: TrialsFolder) -> TrialsStatus:
        """Where the trials are; those whose process is gone show as failed."""
        return life.status(folder)

    def trials_go_on(self, project: Project) -> bool:
        """Whether something is tried for the project now, or waits for its turn."""
        folder = self.trials(project)
        return folder is not None and self.trials_status(folder).state not in ENDED

    def any_trials_go_on(self) -> bool:
        """Whether trials of any project compute on this machine."""
        there = life.list_all(self.settings.paths)
        return any(self.trials_status(one).state not in ENDED and not one.order().cluster for one in there)

    def waits(self, id: str, run: RunFolder) -> bool:
        """As for other runs; trials on this machine have it too, until they have ended."""
        folder = self.trials(self.project(id))
        tries = folder is not None and self.trials_status(folder).state not in ENDED and not order_of(folder).cluster
        return tries or super().waits(id, run)

    def unannounced_trials(self, project: Project) -> TrialsFolder | None:
        """Trials that have ended and of whose end the chat has not told yet."""
        folder = self.trials(project)
        if folder is None or folder.id in project.announced or self.trials_status(folder).state not in ENDED:
            return None
        return folder

    def outdated(self, project: Project, folder: TrialsFolder) -> str:
        """What has changed since the trials, as words for a sentence; empty where they are of today's project."""
        tried = order_of(folder).candidates[0].plan
        data = project.data
        if data is None or (data.path, data.columns, data.edits) != (
            tried.data.path,
            tried.data.columns,
            tried.data.edits,
        ):
            return "the data"
        if project.prompt is None or project.prompt.id not in _prompts(folder):
            return "the prompt"
        if self.base_ref(project) != tried.base_model:
            return "the base model"
        return "" if self.metric(project) == tried.evaluation.metric else "what is scored"

    def decision(self, project: Project) -> Decision | None:
        """What the trials have decided, where that is of today's rows, prompt, base and score."""
        folder = self.trials(project)
        if folder is None or self.outdated(project, folder):
            return None
        return folder.decision()

    def tried_options(self, project: Project) -> tuple[Candidate, ...]:
        """The options that today's decision is about, each with the wording that was found best for it."""
        folder = self.trials(project)
        if folder is None or self.decision(project) is None:
            return ()
        tried = folder.tried()
        return tuple(with_wording(one, tried) for one in folder.order().candidates)

    # What is made of it

    def take_candidate(self, id: str, key: str) -> TrainingPlan:
        """Make an option's plan the project's own, with the wording that was found best for it.

        Raises `RunError` where it was not tried, and what `check` raises.
        """
        with self._lock:
            project = self.project(id)
            folder = self.trials(project)
            candidate = _candidate(folder, key) if folder else None
            if folder is None or candidate is None:
                raise RunError("This option was not tried.", hint="Choose one of those in the table.")
            plan = in_full(with_wording(candidate, folder.tried()).plan, self.situation(project))
            self.check(project, plan)
            self.take_prompt(id, plan.prompt)
            self.set_plan(id, plan)
            return plan

    def open_trial(self, id: str, run_id: str) -> RunFolder:
        """Make a trial's run one of the project's, the shown one: its report, and who can be compared.

        It stands before all others, so that the latest training stays the latest. Raises `RunError`.
        """
        with self._lock:
            project = self.project(id)
            folder = self.trials(project)
            if folder is None or run_id not in {tried.run for tried in folder.tried()}:
                raise RunError("This run is none of the trials'.", hint="Choose one in the table.")
            run = jobs.find_run(run_id, self.settings.paths)
            if run_id not in {one.id for one in self.runs(project)}:
                run.write_spec(project.spec)
                told = (*project.announced, run_id)
                self.change(id, earlier_runs=(run_id, *project.earlier_runs), announced=told)
            self.show_run(id, run_id)
            return run


def _candidate(folder: TrialsFolder, key: str) -> Candidate | None:
    return next((one for one in folder.order().candidates if one.key == key), None)


def order_of(folder: TrialsFolder) -> TrialOrder:
    """What was ordered, read once for each time that it was written: every page asks every other second."""
    return _read_order(folder.path, _written(folder, "order.json"))


@lru_cache(maxsize=16)
def _read_order(path: Path, written: int) -> TrialOrder:
    return TrialsFolder(path).order()


def _prompts(folder: TrialsFolder) -> frozenset[str]:
    """The ids of all prompts that an option was tried with and would be taken with."""
    return _read_prompts(folder.path, _written(folder, "order.json"), _written(folder, "tried.jsonl"))


@lru_cache(maxsize=16)
def _read_prompts(path: Path, ordered: int, tried: int) -> frozenset[str]:
    folder = TrialsFolder(path)
    found = folder.tried()
    return frozenset(with_wording(one, found).plan.prompt.id for one in folder.order().candidates)


def _written(folder: TrialsFolder, name: str) -> int:
    """When a file was written last, in nanoseconds; 0 for never."""
    try:
        return (folder.path / name).stat().st_mtime_ns
    except OSError:
        return 0


def stamp_of(folder: TrialsFolder) -> tuple[int, int]:
    """When a try and the decision were written last."""
    return _written(folder, "tried.jsonl"), _written(folder, "decision.json")


def _checked_cluster(project: Project, address: str) -> Cluster | None:
    """The cluster that a person named; None for this machine. Raises `RunError`, and `DataError` where nothing may
    leave this machine."""
    cluster = read_cluster(address)
    if cluster and project.spec.local_only and not is_here(dashboard(cluster.address)):
        told = f"You said that nothing may leave this machine, and {cluster.address} is another"
        raise DataError(f"{told}.", hint="Try the options here, or change that in the Task panel.")
    return cluster


def _checked_device(device: str) -> Device:
    if device not in ("", "cpu", "cuda"):
        raise RunError(f"There is no device {device!r}.", hint="Use cpu or cuda, or leave it out.")
    return device  # type: ignore[return-value]
