"""A project's votes and what is trained on them: the pairs that they prove, and the next round of preference tuning.

Owns these, between the runs and the pipeline. The round's report is on the very rows that the improved run's report is
on, so that it shows what the round cost. Refuses to ask models (the pipeline's) and to know what a pair is (`arena`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.arena.pairs import Pair, as_trl, preference_pairs
from assistant.project import Project
from assistant.trialbench import TrialBench
from assistant.votes import ME, Vote
from prompts.chat_model import Message
from prompts.errors import DataError
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.adapters import read_config
from trainers.checking import check_plan
from trainers.data import Example, Mapping, normal
from trainers.dataset import load_dataset
from trainers.defaults import Situation as Known
from trainers.defaults import usual
from trainers.hardware import choose_compute, detect
from trainers.models import LocalModel
from trainers.objectives import DpoObjective
from trainers.paths import write_atomically
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan
from trainers.splits import Shares, Splits
from trainers.status import RunFolder
from trainers.strategies import AnyStrategy, LoraStrategy
from trainers.tokens import token_counter

FEWEST_PAIRS, ENOUGH_PAIRS = 8, 30  # below the first nothing is trained, below the second that is told; chosen by us
_COLUMNS = Mapping(input="input", output="chosen", shape="preference")
_SHARES = Shares(train=0.9, dev=0.1, test=0.0, arena=0.0)
_ALL_TRAIN = Shares(train=1.0, dev=0.0, test=0.0, arena=0.0)
_STEP = 64  # tokens that the longest row is rounded up to


@dataclass(frozen=True)
class Round:
    """A round of preference tuning that can be started. `held_out` has the rows of its report and of later trials.

    `comments` say where the plan's figures come from, by dotted key; `warnings` what speaks for waiting.
    """

    plan: TrainingPlan
    held_out: Splits
    pairs: int
    comments: dict[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The plan as a file."""
        return self.plan.to_yaml(self.comments)


class VoteBench(TrialBench):
    """Votes of any number of projects, and what is made of them."""

    # Votes

    def vote(self, id: str, vote: Vote) -> Vote:
        """Keep a vote. Raises `RunError` where its voter has judged this round already."""
        return self.store.add_vote(self.project(id).id, vote)

    def undo_vote(self, id: str, voter: str = ME) -> Vote | None:
        """Take the voter's last vote back; None where there is none."""
        return self.store.undo_vote(self.project(id).id, voter)

    def votes(self, project: Project) -> list[Vote]:
        """All votes of a project, the oldest first."""
        return self.store.votes(project.id)

    def pairs(self, project: Project) -> list[Pair]:
        """What the votes prove of answers, in the order of the votes."""
        return preference_pairs(self.votes(project), self._known_prompts(project))

    def voted_inputs(self, project: Project) -> set[str]:
        """Every message that somebody judged answers to, as `normal` has it."""
        return {normal(vote.message) for vote in self.votes(project)}

    def arena_rows(self, project: Project, run: RunFolder | None) -> tuple[Example, ...]:
        """Rows that neither training nor report of a run has seen; without a run those of the project's data."""
        return run.split("arena") if run else self.splits(project).arena if project.data else ()

    def unseen_inputs(self, project: Project, run: RunFolder | None) -> list[str]:
        """The inputs kept for the arena that no vote has seen yet, without a run those of the project's data.

        In a random order that stays the same while votes come in.
        """
        inputs = list({normal(row.input): row.input for row in self.arena_rows(project, run)}.values())
        random.Random(f"{project.id}/{run.id if run else ''}").shuffle(inputs)
        seen = self.voted_inputs(project)
        return [text for text in inputs if normal(text) not in seen]

    def exported_pairs(self, project: Project) -> list[dict[str, Any]]:
        """The pairs as TRL takes them. Raises `DataError` where there are none."""
        pairs = self.pairs(project)
        if not pairs:
            raise _too_few(0, self.votes(project))
        return as_trl(pairs, self._asked_with(project, self.tuned_run(project)))

    def _known_prompts(self, project: Project) -> dict[str, PromptVersion]:
        """Every version that an answer may have been asked with, by its id."""
        versions = [PromptVersion(), *(stored.version for stored in self.store.prompts(project.id))]
        versions += [run.result_prompt() for run in self.runs(project) if run.has_result]
        return {version.id: version for version in (*versions, *([project.prompt] if project.prompt else []))}

    # Rounds

    def next_round(self, id: str, arm_run: str | None = None) -> TrainingPlan:
        """The plan of a DPO run on the project's pairs, which begins from a run; by default from the one that is shown.

        Where there is none that can be trained on, it begins from the base. Nothing is started, and the project's own
        plan stays. Raises `DataError` for too few pairs and for a parent whose result is gone, and what `check` raises.
        """
        return self.prepare_round(id, arm_run).plan

    def prepare_round(self, id: str, arm_run: str | None = None) -> Round:
        """The same, with all that is to be said of it."""
        project = self.project(id)
        improved = self._improved(project, arm_run)
        votes, pairs = self.votes(project), self.pairs(project)
        usable = [pair for pair in pairs if not pair.follows]
        if len(usable) < FEWEST_PAIRS:
            raise _too_few(len(usable), votes)
        parent = improved if improved and _can_go_on(improved) else None
        base = self._resolved(improved.plan().base_model if improved else self.base_ref(project))
        plan, comments = self._planned(project, usable, improved, parent, base)
        held_out, compute = self._held_out(project, improved), choose_compute(self.settings.paths.cache)
        plan, splits = _divided(plan, held_out)
        warnings = [*_doubts(pairs, usable, improved, parent), *check_plan(plan, base, compute, splits)]
        comments["data.path"] = f"{len(usable)} pairs from {len(votes)} votes"
        if held_out.test:
            whose = improved.id if improved else "the project's data"
            comments["data.shares"] = f"`votes round --start` makes the report on the test rows of {whose}"
        return Round(plan, held_out, len(usable), comments, tuple(warnings))

    def start_next_round(self, id: str, arm_run: str | None = None) -> RunFolder:
        """Start the next round as a run of its own. Raises what `next_round` raises, and `RunError`."""
        with self._lock:
            ready = self.prepare_round(id, arm_run)
            run = jobs.create_run(ready.plan, self.settings.paths, held_out=ready.held_out)
            jobs.rename(run, f"votes: {ready.pairs} pairs")
            run.write_status(run.written_status().model_copy(update={"notes": ready.warnings}))
            return self._start(id, run)

    def _improved(self, project: Project, arm_run: str | None) -> RunFolder | None:
        """The run whose model is to become better; None for the base. Raises `DataError` and `RunError`."""
        done = (run for run in self.runs(project) if jobs.status(run).state == "done")
        run = self.run_of(project.id, arm_run) if arm_run else self.tuned_run(project) or next(done, None)
        if run and not run.has_result:
            told = f"Run {run.name} cannot be improved: there is no result in {run.path}."
            raise DataError(told, hint="Wait for its end, bring its files back, or choose another run.")
        if run and arm_run and not _can_go_on(run):
            told = f"Run {run.name} is {run.plan().strategy.title}, which no training can begin from."
            raise DataError(told, hint="Name a LoRA or a fully tuned run.")
        return run

    def _asked_with(self, project: Project, improved: RunFolder | None) -> PromptVersion:
        """The prompt of what is improved."""
        return improved.result_prompt() if improved else project.prompt or PromptVersion()

    def _held_out(self, project: Project, improved: RunFolder | None) -> Splits:
        """The test and arena rows of what is improved."""
        if improved:
            return Splits(train=(), test=improved.split("test"), arena=improved.split("arena"))
        return self.splits(project) if project.data else Splits(train=())

    def _planned(
        self,
        project: Project,
        pairs: Sequence[Pair],
        improved: RunFolder | None,
        parent: RunFolder | None,
        base: LocalModel,
    ) -> tuple[TrainingPlan, dict[str, str]]:
        """The plan with the usual figures, and where they come from."""
        prompt, objective = self._asked_with(project, improved), DpoObjective()
        device, machine = choose_compute(self.settings.paths.cache).device, detect()
        known = Known(
            base=base.shape,
            rows=len(pairs),
            max_tokens=_longest(pairs, prompt, base),
            device=device,
            memory_gb=machine.gpus[0].memory_gb if machine.gpus and device == "cuda" else machine.memory_gb,
        )
        figures = usual(_strategy(parent), known, objective)
        plan = TrainingPlan(
            name=f"{project.name} (votes)",
            base_model=base.ref,
            trust_remote_code=improved.plan().trust_remote_code if improved else False,
            parent=parent.path if parent else None,
            data=DataPlan(path=self._keep_pairs(project.id, pairs), columns=_COLUMNS, shares=_SHARES),
            prompt=prompt,
            strategy=figures.strategy,
            objective=objective,
            training=figures.training,
            evaluation=improved.plan().evaluation if improved else self._evaluation(project),
        )
        own = {"strategy.r": "the parent's"} if parent else {}
        return plan, {**figures.comments, **own, **({"parent": parent.name} if parent else {})}

    def _evaluation(self, project: Project) -> EvaluationPlan:
        """How the base is compared with what it becomes."""
        limit = {"max_new_tokens": self._limit(project)} if project.data else {}
        return EvaluationPlan(metric=self.metric(project), **limit)

    def _keep_pairs(self, id: str, pairs: Sequence[Pair]) -> Path:
        """The pairs as a file of the project that is never changed, named by its content."""
        rows = ({"input": pair.input, "chosen": pair.chosen, "rejected": pair.rejected} for pair in pairs)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path = self._files_of(id) / "votes" / f"pairs-{hashlib.sha256(text.encode()).hexdigest()[:8]}.jsonl"
        if not path.exists():
            write_atomically(path, text)
        return path


def _can_go_on(run: RunFolder) -> bool:
    """Whether another training may begin from what a run made; PEFT trains no saved soft prompt on."""
    strategy = run.plan().strategy
    return run.artefact is not None and strategy.trains and strategy.by_trl and not strategy.virtual


def _strategy(parent: RunFolder | None) -> AnyStrategy:
    """The parent's, with the figures that its adapter has by now: some first values double the rank at the end."""
    if parent is None:
        return LoraStrategy()
    strategy = parent.plan().strategy
    if not isinstance(strategy, LoraStrategy):
        return strategy
    config = read_config(parent.adapter)
    kept = {"r": config["r"], "alpha": config["lora_alpha"], "use_rslora": bool(config.get("use_rslora"))}
    return strategy.model_copy(update={**kept, "init": "default"})


def _longest(pairs: Sequence[Pair], prompt: PromptVersion, base: LocalModel) -> int:
    """The tokens of the longest row, rounded up, within what the model can read."""
    counter = token_counter(base.folder)
    chats = (
        [*prompt.messages(pair.input), Message(role="assistant", content=answer)]
        for pair in pairs
        for answer in (pair.chosen, pair.rejected)
    )
    longest = max(counter.counts([counter.render(chat, for_reply=False) for chat in chats]))
    rounded = max(_STEP, -(-longest // _STEP) * _STEP)
    return min(rounded, counter.limit or rounded)


def _divided(plan: TrainingPlan, held_out: Splits) -> tuple[TrainingPlan, Splits]:
    """The plan with its pairs divided; without dev pairs where these are too few or too alike to be parted."""
    data = load_dataset(plan.data.path, plan.data.columns)
    splits = jobs.splits_for(plan, data, held_out)
    if splits.dev:
        return plan, splits
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"shares": _ALL_TRAIN})})
    return plan, jobs.splits_for(plan, data, held_out)


def _doubts(
    pairs: Sequence[Pair], usable: Sequence[Pair], improved: RunFolder | None, parent: RunFolder | None
) -> list[str]:
    """What speaks for waiting, or against what a person may expect."""
    told = []
    if len(usable) < ENOUGH_PAIRS:
        told.append(f"{len(usable)} pairs are few: a round is worth more with {ENOUGH_PAIRS}.")
    if left := len(pairs) - len(usable):
        what = "1 pair is" if left == 1 else f"{left} pairs are"
        told.append(f"{what} left out: the message went on with a chat, which a row of the data cannot hold.")
    if improved and parent is None:
        title = improved.plan().strategy.title
        told.append(f"Run {improved.name} is {title}, which no training can begin from: this one begins from the base.")
    return told


def _too_few(pairs: int, votes: Sequence[Vote]) -> DataError:
    """The error for too little to learn from; the caller raises it."""
    if not votes:
        return DataError(
            "Nobody has voted yet.", hint=f"Judge answers side by side; a round of training needs {FEWEST_PAIRS} pairs."
        )
    number, missing = "1 pair" if pairs == 1 else f"{pairs} pairs", FEWEST_PAIRS - pairs
    of = "1 vote" if len(votes) == 1 else f"{len(votes)} votes"
    return DataError(
        f"{of} made {number} that can be learned from, and a round of training needs {FEWEST_PAIRS}: "
        f"{missing} more {'is' if missing == 1 else 'are'} missing.",
        hint="Judge more messages. A tie or two bad answers teach nothing, unless you write a better answer.",
    )
