"""Carrying out one try: learn from its rows as any run does, on a base that all tries share, then ask its rows.

Owns the order within a try, and what is kept of it. Refuses to choose tries (`halving`) and to train by itself: that is
the worker's own way (`trainers.worker.Work`), with the base lent to it. Imports torch.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from prompts.versions import PromptVersion
from trainers.checking import check_plan
from trainers.data import Example
from trainers.evaluation.arm import Arm, tuned_arm
from trainers.memory import give_back, ran_out
from trainers.paths import Paths, write_atomically
from trainers.splits import Splits
from trainers.status import ENDED, RunFolder, RunStatus
from trainers.strategies import FewShotStrategy, PromptStrategy
from trainers.trials.curves import by_epoch
from trainers.trials.records import Candidate, Tried, Try
from trainers.trials.runs import Trial, asked_of, begin, labels_for, trial_of, write_tried
from trainers.trials.scoring import Memory, ask
from trainers.trials.sharing import Shared, open_shared, used
from trainers.trials.wording import best_wording
from trainers.worker import Work, explain

# What is being done and the share of it that is done. It may raise: a BaseException ends the try without a trace of it,
# an Exception is how the try failed.
Watch = Callable[[str, float], None]


def run_in_full(
    candidate: Candidate,
    train: Sequence[Example],
    asked: Sequence[Example],
    shared: Shared,
    paths: Paths,
    *,
    labels: Sequence[str] = (),
    memory: Memory | None = None,
    watch: Watch = lambda told, fraction: None,
) -> Tried:
    """A candidate on all of `train`, asked the rows `asked`: the very same way as a try, of the whole.

    `shared` is from `open_shared(plan, paths)` and may be used for any number of candidates. `labels` are the answers
    that there are, where these are labels; by default those of both kinds of rows. A candidate that fails comes back as
    a `Tried` that says why.
    """
    found = tuple(labels) or labels_for(candidate, (*train, *asked))
    trial = Trial(tried=Try(key=candidate.key, portion=1.0), labels=found, wordings=candidate.wordings)
    return carry(begin(candidate, trial, train, asked, paths), shared, paths, memory=memory, watch=watch)


def carry(
    run: RunFolder,
    shared: Shared,
    paths: Paths,
    *,
    memory: Memory | None = None,
    watch: Watch = lambda told, fraction: None,
) -> Tried:
    """Carry out the try that a run is, and write what came of it into the run.

    A try that fails says why and is no error here; what `watch` raises as a BaseException passes. The base is held and
    asked once for all tries, and `memory` keeps what it said.
    """
    trial = trial_of(run)
    assert trial is not None
    watched = _Watched(run, watch)
    shared.pair()  # not counted to the try that happens to be the first
    with used() as usage:
        try:
            tried = _Trying(watched, trial, shared, paths, memory).carried_out()
        except Exception as error:
            traceback.print_exc()
            if ran_out(error):
                error.__traceback__ = None  # what it points to holds the memory
            told = explain(error)
            end = {"state": "failed", "message": told.message, "hint": told.hint, "seconds_left": None}
            run.write_status(run.written_status().model_copy(update=end))
            tried = Tried(tried=trial.tried, rows=len(run.split("train")), failed=told.message)
        give_back()
    figures = {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds, "memory_gb": round(usage.memory_gb, 3)}
    tried = tried.model_copy(update={**figures, "run": run.id})
    write_tried(run, tried)
    return tried


def alone(run: RunFolder, paths: Paths) -> None:
    """A try in a process of its own, as it is carried out on a cluster: nothing is shared with another."""
    carry(run, open_shared(run.plan(), paths), paths)


class _Watched(RunFolder):
    """The run's folder, whose status somebody follows and may end by raising: a training writes one a step."""

    def __init__(self, run: RunFolder, watch: Watch) -> None:
        super().__init__(run.path)
        self._watch = watch

    def write_status(self, status: RunStatus) -> None:
        super().write_status(status)
        if status.state not in ENDED:
            self._watch(status.message, status.fraction)


class _Trying:
    """One try, from its folder to its scores."""

    def __init__(self, run: RunFolder, trial: Trial, shared: Shared, paths: Paths, memory: Memory | None) -> None:
        self.run, self.trial, self.shared, self.paths, self.memory = run, trial, shared, paths, memory
        self.learn = run.split("train")

    def carried_out(self) -> Tried:
        run, shared = self.run, self.shared
        plan, started = run.plan(), time.time()
        now = {"state": "running", "message": "Looking whether it can be tried.", "started": started}
        run.write_status(run.written_status().model_copy(update=now))
        check_plan(plan, shared.base, shared.compute, Splits(train=self.learn, test=run.split("test")))
        chosen = self._wording()
        work = Work(run, self.paths, lend=shared.lend)
        work.started = started
        work.make(shared.base, shared.compute)
        for folder in (run.checkpoints, run.begun):
            shutil.rmtree(folder, ignore_errors=True)
        if chosen and isinstance(plan.strategy, FewShotStrategy | PromptStrategy):
            run.write_prompt(plan.strategy.version(chosen, self.learn))
        give_back()
        begun = time.monotonic()
        said = self._asked()
        score_seconds = time.monotonic() - begun
        done = {"state": "done", "phase": "finished", "fraction": 1.0, "seconds_left": None, "message": "Tried."}
        run.write_status(run.written_status().model_copy(update=done))
        status = run.written_status()
        return Tried(
            tried=self.trial.tried,
            rows=len(self.learn),
            scores={row: score for row, (score, _) in said.items()},
            certainty={row: sure for row, (_, sure) in said.items() if sure is not None},
            train_seconds=status.train_seconds,
            score_seconds=score_seconds,
            losses=by_epoch(run.metrics()),
            tokens=status.tokens,
            prompt=chosen,
        )

    def _wording(self) -> PromptVersion | None:
        """The best of several wordings, where there are several. A training begins from it as its plan's prompt."""
        plan = self.run.plan()
        if not self.trial.wordings:
            return None
        rows = [row for row in self.learn if row.output]
        told = f"Looking for the best of {len(self.trial.wordings) + 1} wordings."
        chosen = best_wording(
            self._base_arm(plan.prompt), self.trial.wordings, rows, self.trial.labels, self._saying(told), self.memory
        )
        if plan.strategy.trains:
            write_atomically(self.run.path / "plan.yaml", plan.model_copy(update={"prompt": chosen}).to_yaml())
        return chosen

    def _asked(self) -> dict[int, tuple[float, float | None]]:
        """Score and certainty by row number."""
        rows = asked_of(self.run)
        artefact, prompt = self.run.artefact, self.run.result_prompt()
        arm = self._base_arm(prompt)
        if artefact is not None:
            arm = tuned_arm(replace(arm, model=self.shared.model()), artefact, prompt, self.shared.compute)
        told = f"{len(rows)} rows that it has not seen are asked."
        said = ask(arm, rows, self.trial.labels, self._saying(told), None if artefact else self.memory)
        return {row.row: (one.score, one.certainty) for row, one in zip(rows, said, strict=True)}

    def _base_arm(self, prompt: PromptVersion) -> Arm:
        model, tokenizer = self.shared.pair()
        return Arm("base", model, tokenizer, prompt, self.run.plan().evaluation)

    def _saying(self, told: str) -> Callable[[float], None]:
        def say(fraction: float) -> None:
            now = {"state": "running", "phase": "evaluating", "message": told, "fraction": fraction}
            self.run.write_status(self.run.written_status().model_copy(update={**now, "seconds_left": None}))

        return say
