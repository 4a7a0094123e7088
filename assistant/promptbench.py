"""Measuring prompt versions of a project, and holding two of them against each other on the same rows.

Owns which rows, which metric and how long an answer may be. The test split is never asked. Refuses to know engines:
whoever derives from this says how a model is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assistant.answers import Asker
from assistant.databench import DataBench
from assistant.judging import Judging, judge
from assistant.measuring import Measurement, measure, rows_key
from assistant.project import Project, StoredPrompt
from assistant.settings import Settings
from prompts.chat_model import ChatModel
from prompts.errors import DataError, EngineError, PromptError
from prompts.metrics import METRICS, Comparison, metric_for
from trainers.data import Example
from trainers.tokens import token_counter

_ROWS_COUNTED = 500


@dataclass(frozen=True)
class ChangedRow:
    """A row that two versions answer differently, each answer with its score in [0, 1]."""

    row: int
    input: str
    expected: str
    first: str
    second: str
    first_score: float
    second_score: float


@dataclass(frozen=True)
class PromptComparison:
    """Two versions on the same rows. `changed` has what the second lost first, then what it won, then the rest."""

    metric: str
    comparison: Comparison
    changed: tuple[ChangedRow, ...]


class PromptBench(DataBench):
    """The data bench, and what is measured of prompts on it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.measurements: dict[str, Measurement] = {}
        self.judgings: dict[str, Judging] = {}

    def model_key(self, project: Project) -> str:
        """All that an answer of the project's base model depends on beside prompt and input."""
        raise NotImplementedError

    def connect_base(self, project: Project, say: Callable[[str], None]) -> ChatModel:
        """The live base model. May block while an engine starts. Raises `EngineError`."""
        raise NotImplementedError

    def asker(self, project: Project) -> Asker:
        """Asks the project's base model, and keeps what it answers."""
        shelf = self.store.answers_of(project.id)
        return Asker(shelf, self.model_key(project), self._limit(project), lambda say: self.connect_base(project, say))

    def _limit(self, project: Project) -> int:
        """How many tokens an answer may take: as the longest expected one, and a few.

        Of these rows alone and whatever the prompt: the profile of all, under each new version, would be waited for.
        """
        splits = self.splits(project)
        outputs = [row.output for row in (*splits.dev, *splits.train[:_ROWS_COUNTED])]
        return max(8, max(token_counter(self.base(project).folder).counts(outputs), default=0) + 4)

    def metric(self, project: Project) -> str:
        """What the project is scored by."""
        return metric_for(project.spec.output_format, project.spec.metric)

    def dev_rows(self, project: Project) -> tuple[Example, ...]:
        """The rows that prompts are measured on. Raises `DataError` where there are none."""
        self.source(project)  # says what to do where there is no data
        if project.prompt is None:
            raise PromptError("There is no prompt yet.", hint="Tell the task first, or write one in the Prompt panel.")
        rows = self.splits(project).dev
        if not rows:
            raise DataError("The data has no dev rows to measure on.", hint="Add rows with answers, ten or more.")
        return rows

    def start_measuring(self, id: str, version_id: str | None = None) -> Measurement:
        """Measure a version, by default the current one, on dev rows in the background. One goes on at a time.

        Raises a `TunewrightError` where data or prompt are missing.
        """
        project = self.project(id)
        rows = self.dev_rows(project)
        assert project.prompt is not None
        running = self.measurements.get(id)
        if running and running.running:
            return running
        version = self.version(id, version_id) if version_id else project.prompt
        job = measure(version, rows, self.metric(project), self.asker(project))
        self.measurements[id] = job

        def keep(done: Measurement) -> None:
            if done.score:
                scored = {"score": done.score, "metric": done.metric, "others": done.others, "rows": rows_key(rows)}
                self.store.set_score(id, StoredPrompt(version=version, **scored))

        job.when_done(keep)
        return job

    def measured(self, project: Project) -> list[StoredPrompt]:
        """The versions whose scores can be held against each other: by today's metric, on today's rows."""
        if project.data is None or not self.splits(project).dev:
            return []
        key, metric = rows_key(self.splits(project).dev), self.metric(project)
        return [s for s in self.store.prompts(project.id) if s.score and (s.metric, s.rows) == (metric, key)]

    def answered(self, project: Project) -> list[tuple[Example, str, float]]:
        """The current version's answers to the dev rows with their scores, the worst first; empty if not measured."""
        if project.data is None or project.prompt is None:
            return []
        rows, metric = self.splits(project).dev, METRICS[self.metric(project)]
        known = self.asker(project).known(project.prompt, [row.input for row in rows]) if rows else None
        scored = [(row, a.text, metric.row(a.text, row.output)) for row, a in zip(rows, known or (), strict=False)]
        return sorted(scored, key=lambda one: one[2])

    def start_judging(self, id: str) -> Judging:
        """Have the configured endpoint grade the current version's answers to the dev rows.

        Raises a `TunewrightError` where no endpoint may be asked, or nothing was measured yet.
        """
        project = self.project(id)
        model, answers = self.judge_model(project), self.answered(project)
        if model is None:
            hint = "Set TUNEWRIGHT_CHAT_URL and TUNEWRIGHT_CHAT_MODEL to a capable model."
            raise EngineError("No language model is there that could judge.", hint=hint)
        if not answers or project.prompt is None:
            raise DataError("There are no answers to judge yet.", hint="Measure the prompt first.")
        running = self.judgings.get(id)
        if running and running.running:
            return running
        pairs = [(row, text) for row, text, _ in answers]
        shelf = self.store.answers_of(id)
        self.judgings[id] = judge(project.spec, project.prompt.id, pairs, model, shelf)
        return self.judgings[id]

    def judge_model(self, project: Project) -> ChatModel | None:
        """The endpoint that may be asked to judge; None where none is configured, or nothing may leave this machine."""
        return None

    def score_of(self, project: Project) -> StoredPrompt | None:
        """The current version's measurement, where it is of today's rows by today's metric."""
        current = project.prompt.id if project.prompt else ""
        return next((s for s in self.measured(project) if s.version.id == current), None)

    def compare_prompts(self, project: Project, first_id: str, second_id: str) -> PromptComparison | None:
        """The second version against the first on all dev rows; None where one of them was not measured on these."""
        rows, asker = self.dev_rows(project), self.asker(project)
        inputs = [row.input for row in rows]
        known = [asker.known(self.version(project.id, id), inputs) for id in (first_id, second_id)]
        if known[0] is None or known[1] is None:
            return None
        metric, expected = METRICS[self.metric(project)], [row.output for row in rows]
        first, second = ([answer.text for answer in answers] for answers in known if answers)
        changed = [
            ChangedRow(row.row, row.input, row.output, a, b, metric.row(a, row.output), metric.row(b, row.output))
            for row, a, b in zip(rows, first, second, strict=True)
            if a.strip() != b.strip()
        ]
        changed.sort(key=_worst_first)
        return PromptComparison(metric.name, metric.compare(first, second, expected), tuple(changed))


def _worst_first(row: ChangedRow) -> tuple[bool, float, int]:
    change = row.second_score - row.first_score
    return (change == 0, change, row.row)
