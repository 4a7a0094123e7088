"""A project's strategies and trainings: what is advised, the plan, and runs that wait, go on, are stopped and kept.

Owns these, above the prompt and data benches. Refuses to train (that is `trainers`) and to serve (the pipeline's).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from assistant.advice.advise import advise, advise_without_data
from assistant.advice.bases import bases_here, is_away
from assistant.advice.costs import Cost, cost_of, serving_of
from assistant.advice.plans import advised_plan, sources
from assistant.advice.records import Advice
from assistant.advice.situation import Situation
from assistant.project import Project
from assistant.workshop import Workshop
from prompts.errors import DataError, RunError, TunewrightError
from trainers import jobs
from trainers.checking import check_plan
from trainers.estimating.history import read_history
from trainers.estimating.records import ServingEstimate
from trainers.evaluation.records import Remedy
from trainers.evaluation.remedies import apply
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED
from trainers.objectives import AnyObjective
from trainers.plan import PROBES, EvaluationPlan, TrainingPlan
from trainers.profile import DatasetProfile
from trainers.status import ENDED, RunFolder, RunStatus
from trainers.strategies import AnyStrategy, ImportedStrategy
from trainers.trials.records import Candidate, Decision


class RunBench(Workshop):
    """Strategies, plans and runs of any number of projects."""

    # Strategy

    def decision(self, project: Project) -> Decision | None:
        """What trials decided, where that is of today's rows, prompt and base. Here none: they are `TrialBench`'s."""
        return None

    def tried_options(self, project: Project) -> tuple[Candidate, ...]:
        """The options that a decision is about; none where there is no decision."""
        return ()

    def situation(self, project: Project) -> Situation:
        """All that the advice rests on. Raises `ModelError` where the base model cannot be had."""
        ready = project.data is not None
        stored, paths = self.score_of(project), self.settings.paths
        return Situation(
            project=project,
            machine=detect(),
            compute=choose_compute(paths.cache),
            base=self.base(project),
            profile=self._profile(project) if ready else None,
            splits=self.splits(project) if ready else None,
            score=stored.score if stored else None,
            measured=tuple(self.measured(project)) if ready else (),
            rates=self.settings.rates,
            history=read_history(paths),
            candidates=self.tried_options(project),
            decision=self.decision(project),
            parent=self._begins_from(project),
            bases=bases_here(paths),
        )

    def _profile(self, project: Project) -> DatasetProfile:
        """The profile, with the answers as labels where the task says that they are."""
        profile = self.profile(project)
        if profile.labels or not self.labels(project):
            return profile
        counts = Counter(row.output for row in self.examples(project))
        return profile.model_copy(update={"labels": dict(counts.most_common())})

    def advice(self, project: Project) -> Advice:
        """What to do, the advised option first. Without data the base model need not be there yet, and one that would
        have to be fetched is not: the embedded model stands in for it."""
        if project.data is None:
            return advise_without_data(project.spec)
        wanted = self.base_ref(project)
        if not is_away(wanted):
            return advise(self.situation(project))
        spec = project.spec.model_copy(update={"base_model": EMBEDDED})
        standing_in = self.situation(project.model_copy(update={"spec": spec, "plan": None}))
        return advise(standing_in.model_copy(update={"wanted": wanted}))

    def _begins_from(self, project: Project) -> Path | None:
        """The run that a training on preferences can go on from: the one that is shown, where an adapter is its."""
        run = self.tuned_run(project)
        if run is None or run.artefact != run.adapter:
            return None
        plan = run.plan()
        return run.path if plan.strategy.type == "lora" and plan.base_model == self.base(project).ref else None

    def plan(self, project: Project) -> TrainingPlan:
        """The plan that Start will follow: the person's own, else the advised one. Raises `DataError` without data."""
        data = self.source(project)
        if not self.examples(project):
            raise DataError("No row has an answer yet.", hint="Give some in the Data panel.")
        if project.plan is None:
            return self._advised(self.situation(project))
        where = project.plan.data.model_copy(update={"path": data.path, "columns": data.columns, "edits": data.edits})
        return project.plan.model_copy(update={"data": where, "prompt": project.prompt or project.plan.prompt})

    @staticmethod
    def _advised(situation: Situation) -> TrainingPlan:
        """The plan of the option that is advised, where that trains this base; else the one for a training."""
        plan = advise(situation).best.plan
        trains_this = plan is not None and plan.strategy.trains and plan.base_model == situation.base.ref
        return plan if plan and trains_this else advised_plan(situation)

    def plan_text(self, project: Project) -> str:
        """The plan as a file, each figure with where it comes from. Raises `DataError` without data."""
        plan = self.plan(project)
        return plan.to_yaml(sources(self.situation(project), plan))

    def set_plan(self, id: str, plan: TrainingPlan | None) -> Project:
        """Take the person's own plan; None goes back to the advised one."""
        return self.change(id, plan=plan)

    def choose_strategy(
        self, id: str, strategy: AnyStrategy | None = None, objective: AnyObjective | None = None
    ) -> TrainingPlan:
        """Make a plan for another strategy or objective, with its usual figures, and keep it as the person's.

        What is not named stays as the plan has it. Raises a `TunewrightError` where that cannot be trained here.
        """
        project = self.project(id)
        now = self.plan(project)
        plan = advised_plan(self.situation(project), strategy or now.strategy, objective or now.objective)
        self.check(project, plan)
        self.set_plan(id, plan)
        return plan

    def check(self, project: Project, plan: TrainingPlan) -> list[str]:
        """What is worth a warning in a plan. Raises a `TunewrightError` for what would make the training fail."""
        disliked = plan.objective.takes_disliked  # which the project's own splits leave out
        splits = jobs.splits_for(plan, self.dataset(project)) if disliked else self.splits(project)
        return check_plan(plan, self._resolved(plan.base_model), choose_compute(self.settings.paths.cache), splits)

    def cost_of(self, project: Project, plan: TrainingPlan) -> Cost:
        """What following a plan will take."""
        return cost_of(self.situation(project), plan)

    def serving_of(self, project: Project, plan: TrainingPlan) -> ServingEstimate:
        """What answering with a plan's result will take."""
        return serving_of(self.situation(project), plan)

    # Runs

    def start_training(self, id: str) -> RunFolder:
        """Start the project's plan as a run of its own; where another one trains, it waits its turn.

        The engine steps aside. Raises a `TunewrightError`.
        """
        with self._lock:
            project = self.project(id)
            plan = self.plan(project)
            self.check(project, plan)
            plan = self._beside_prompts(project, plan)
            return self._start(id, jobs.create_run(plan, self.settings.paths, self.dataset(project)))

    def _beside_prompts(self, project: Project, plan: TrainingPlan) -> TrainingPlan:
        """The plan, with the base measured on the test rows with the first and the best prompt too.

        What the person set there stays.
        """
        if plan.evaluation.prompts:
            return plan
        stored, measured = self.store.prompts(project.id), self.measured(project)
        found = {"first prompt": stored[0].version} if stored else {}
        if measured:
            found["best prompt"] = max(measured, key=lambda one: one.score.value if one.score else 0.0).version
        others = {version.id: (name, version) for name, version in found.items() if version.id != plan.prompt.id}
        how = plan.evaluation.model_copy(update={"prompts": dict(others.values())})
        return plan.model_copy(update={"evaluation": how})

    def import_adapter(self, id: str, adapter: Path) -> RunFolder:
        """Take an adapter that was trained elsewhere as a run: it is checked, compared with the base, and served.

        Raises a `TunewrightError` where it is damaged or for another base model.
        """
        with self._lock:
            project = self.project(id)
            strategy = ImportedStrategy(adapter=adapter.expanduser().resolve())
            plan = advised_plan(self.situation(project), strategy)
            self.check(project, plan)
            run = jobs.create_run(plan, self.settings.paths, self.dataset(project))
            jobs.rename(run, f"imported: {adapter.name}")
            return self._start(id, run)

    def _start(self, id: str, run: RunFolder) -> RunFolder:
        project = self.project(id)
        run.write_spec(project.spec)
        self.step_aside()
        jobs.start(run)
        earlier = (*project.earlier_runs, project.run_id) if project.run_id else ()
        self.change(id, run_id=run.id, earlier_runs=earlier, shown_run=None)
        self.go_to(id, "Train")
        return run

    def step_aside(self) -> None:
        """Leave the machine to a training: what measures stops."""
        for job in (*self.measurements.values(), *self.improvements.values()):
            job.stop()

    def runs(self, project: Project) -> list[RunFolder]:
        """The project's runs that are still there, the newest first."""
        ids = (*project.earlier_runs, *([project.run_id] if project.run_id else []))
        return [run for run in map(self._found, reversed(ids)) if run]

    def run(self, project: Project) -> RunFolder | None:
        """The run that trains now, or waits longest, else the latest one, where it is still there."""
        runs = self.runs(project)
        going = [run for run in reversed(runs) if jobs.status(run).state not in ENDED]
        return next(iter((*going, *runs)), None)

    def waits(self, id: str, run: RunFolder) -> bool:
        """Whether another run of the project has the device now."""
        others = (other for other in self.runs(self.project(id)) if other.id != run.id)
        return any(jobs.status(other).state not in ENDED for other in others)

    def tuned_run(self, project: Project) -> RunFolder | None:
        """The run that is shown: the person's choice, else the latest that left a result. A failed or cancelled one
        does not hide what was there before."""
        runs = [run for run in self.runs(project) if run.has_result]
        return next((run for run in runs if run.id == project.shown_run), next(iter(runs), None))

    def show_run(self, id: str, run_id: str) -> Project:
        """Make a run the one that report and comparison are about. Raises `RunError`."""
        if not self.run_of(id, run_id).has_result:
            raise RunError("This run left nothing to show.", hint="Choose one that is done.")
        return self.change(id, shown_run=run_id)

    def run_of(self, id: str, run_id: str) -> RunFolder:
        """One of a project's runs. Raises `RunError` for any other."""
        found = next((run for run in self.runs(self.project(id)) if run.id == run_id), None)
        if found is None:
            raise RunError("This run is not there any more.", hint="Look at the table of runs.")
        return found

    def _found(self, run_id: str | None) -> RunFolder | None:
        try:
            return jobs.find_run(run_id, self.settings.paths) if run_id else None
        except TunewrightError:
            return None

    def run_status(self, project: Project) -> RunStatus | None:
        run = self.run(project)
        return jobs.status(run) if run else None

    def cancel_training(self, id: str) -> None:
        """Give up the run that goes on. It can be resumed."""
        if run := self.run(self.project(id)):
            jobs.cancel(run)

    def stop_training(self, id: str) -> None:
        """End the training and keep what it has learned. Raises `RunError`."""
        run = self.run(self.project(id))
        if run is None:
            raise RunError("No training was started yet.", hint="Start one.")
        jobs.stop(run)

    def resume_training(self, id: str, run_id: str | None = None) -> RunFolder:
        """Go on with a run that was cut off, the latest one of them where none is named. Raises `RunError`."""
        with self._lock:
            broken = [run for run in self.runs(self.project(id)) if jobs.status(run).state in ("failed", "cancelled")]
            run = self.run_of(id, run_id) if run_id else next(iter(broken), None)
            if run is None:
                raise RunError("No run was cut off.", hint="Start a training.")
            self.step_aside()
            jobs.resume(run)
            self.change(id, announced=tuple(one for one in self.project(id).announced if one != run.id))
            self.go_to(id, "Train")
            return run

    def examine(self, id: str, how: EvaluationPlan | None = None) -> RunFolder:
        """Examine the result that is shown anew, in the background. Raises a `TunewrightError`."""
        with self._lock:
            project = self.project(id)
            run = self.tuned_run(project)
            if run is None:
                raise RunError("There is no result to examine yet.", hint="Start a training.")
            run.write_spec(project.spec)
            kept = how or run.how()
            whole = kept if kept.probes else kept.model_copy(update={"probes": PROBES})  # left out for want of time
            self.step_aside()
            jobs.evaluate(run, self.settings.paths, whole)
            return run

    def take_remedy(self, id: str, remedy: Remedy) -> TrainingPlan:
        """Make the shown run's plan with a remedy the project's, and go to Strategy. Raises a `TunewrightError`."""
        project = self.project(id)
        run = self.tuned_run(project)
        if run is None:
            raise RunError("The run that this is about is not there any more.", hint="Look at the table of runs.")
        plan = apply(remedy, run.plan())
        plan = plan.model_copy(update={"evaluation": plan.evaluation.model_copy(update={"prompts": {}})})
        self.set_plan(id, plan)
        self.go_to(id, "Strategy")
        return plan

    def rename_run(self, id: str, run_id: str, name: str) -> None:
        """Raises `RunError`."""
        jobs.rename(self.run_of(id, run_id), name)

    def delete_run(self, id: str, run_id: str) -> Project:
        """Remove a run with all its files. Raises `RunError` for one that goes on."""
        with self._lock:
            jobs.delete(self.run_of(id, run_id))
            project = self.project(id)
            left = [one for one in (*project.earlier_runs, project.run_id) if one and one != run_id]
            shown = None if project.shown_run == run_id else project.shown_run
            return self.change(id, run_id=left[-1] if left else None, earlier_runs=tuple(left[:-1]), shown_run=shown)

    def unannounced(self, project: Project) -> RunFolder | None:
        """A run that has ended and of whose end the chat has not told yet."""
        told = set(project.announced)
        return next(
            (r for r in reversed(self.runs(project)) if r.id not in told and jobs.status(r).state in ENDED), None
        )
