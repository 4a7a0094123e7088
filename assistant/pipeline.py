"""The journey, one method a stage: all that the screen, the chat and the command line call.

Owns what needs a model to write or to judge, beside what the benches do. Refuses to word (that is `dialogue`) and to
draw (`ui`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from assistant.comparebench import CompareBench
from assistant.hosts import is_here
from assistant.improving import RowTrials
from assistant.paraphrasing import paraphrases
from assistant.project import Project
from assistant.reflecting import reflector
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.room import EngineRoom
from assistant.serving.served import ServedModel
from assistant.settings import Settings
from assistant.writing import Writing, write_rows
from prompts.chat_model import ChatModel
from prompts.errors import DataError, TunewrightError
from prompts.search.search import Reflect
from prompts.versions import Demonstration, PromptVersion
from prompts.writing import levelled
from trainers.data import labels_of
from trainers.status import RunFolder
from trainers.synthetic import Trial


@dataclass(frozen=True)
class Writer:
    """The model that would write new rows; `host` is where they would be sent to, empty for this machine."""

    name: str
    host: str = ""


class Pipeline(CompareBench):
    """Everything a person can do, for any number of projects. Safe to call from several threads."""

    def __init__(self, settings: Settings, engines: EngineRoom | None = None) -> None:
        super().__init__(settings, engines)
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
        return self._configured() or self.connect_base(project, say)

    # Runs

    def _start(self, id: str, run: RunFolder) -> RunFolder:
        """As for every run; while it trains, a chat model on this machine puts test inputs in other words.

        One elsewhere is not asked: nobody said that test rows may leave.
        """
        started = super()._start(id, run)
        project, chosen = self.project(id), self.settings.chat_model
        if chosen and is_here(chosen.url) and "robustness" in run.how().probes:
            threading.Thread(target=self._paraphrase, args=(project, run), daemon=True).start()
        return started

    def _paraphrase(self, project: Project, run: RunFolder) -> None:
        rows, how = run.split("test"), run.how()
        with suppress(TunewrightError):  # without them, typos and changed case are looked at
            texts = paraphrases(
                self.endpoint(project), rows, labels=project.spec.labels, most=how.probe_rows, seed=run.plan().data.seed
            )
            if texts:
                run.write_paraphrases(texts)

    # Prompt

    def model_key(self, project: Project) -> str:
        return self.engines.key(self.base(project))

    def connect_base(self, project: Project, say: Callable[[str], None]) -> ChatModel:
        base = self.base(project)
        served = ServedModel(name=base.name, base=base, prompt=project.prompt or PromptVersion())
        return self.engines.connect([served], say)[0].model

    def reflecting(self, project: Project) -> Callable[[RowTrials], Reflect] | None:
        endpoint = self.endpoint(project)
        return reflector(endpoint) if endpoint else None

    def judge_model(self, project: Project) -> ChatModel | None:
        return self.endpoint(project)

    def endpoint(self, project: Project) -> OpenAIModel | None:
        endpoint = self._configured()
        if endpoint is None or (project.spec.local_only and not is_here(endpoint.url)):
            return None
        return endpoint

    def _configured(self) -> OpenAIModel | None:
        """The configured chat model, for what takes a capable one."""
        chosen = self.settings.chat_model
        if chosen is None:
            return None
        key = chosen.key.get_secret_value() if chosen.key else "none"
        return OpenAIModel(name=chosen.model, url=chosen.url, api_key=key, is_ours=False)

    def close(self) -> None:
        """Stop what belongs to the app. Training goes on: it is a process of its own."""
        self._profiler.close()
        self.engines.stop()
