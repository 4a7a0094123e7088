"""Side by side: who can be compared, which of them are, and what it takes to have them answer.

Owns the contenders of a project, the engines that hold them, files and blind rounds that go through them. Refuses to
start engines by itself (that is `serving`) and to judge (`arena`).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.arena.asking import Arm
from assistant.arena.batch import Batch, run_batch
from assistant.arena.blind import Prepared, Round, as_vote, judged_in, prepare
from assistant.arena.statistics import Strength, Tally, strengths, tally
from assistant.arena.voters import Agreement, Share, agreement, side_bias
from assistant.project import Project
from assistant.serving.gateway import usage
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.placing import Seat
from assistant.serving.room import EngineRoom
from assistant.serving.served import Identity, ServedModel
from assistant.settings import Settings
from assistant.votebench import VoteBench
from assistant.votes import ME, Verdict, Vote
from prompts.chat_model import ChatModel, Sampling
from prompts.demonstrations import choose
from prompts.errors import DataError, RunError
from prompts.versions import Demonstration, PromptVersion
from trainers import jobs
from trainers.data import Example, guess_mapping, read_rows
from trainers.models import LocalModel
from trainers.reading import read_table
from trainers.status import ENDED, RunFolder

MOST_ARMS = 4
_LOOK_SECONDS = 5.0
_SHOWN = 4  # solved examples of the few-shot contender
BASE, PROMPT, FEW_SHOT, REMOTE = "base", "prompt", "few-shot", "remote"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """What the votes of a project say: each two arms that met, all of them, and each who voted."""

    tallies: tuple[Tally, ...]
    strengths: tuple[Strength, ...]
    leanings: tuple[tuple[str, Share], ...]
    agreement: Agreement | None


@dataclass(frozen=True)
class Contender:
    """Somebody who can be compared: `key` names it within its project. Without `served` it is a model elsewhere."""

    key: str
    title: str
    prompt: PromptVersion
    served: ServedModel | None = None


class CompareBench(VoteBench):
    """Votes and rounds, and the live models that they are about."""

    def __init__(self, settings: Settings, engines: EngineRoom | None = None) -> None:
        super().__init__(settings)
        self.engines = engines or EngineRoom(settings)
        self.files: dict[str, Batch] = {}
        self.preparing: dict[str, Batch] = {}
        self._identities: dict[str, Identity] = {}

    def endpoint(self, project: Project) -> OpenAIModel | None:
        """The configured chat model, where one is set and may be asked."""
        raise NotImplementedError

    # Who

    def contenders(self, project: Project) -> list[Contender]:
        """All that can be compared: the base, with other prompts, every run that left a result, a model elsewhere."""
        run = self.tuned_run(project)
        base, asked = self._compared_base(project), project.prompt or PromptVersion()
        prompt = run.plan().prompt if run else asked
        found = [self._of_base(BASE, "Base", base, prompt)]
        if asked.id != prompt.id:
            found.append(self._of_base(PROMPT, "Base, today's prompt", base, asked))
        if shown := self._with_examples(project, prompt):
            found.append(self._of_base(FEW_SHOT, "Base, few-shot", base, shown))
        runs = [one for one in self.runs(project) if one.has_result]
        for one in runs:
            title = "Tuned" if len(runs) == 1 else f"Tuned: {one.name}"
            found.append(Contender(one.id, title, one.result_prompt(), self._served(one)))
        if elsewhere := self.endpoint(project):
            found.append(Contender(REMOTE, elsewhere.name, prompt))
        return found

    @staticmethod
    def _of_base(key: str, title: str, base: LocalModel, prompt: PromptVersion) -> Contender:
        return Contender(key, title, prompt, ServedModel(name=base.name, base=base, prompt=prompt))

    def _with_examples(self, project: Project, prompt: PromptVersion) -> PromptVersion | None:
        """The prompt with solved examples from the training rows; None where it has some, or there are no rows."""
        if project.data is None or prompt.demonstrations:
            return None
        rows = [Demonstration(input=row.input, output=row.output) for row in self.splits(project).train]
        return prompt.revised(demonstrations=choose(rows, _SHOWN), reason="few-shot") if rows else None

    def _served(self, run: RunFolder) -> ServedModel:
        """What a run made: an adapter or a model under the run's id, or the base with the run's own prompt."""
        base = self._resolved(run.plan().base_model)
        name = run.id if run.artefact else base.name
        return ServedModel(name=name, base=base, artefact=run.artefact, prompt=run.result_prompt())

    def _compared_base(self, project: Project) -> LocalModel:
        run = self.tuned_run(project)
        return self._resolved(run.plan().base_model) if run else self.base(project)

    def chosen(self, project: Project) -> list[Contender]:
        """Who is compared now: the person's choice as far as it is still there, else the shown run and its parent, or
        the base where it has none."""
        found = {contender.key: contender for contender in self.contenders(project)}
        picked = [found[key] for key in project.arms if key in found]
        if len(picked) >= 2:
            return picked
        run = self.tuned_run(project)
        if run is None:
            return list(found.values())[:1]
        parent = run.plan().parent
        first = parent.name if parent and parent.name in found else BASE
        return [found[first], found[run.id]]

    def choose_arms(self, id: str, keys: Sequence[str]) -> Project:
        """Compare these. Raises `RunError` for fewer than two, more than four, or one that is not there."""
        there = {contender.key for contender in self.contenders(self.project(id))}
        if gone := [key for key in keys if key not in there]:
            raise RunError(f"{gone[0]} is not there any more.", hint="Choose among those that are listed.")
        if not 2 <= len(set(keys)) <= MOST_ARMS:
            raise RunError(f"{len(set(keys))} cannot be compared.", hint=f"Choose two to {MOST_ARMS}.")
        return self.change(id, arms=tuple(dict.fromkeys(keys)))

    # Live

    def serving_plan(self, project: Project) -> tuple[Seat, ...]:
        """The engines that the comparison would take. Raises `EngineError` where memory is not enough."""
        return self.engines.plan([one.served for one in self.chosen(project) if one.served])

    def arms(
        self, project: Project, say: Say = lambda text: None, contenders: Sequence[Contender] | None = None
    ) -> list[Arm]:
        """Live contenders, by default those that are compared. Blocks while an engine starts. Raises `EngineError`."""
        chosen = self.chosen(project) if contenders is None else contenders
        local = [one.served for one in chosen if one.served]
        live = iter(self.engines.connect(local, say) if local else ())
        arms = []
        for one in chosen:
            if one.served is None:
                arms.append(Arm(one.title, self._elsewhere(project), one.prompt))
                continue
            connected = next(live)
            identity = self._identities[one.key] = connected.identity
            arms.append(Arm(one.title, connected.model, one.prompt, identity.parent, identity.digest))
        return arms

    def identity(self, contender: Contender) -> Identity | None:
        """Who answers for a contender, as it was found when it was loaded last; None where it was not yet."""
        return self._identities.get(contender.key)

    def _elsewhere(self, project: Project) -> ChatModel:
        model = self.endpoint(project)
        if model is None:
            raise RunError("No model elsewhere is set.", hint="Set TUNEWRIGHT_CHAT_URL and TUNEWRIGHT_CHAT_MODEL.")
        return model

    def usage(self, project: Project, url: str) -> list[tuple[str, str, str]]:
        """For each contender that is served here: its title, and a line for curl and for Python to ask it at `url`."""
        example = next(iter(self.arena_inputs(project)), "")
        return [(one.title, *usage(url, one.served, example)) for one in self.chosen(project) if one.served is not None]

    # Files and blind rounds

    def arena_inputs(self, project: Project) -> list[str]:
        """Inputs to try side by side, from rows that neither training nor report of the shown run has seen."""
        return [row.input for row in self.arena_rows(project, self.tuned_run(project))]

    def start_file(self, id: str, path: Path | None = None) -> Batch:
        """Take a file through all that are compared, in the background; the arena rows where none is given.

        Columns are as in the project's data where the file has them, else guessed. Raises a `TunewrightError`.
        """
        project = self.project(id)
        rows = self._rows_of(project, path) if path else self.arena_rows(project, self.tuned_run(project))
        metric = self.metric(project) if any(row.output for row in rows) else None
        job = self.files[id] = self._batch(project, rows, metric)
        return job

    def _rows_of(self, project: Project, path: Path) -> Sequence[Example]:
        table = read_table(path)
        known = project.data.columns if project.data else None
        fits = known and {known.input, known.output} - {""} <= set(table.columns)
        return list(read_rows(table, known if known and fits else guess_mapping(table)))

    def start_rounds(self, id: str, most: int | None = None) -> Batch:
        """Have all that are compared answer inputs that no vote has seen, so that blind rounds can be drawn.

        `most` is how many of them, by default all. What was answered before is not asked again. Raises `DataError`
        where no such input is left.
        """
        project = self.project(id)
        inputs = self.unseen_inputs(project, self.tuned_run(project))
        if not inputs:
            raise DataError(
                "Every row that is kept for the arena has been judged.", hint="Write messages of your own below."
            )
        rows = [Example(row=number, input=text, output="") for number, text in enumerate(inputs[:most], start=1)]
        job = self.preparing[id] = self._batch(project, rows, None)
        return job

    def _batch(self, project: Project, rows: Sequence[Example], metric: str | None) -> Batch:
        chosen = self.chosen(project)
        sampling = Sampling(max_tokens=self._limit(project) if project.data else Sampling().max_tokens)
        shelf = self.store.answers_of(project.id)
        return run_batch(len(chosen), lambda say: self.arms(project, say, chosen), rows, metric, sampling, shelf)

    def rounds(self, project: Project) -> Prepared:
        """The rounds that can be judged now, of those that `start_rounds` has answers for."""
        job = self.preparing.get(project.id)
        table = job.table if job else None
        return prepare(table, judged_in(self.votes(project))) if table else Prepared(())

    def judge(
        self,
        id: str,
        judged: Round,
        verdict: Verdict,
        *,
        voter: str = ME,
        reason: str = "",
        edited: str = "",
        blind: bool = True,
    ) -> Vote:
        """Keep a verdict. Raises `RunError` where this voter has judged the round already."""
        vote = as_vote(judged, verdict, voter, reason, edited, engine=judged.engine or self.engines.title())
        return self.vote(id, vote.model_copy(update={"blind": blind}))

    def findings(self, project: Project) -> Findings:
        """What the blind votes say; those on an answer that gave its model away are left out."""
        votes = self._counted(project)
        voters = dict.fromkeys(vote.voter for vote in votes)
        return Findings(
            tallies=self.tallies(project),
            strengths=tuple(strengths(votes)),
            leanings=tuple((voter, side_bias([v for v in votes if v.voter == voter])) for voter in voters),
            agreement=agreement(votes),
        )

    def tallies(self, project: Project) -> tuple[Tally, ...]:
        """The verdict on each two that met. Cheap: it is asked after every vote."""
        votes = self._counted(project)
        # A base stands first, as what the others are held against.
        answers = sorted((answer for vote in votes for answer in vote.answers), key=lambda answer: bool(answer.digest))
        arms = list(dict.fromkeys(answer.arm for answer in answers))
        met = {frozenset(answer.arm for answer in vote.answers) for vote in votes}
        pairs = (pair for pair in itertools.combinations(arms, 2) if frozenset(pair) in met)
        return tuple(tally(votes, *pair) for pair in pairs)

    def _counted(self, project: Project) -> list[Vote]:
        return [vote for vote in self.votes(project) if vote.blind and not vote.flagged]

    # Beside a training

    def step_aside(self) -> None:
        super().step_aside()
        if self.engines.rest():  # the training needs the memory
            threading.Thread(target=self._take_back, daemon=True).start()

    def _take_back(self) -> None:
        """Serve again what was served before, once nothing trains any more on this machine."""
        time.sleep(_LOOK_SECONDS)  # the training begins after this
        while self.any_trials_go_on() or any(
            jobs.status(run).state not in ENDED for run in jobs.list_runs(self.settings.paths)
        ):
            time.sleep(_LOOK_SECONDS)
        self.engines.resume()
