"""The journey, one method a stage: all that the screen, the chat and the command line call.

Owns what needs the engine: measuring, writing, comparing. A project's own changes are the benches'. Refuses to word
(that is `dialogue`) and to draw (`ui`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from assistant.arena import Arm, count_votes
from assistant.hosts import is_here
from assistant.improving import RowTrials
from assistant.project import Project, Vote
from assistant.reflecting import reflector
from assistant.runbench import RunBench
from assistant.serving.engine import ServedModel
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.room import EngineRoom
from assistant.settings import Settings
from assistant.writing import Writing, write_rows
from prompts.chat_model import ChatModel
from prompts.errors import DataError
from prompts.search.search import Reflect
from prompts.versions import Demonstration, PromptVersion
from prompts.writing import levelled
from trainers.data import labels_of
from trainers.models import LocalModel
from trainers.status import RunFolder
from trainers.synthetic import Trial


@dataclass(frozen=True)
class Writer:
    """The model that would write new rows; `host` is where they would be sent to, empty for this machine."""

    name: str
    host: str = ""


class Pipeline(RunBench):
    """Everything a person can do, for any number of projects. Safe to call from several threads."""

    def __init__(self, settings: Settings, engines: EngineRoom | None = None) -> None:
        super().__init__(settings)
        self.engines = engines or EngineRoom(settings)
        self.writings: dict[str, Writing] = {}
        self._trials: dict[str, Trial] = {}  # by the writer's name: what a model could do once it can do again

    # Data

    def writer(self, project: Project) -> Writer:
        """Who would write new rows: the configured chat model, else the base model on this machine.

        Raises `DataError` where the configured model is elsewhere and the person said that nothing may leave.
        """
        chosen = self.settings.chat_model
        if chosen is None:
            return Writer(self.base(project).name)
        host = "" if is_here(chosen.url) else str(urlsplit(chosen.url).hostname)
        if host and project.spec.local_only:
            told = f"You said that nothing may leave this machine, and {chosen.model} is at {host}."
            raise DataError(told, hint="Write rows yourself, or change that in the Task panel.")
        return Writer(chosen.model, host)

    def start_writing(self, id: str, count: int, *, insist: bool = False) -> Writing:
        """Have about `count` new training rows written in the background; what is kept waits for the person's look.

        Where labels are known, the rarest get the most. Raises a `TunewrightError` where there is nothing to imitate.
        """
        project = self.project(id)
        running = self.writings.get(id)
        if running and running.running:
            return running
        writer, train = self.writer(project), self.splits(project).train
        labels = labels_of(self.examples(project))
        counts = Counter(row.output for row in train)
        wanted = levelled({label: counts[label] for label in labels if counts[label]}, count) if labels else {"": count}
        job = write_rows(
            project.spec,
            train,
            [row.input for row in (*self.examples(project), *self.dataset(project).unanswered, *self.pending(project))],
            wanted,
            lambda say: self._writing_model(project, say),
            seed=len(self.source(project).edits),  # another batch of rows is another draw
            trial=self._trials.get(writer.name),
            insist=insist,
        )
        self.writings[id] = job

        def keep(done: Writing) -> None:
            if done.trial:
                self._trials[writer.name] = done.trial
            self.keep_pending(id, [Demonstration(input=row.input, output=row.output) for row in done.kept])

        job.when_done(keep)
        return job

    def _writing_model(self, project: Project, say: Callable[[str], None]) -> ChatModel:
        return self._endpoint() or self.connect_base(project, say)

    # Prompt

    def model_key(self, project: Project) -> str:
        return self.engines.key(self.base(project))

    def connect_base(self, project: Project, say: Callable[[str], None]) -> ChatModel:
        base = self.base(project)
        served = ServedModel(name=base.name, prompt=project.prompt or PromptVersion())
        return self.engines.connect(base, [served], say)[0]

    def reflecting(self, project: Project) -> Callable[[RowTrials], Reflect] | None:
        endpoint = self.judge_model(project)
        return reflector(endpoint) if endpoint else None

    def judge_model(self, project: Project) -> ChatModel | None:
        endpoint = self._endpoint()
        if endpoint is None or (project.spec.local_only and not is_here(endpoint.url)):
            return None
        return endpoint

    def _endpoint(self) -> OpenAIModel | None:
        """The configured chat model, for what takes a capable one."""
        chosen = self.settings.chat_model
        if chosen is None:
            return None
        key = chosen.key.get_secret_value() if chosen.key else "none"
        return OpenAIModel(name=chosen.model, url=chosen.url, api_key=key, is_ours=False)

    # Train

    def step_aside(self) -> None:
        super().step_aside()
        self.engines.stop()  # the training needs the memory

    # Compare

    def contenders(self, project: Project) -> list[tuple[str, ServedModel]]:
        """Base and, once there is an adapter, tuned: each under its name, both with the run's own prompt version."""
        run = self.tuned_run(project)
        prompt = run.plan().prompt if run else project.prompt or PromptVersion()
        arms = [("Base", ServedModel(name=self._compared_base(project).name, prompt=prompt))]
        if run:
            arms.append(("Tuned", self._served(run)))
        return arms

    def _served(self, run: RunFolder) -> ServedModel:
        """What a run made: an adapter or a model under the run's name, or the base with the run's own prompt."""
        name = run.id if run.artefact else self._resolved(run.plan().base_model).name
        return ServedModel(name=name, adapter=run.artefact, prompt=run.result_prompt())

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
        self._profiler.close()
        self.engines.stop()
