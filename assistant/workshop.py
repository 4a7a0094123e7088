"""The prompt workshop: a critical reading of the prompt, and the search for a better one, on top of measuring.

Owns what the critique is told of the data and the model, and which candidates a search begins with. Refuses to judge
(that is `prompts.critique`), to search (`improving`) and to know what a person sees of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from assistant.improving import Improving, RowTrials, improve
from assistant.measuring import FEW, Measurement
from assistant.project import Project
from assistant.promptbench import PromptBench
from assistant.settings import Settings
from prompts.allowed import Allowed, allowed_for
from prompts.critique import Draft, Remark, among, applied, remarks_on
from prompts.errors import DataError, PromptError, TunewrightError
from prompts.search.search import Reflect
from prompts.templates import candidates, size_of
from prompts.versions import Demonstration, PromptVersion
from trainers.data import labels_of
from trainers.tokens import token_counter

MINUTES = 5.0  # that a search takes where nobody says otherwise
_MOST_SEARCHED, _MOST_POOL = 128, 400
_FEWEST_TRAIN = 16
_ROWS_READ = 50  # enough to see what answers look like, and how long inputs are


class Workshop(PromptBench):
    """The prompt bench, and what it takes to write better prompts on it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.improvements: dict[str, Improving] = {}

    def labels(self, project: Project) -> tuple[str, ...]:
        """The labels of the data, else those that the person named."""
        said = project.spec.output_format == "label"
        return labels_of(self.examples(project), said=said) if project.data else project.spec.labels

    # Reading

    def draft(self, project: Project, version: PromptVersion) -> Draft:
        """A version with all that it is read against; the test rows are only asked whether they hold an input."""
        if project.data is None:
            return Draft(version, project.spec, self.labels(project))
        splits, counter = self.splits(project), token_counter(self.base(project).folder)
        rows = splits.train[:_ROWS_READ]
        typical = [counter.count(version.messages(row.input)) for row in rows]
        return Draft(
            version,
            project.spec,
            self.labels(project),
            [Demonstration(input=row.input, output=row.output) for row in rows],
            among(row.input for row in splits.test),
            sorted(typical)[len(typical) // 2] if typical else None,
            counter.limit,
            lambda text: found.group() if (found := counter.marks.search(text)) else "",
        )

    def remarks(self, project: Project, version: PromptVersion | None = None) -> list[Remark]:
        """What is to be said of a version, by default of the current one."""
        read = version or project.prompt
        return remarks_on(self.draft(project, read)) if read else []

    def suggest(self, id: str, index: int) -> Project:
        """Propose what a remark on the current version suggests. Raises `PromptError` where it suggests nothing."""
        project = self.project(id)
        remarks = self.remarks(project)
        if project.prompt is None or not 0 <= index < len(remarks) or remarks[index].suggestion is None:
            raise PromptError("This remark suggests nothing any more.", hint="Read the remarks once more.")
        return self.propose(id, applied(project.prompt, remarks[index]))

    def can_hold_to(self, project: Project) -> Allowed | None:
        """What the answers of the task could be held to: its labels or the shape of its JSON; None for free text."""
        shape = project.spec.output_format
        if shape == "label":
            return allowed_for(self.labels(project), ())
        if shape != "json":
            return None
        outputs = [row.output for row in self.splits(project).train] if project.data else []
        return allowed_for((), outputs, project.spec.fields)

    # Improving

    def measure_both(self, id: str) -> None:
        """Measure the current version and then the proposal, so that the two can be compared.

        Raises `PromptError` where nothing is proposed.
        """
        project = self.project(id)
        if project.proposal is None:
            raise PromptError("Nothing is proposed.", hint="Ask for a change of the prompt first.")
        proposal = project.proposal
        self.store.add_prompt(id, proposal)

        def go_on(done: Measurement) -> None:
            if done.score:
                # Of its own thread: this one is not over before all that listen to it have heard of it.
                Thread(target=self._measure_next, args=(id, proposal.id, done), daemon=True).start()

        self.start_measuring(id).when_done(go_on)

    def _measure_next(self, id: str, version: str, before: Measurement) -> None:
        before.wait()
        # The data or the version may have gone meanwhile; then there is no second score.
        with suppress(TunewrightError):
            self.start_measuring(id, version)

    def start_improving(self, id: str, minutes: float | None = None) -> Improving:
        """Search a better prompt in the background; what is proved better is laid before the person as a proposal.

        The search sees training rows; the dev rows are kept for the proof, and the test rows stay sealed. One goes on
        at a time. Raises a `TunewrightError` where there is too little data to tell.
        """
        project = self.project(id)
        confirming, train = self.dev_rows(project), self.splits(project).train
        if len(confirming) < FEW or len(train) < _FEWEST_TRAIN:
            told = f"There are {len(confirming)} dev and {len(train)} training rows, too few to tell prompts apart."
            raise DataError(told, hint=f"Add rows until there are {FEW} dev and {_FEWEST_TRAIN} training rows.")
        running = self.improvements.get(id)
        if running and running.running:
            return running
        assert project.prompt is not None
        searched = min(_MOST_SEARCHED, len(train) // 2)
        job = improve(
            project.prompt,
            self._candidates(project),
            train[searched : searched + _MOST_POOL],
            train[:searched],
            confirming,
            self.asker(project),
            self.metric(project),
            minutes or MINUTES,
            reflect=self.reflecting(project),
        )
        self.improvements[id] = job

        def lay(done: Improving) -> None:
            if done.outcome and done.outcome.better:
                self.propose(id, done.outcome.kept)

        job.when_done(lay)
        return job

    def reflecting(self, project: Project) -> Callable[[RowTrials], Reflect] | None:
        """What reflects on failures, where a capable endpoint is configured; None without."""
        return None

    def _candidates(self, project: Project) -> list[PromptVersion]:
        """Wordings to begin with: the person's held to what is allowed, and the templates of the task."""
        assert project.prompt is not None
        allowed = self.can_hold_to(project)
        found: list[PromptVersion] = []
        if allowed and project.prompt.allowed is None:
            reason = f"answers held to {allowed.told}"
            found.append(project.prompt.revised(allowed=allowed, reason=reason, author="tunewright"))
        size = size_of(self.base(project).parameters)
        templates = candidates(project.spec, self.labels(project), size, project.prompt.allowed or allowed)
        found += templates
        for remark in self.remarks(project):
            if remark.suggestion and remark.severity != "info":
                changes = {"allowed": project.prompt.allowed or allowed, **remark.suggestion.changes}
                reason = remark.suggestion.label.lower()
                found.append(project.prompt.revised(reason=reason, author="tunewright", **changes))
        return found
