"""The journey, one method a stage: all that the screen, the chat and the command line call.

Owns the order of things and the changes to a project. Refuses to word (that is `dialogue`) and to draw (`ui`).
"""

from __future__ import annotations

import hashlib
import shutil
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant.arena import Arm, count_votes
from assistant.measuring import Measurement, measure
from assistant.project import DataSource, Project, Stage, StoredPrompt, Vote
from assistant.recommend import Cost, Option, Situation, advised_plan, estimate_cost, no_data, recommend
from assistant.samples import SAMPLE_FACTS, SAMPLE_NAME, sample_file
from assistant.serving.engine import ServedModel
from assistant.serving.room import EngineRoom
from assistant.settings import Settings
from assistant.store import Store
from prompts.chat_model import Message, Sampling
from prompts.demonstrations import choose
from prompts.errors import DataError, PromptError, RunError, TunewrightError
from prompts.metrics import metric_for
from prompts.spec import TaskSpec, infer_format
from prompts.templates import starting_prompt
from prompts.versions import Demonstration, PromptVersion
from trainers import jobs
from trainers.data import (
    Example,
    Mapping,
    Shares,
    Splits,
    Table,
    guess_mapping,
    labels_of,
    read_examples,
    read_table,
    split,
)
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.plan import TrainingPlan
from trainers.profile import DatasetProfile, profile_data
from trainers.status import ENDED, RunFolder, RunStatus
from trainers.tokens import token_counter

NEW_PROJECT = "New project"


class Pipeline:
    """Everything a person can do, for any number of projects. Safe to call from several threads."""

    def __init__(self, settings: Settings, engines: EngineRoom | None = None) -> None:
        self.settings = settings
        self.store = Store(settings.paths.database)
        self.engines = engines or EngineRoom(settings)
        self.measurements: dict[str, Measurement] = {}
        self._lock = threading.RLock()
        self._bases: dict[str, LocalModel] = {}
        self._profiles: dict[tuple[Any, ...], DatasetProfile] = {}

    # Projects

    def project(self, id: str) -> Project:
        """A project by id. Raises `RunError` where there is none."""
        found = self.store.project(id)
        if found is None:
            raise RunError("This project does not exist any more.", hint="Choose another, or start a new one.")
        return found

    def change(self, id: str, **values: Any) -> Project:
        """Set fields of a project and keep it."""
        with self._lock:
            changed = self.project(id).model_copy(update=values)
            self.store.save(changed)
            return changed

    def go_to(self, id: str, stage: Stage) -> Project:
        """Bring the person to a panel."""
        with self._lock:
            return self.change(id, stage=stage, stage_visits=self.project(id).stage_visits + 1)

    def start_sample(self, id: str) -> Project:
        """Fill a project with the sample task and its data. Raises `DataError` where it has data of its own."""
        project = self.project(id)
        if project.data is not None and project.name != SAMPLE_NAME:
            raise DataError("This project has data of its own.", hint="Choose + New first, then the sample.")
        self.change(id, name=SAMPLE_NAME)
        self.edit_spec(id, SAMPLE_FACTS)
        with sample_file() as path:
            return self.add_file(id, path)

    def _files_of(self, id: str) -> Path:
        return self.settings.paths.files / id

    # Task

    def edit_spec(self, id: str, said: dict[str, Any], inferred: dict[str, Any] | None = None) -> Project:
        """Set facts of the task. A prompt that is still the first one follows them.

        Raises `DataError` for an impossible value and `ModelError` for a base model that cannot be found.
        """
        if said.get("base_model"):
            self._resolved(said["base_model"])
        with self._lock:
            project = self.project(id)
            spec = project.spec.updated("inferred", **(inferred or {})).updated("said", **said)
            name = project.name
            if name == NEW_PROJECT and spec.description:
                name = textwrap.shorten(spec.description, 40, placeholder=" …")
            return self.change(id, spec=spec, prompt=self._following(project, spec), name=name)

    def _following(self, project: Project, spec: TaskSpec) -> PromptVersion | None:
        """The starting prompt for the changed spec, unless the person has a prompt of their own by now."""
        current = project.prompt
        if current is not None and current != starting_prompt(project.spec):
            return current
        if spec.task is None:
            return None
        first = starting_prompt(spec)
        self.store.add_prompt(project.id, first)
        return first

    # Data

    def add_file(self, id: str, path: Path, name: str = "") -> Project:
        """Take a copy of a file as the project's data, and infer. Raises `DataError`; then nothing changes."""
        table = read_table(path)
        columns = guess_mapping(table)
        examples = read_examples(table, columns)
        name = name or path.name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        copy = self._files_of(id) / f"{Path(name).stem}-{digest}{path.suffix}"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        self.change(id, data=DataSource(path=copy, name=name, columns=columns), plan=None)
        return self._learn_from(id, examples)

    def set_columns(self, id: str, columns: Mapping) -> Project:
        """Correct which columns count. Raises `DataError`; then nothing changes."""
        data = self._data(self.project(id))
        if columns.input == columns.output:
            raise DataError(f"{columns.input!r} cannot be both.", hint="Choose one column that goes in, one to answer.")
        examples = read_examples(read_table(data.path), columns)
        self.change(id, data=data.model_copy(update={"columns": columns}), plan=None)
        return self._learn_from(id, examples)

    def _learn_from(self, id: str, examples: list[Example]) -> Project:
        labels = labels_of(examples)
        facts: dict[str, Any] = {"examples": len(examples), "labels": labels}
        task = self.project(id).spec.task or ("classification" if labels else "generation")
        as_json = all(example.output.startswith("{") for example in examples)
        facts |= {"task": task, "output_format": "json" if as_json else "label" if labels else infer_format(task)}
        return self.edit_spec(id, {}, facts)

    def _data(self, project: Project) -> DataSource:
        if project.data is None:
            raise DataError("There is no data yet.", hint="Drop a CSV or JSONL file into the chat or the Data panel.")
        return project.data

    def table(self, project: Project) -> Table:
        return read_table(self._data(project).path)

    def examples(self, project: Project) -> list[Example]:
        return read_examples(self.table(project), self._data(project).columns)

    def splits(self, project: Project) -> Splits:
        """The very splits that a run with the default shares will see."""
        data_plan = project.plan.data if project.plan else None
        shares, seed = (data_plan.shares, data_plan.seed) if data_plan else (Shares(), 0)
        return split(self.examples(project), shares, seed)

    def profile(self, project: Project) -> DatasetProfile:
        """What is in the data, with token lengths under the current prompt."""
        data, prompt = self._data(project), project.prompt or PromptVersion()
        base = self.base(project)
        key = (data, prompt.id, base.folder)
        if key not in self._profiles:
            table = self.table(project)
            counter = token_counter(base.folder)
            self._profiles[key] = profile_data(table, data.columns, read_examples(table, data.columns), prompt, counter)
        return self._profiles[key]

    def rendered_rows(self, project: Project, count: int) -> list[str]:
        """The first training rows, prompt and answer, exactly as the model will see them."""
        prompt, counter = project.prompt or PromptVersion(), token_counter(self.base(project).folder)
        rows = self.splits(project).train[:count]
        chats = [[*prompt.messages(row.input), Message(role="assistant", content=row.output)] for row in rows]
        return [counter.render(chat, for_reply=False) for chat in chats]

    def base(self, project: Project) -> LocalModel:
        """The base model, brought to this machine. Slow the first time. Raises `ModelError`."""
        return self._resolved((project.plan.base_model if project.plan else project.spec.base_model) or EMBEDDED)

    def _resolved(self, ref: str) -> LocalModel:
        if ref not in self._bases:
            self._bases[ref] = resolve(ref, self.settings.paths)
        return self._bases[ref]

    # Prompt

    def save_prompt(
        self,
        id: str,
        *,
        system: str,
        template: str,
        demonstrations: tuple[Demonstration, ...] | None = None,
        reason: str,
    ) -> Project:
        """Make a new version the current one. Raises `PromptError` where the template is not usable."""
        project = self.project(id)
        before = project.prompt or PromptVersion()
        version = before.revised(system=system, template=template, demonstrations=demonstrations, reason=reason)
        if version.id == before.id:
            return project
        self.store.add_prompt(id, version)
        return self.change(id, prompt=version)

    def restore_prompt(self, id: str, version_id: str) -> Project:
        """Make an earlier version the current one. Raises `PromptError`."""
        for stored in self.store.prompts(id):
            if stored.version.id == version_id:
                return self.change(id, prompt=stored.version)
        raise PromptError(f"There is no prompt version {version_id}.")

    def add_demonstrations(self, id: str, count: int = 4) -> Project:
        """A new version with solved examples from the training split, one for each label in turn."""
        project = self.project(id)
        prompt = project.prompt or PromptVersion()
        rows = [Demonstration(input=row.input, output=row.output) for row in self.splits(project).train]
        return self.save_prompt(
            id,
            system=prompt.system,
            template=prompt.template,
            demonstrations=choose(rows, count),
            reason=f"{count} solved examples from the training rows",
        )

    def prompts(self, id: str) -> list[StoredPrompt]:
        return self.store.prompts(id)

    def score_of(self, project: Project) -> StoredPrompt | None:
        """The current prompt's measurement, where there is one."""
        versions = [s for s in self.store.prompts(project.id) if project.prompt and s.version.id == project.prompt.id]
        return versions[0] if versions and versions[0].score else None

    def start_measuring(self, id: str) -> Measurement:
        """Measure the current prompt on dev rows in the background. Raises where data or prompt are missing."""
        project = self.project(id)
        rows = self.splits(project).dev
        if not rows or project.prompt is None:
            raise DataError("There is nothing to measure on yet.", hint="Add data first.")
        running = self.measurements.get(id)
        if running and running.running:
            return running
        metric = metric_for(project.spec.output_format)
        limit = max(8, self.profile(project).answer_tokens + 4)
        self.measurements[id] = measure(
            project.prompt, rows, metric, Sampling(max_tokens=limit), connect=lambda say: self._base_model(project, say)
        )
        prompt = project.prompt

        def keep(done: Measurement) -> None:
            if done.score:
                self.store.set_score(id, prompt, metric, done.score)

        self.measurements[id].when_done(keep)
        return self.measurements[id]

    def _base_model(self, project: Project, say: Callable[[str], None]) -> Any:
        base = self.base(project)
        served = ServedModel(name=base.name, prompt=project.prompt or PromptVersion())
        return self.engines.connect(base, [served], say)[0]

    # Strategy

    def situation(self, project: Project) -> Situation:
        """All that the advice rests on."""
        ready = project.data is not None and project.prompt is not None
        stored = self.score_of(project)
        return Situation(
            project=project,
            machine=detect(),
            compute=choose_compute(self.settings.paths.cache),
            base=self.base(project),
            profile=self.profile(project) if ready else None,
            splits=self.splits(project) if ready else None,
            score=stored.score if stored else None,
        )

    def recommend(self, project: Project) -> list[Option]:
        """The options, the advised one first. Without data the base model need not be there yet."""
        if project.data is None or project.prompt is None:
            return [no_data()]
        return recommend(self.situation(project))

    def plan(self, project: Project) -> TrainingPlan:
        """The plan that Start will follow: the person's own, else the advised one. Raises `DataError` without data."""
        data = self._data(project)
        if project.plan is None:
            return advised_plan(self.situation(project))
        where = project.plan.data.model_copy(update={"path": data.path, "columns": data.columns})
        return project.plan.model_copy(update={"data": where, "prompt": project.prompt or project.plan.prompt})

    def set_plan(self, id: str, plan: TrainingPlan | None) -> Project:
        """Take the person's own plan; None goes back to the advised one."""
        return self.change(id, plan=plan)

    def cost_of(self, project: Project, plan: TrainingPlan) -> Cost:
        """What following a plan will take."""
        return estimate_cost(self.situation(project), plan)

    # Train

    def start_training(self, id: str) -> RunFolder:
        """Start the project's plan as a run of its own. The engine steps aside. Raises a `TunewrightError`."""
        with self._lock:
            project = self.project(id)
            status = self.run_status(project)
            if status and status.state not in ENDED:
                raise RunError("A training of this project is running already.", hint="Cancel it first, or wait.")
            run = jobs.create_run(self.plan(project), self.settings.paths)
            for measurement in list(self.measurements.values()):
                measurement.stop()  # rather than let it fail when the engine goes
            self.engines.stop()
            jobs.start(run)
            earlier = (*project.earlier_runs, project.run_id) if project.run_id else ()
            self.change(id, run_id=run.id, earlier_runs=earlier)
            self.go_to(id, "Train")
            return run

    def run(self, project: Project) -> RunFolder | None:
        """The project's latest run, where it is still there."""
        return self._found(project.run_id)

    def tuned_run(self, project: Project) -> RunFolder | None:
        """The latest run that left an adapter: a failed or cancelled one does not hide what was there before."""
        runs = map(self._found, (project.run_id, *reversed(project.earlier_runs)))
        return next((run for run in runs if run and (run.adapter / "adapter_config.json").is_file()), None)

    def _found(self, run_id: str | None) -> RunFolder | None:
        try:
            return jobs.find_run(run_id, self.settings.paths) if run_id else None
        except TunewrightError:
            return None

    def run_status(self, project: Project) -> RunStatus | None:
        run = self.run(project)
        return jobs.status(run) if run else None

    def cancel_training(self, id: str) -> None:
        if run := self.run(self.project(id)):
            jobs.cancel(run)

    # Compare

    def contenders(self, project: Project) -> list[tuple[str, ServedModel]]:
        """Base and, once there is an adapter, tuned: each under its name, both with the run's own prompt version."""
        run = self.tuned_run(project)
        prompt = run.plan().prompt if run else project.prompt or PromptVersion()
        arms = [("Base", ServedModel(name=self._compared_base(project).name, prompt=prompt))]
        if run:
            arms.append(("Tuned", ServedModel(name=run.id, adapter=run.adapter, prompt=prompt)))
        return arms

    def _compared_base(self, project: Project) -> LocalModel:
        run = self.tuned_run(project)
        return self._resolved(run.plan().base_model) if run else self.base(project)

    def arms(self, project: Project, say: Callable[[str], None] = lambda text: None) -> list[Arm]:
        """Live contenders. Blocks while the engine starts. Raises `EngineError`."""
        contenders = self.contenders(project)
        models = self.engines.connect(self._compared_base(project), [served for _, served in contenders], say)
        return [Arm(title, model, served.prompt) for (title, served), model in zip(contenders, models, strict=True)]

    def arena_inputs(self, project: Project) -> list[str]:
        """Inputs to try side by side, from rows that neither training nor report has seen."""
        run = self.tuned_run(project)
        rows = run.split("arena") if run else self.splits(project).arena if project.data else ()
        return [row.input for row in rows]

    def vote(self, id: str, vote: Vote) -> None:
        self.store.add_vote(id, vote)

    def tally(self, project: Project) -> list[tuple[str, str]]:
        """Votes for base and tuned of the run that is compared now, as name and count; empty where nobody voted."""
        run = self.tuned_run(project)
        return count_votes(self.store.votes(project.id), run.id) if run else []

    def close(self) -> None:
        """Stop what belongs to the app. Training goes on: it is a process of its own."""
        self.engines.stop()
