"""A search for a better prompt in the background: progress, a way to stop, and what came of it.

Owns one search's life and its trials on real rows. Refuses to know projects and storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.answers import Asker
from assistant.background import Background, Stopped
from prompts.metrics import METRICS, Comparison
from prompts.search import Budget, Line, Outcome, Progress, Search
from prompts.search.search import Halted, Reflect
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Example


@dataclass
class Improving(Background):
    """A search as it goes on; `outcome` is there once it has ended, also where it was stopped or broke off."""

    yours: PromptVersion
    minutes: float
    fraction: float = 0.0
    seconds_left: float | None = None
    best: Line | None = None
    outcome: Outcome | None = None


@dataclass
class RowTrials:
    """Asks a model on rows for searching and on rows for proof, and scores by a metric."""

    asker: Asker
    metric: str
    searching: Sequence[Example]
    confirming: Sequence[Example]
    job: Improving

    def scores(self, version: PromptVersion, rows: Sequence[int]) -> list[float]:
        return self.answered(version, rows)[1]

    def answered(self, version: PromptVersion, rows: Sequence[int]) -> tuple[list[str], list[float]]:
        """Answers to rows for searching, and their scores."""
        answers, expected = self._asked(version, [self.searching[row] for row in rows])
        return answers, METRICS[self.metric].rows(answers, expected)

    def cost(self, version: PromptVersion, rows: Sequence[int]) -> int:
        return self.asker.cost(version, [self.searching[row].input for row in rows])

    def confirm(self, first: PromptVersion, second: PromptVersion, rows: Sequence[int]) -> Comparison:
        chosen = [self.confirming[row] for row in rows]
        one, expected = self._asked(first, chosen)
        return METRICS[self.metric].compare(one, self._asked(second, chosen)[0], expected)

    def _asked(self, version: PromptVersion, rows: Sequence[Example]) -> tuple[list[str], list[str]]:
        """Answers and what was expected."""
        try:
            answers = self.asker.ask(version, [row.input for row in rows], self.job.tell, self._count)
        except Stopped:
            raise Halted from None
        return [answer.text for answer in answers], [row.output for row in rows]

    def _count(self, done: int) -> None:
        self.job.tell(self.job.message)  # which raises where somebody asked to stop


def improve(
    yours: PromptVersion,
    candidates: Sequence[PromptVersion],
    pool: Sequence[Example],
    searching: Sequence[Example],
    confirming: Sequence[Example],
    asker: Asker,
    metric: str,
    minutes: float,
    *,
    seed: int = 0,
    reflect: Callable[[RowTrials], Reflect] | None = None,
) -> Improving:
    """Start a search in a thread. No row may be in two of the three. `reflect` makes further versions of the best."""
    job = Improving(yours=yours, minutes=minutes)

    def work() -> None:
        # The engine starts first: its minute is not the search's.
        asker.connect(job.tell)
        budget = Budget(seconds=minutes * 60)

        def show(progress: Progress) -> None:
            job.best, job.fraction = progress.best, progress.fraction
            job.seconds_left = max(0.0, minutes * 60 - budget.elapsed)
            best = f"; best so far {progress.best.score:.0%} on {progress.best.rows} rows" if progress.best else ""
            try:
                job.tell(f"{progress.doing[:1].upper()}{progress.doing[1:]}{best}")
            except Stopped:
                raise Halted from None

        trials = RowTrials(asker, metric, searching, confirming, job)
        search = Search(
            yours,
            candidates,
            [Demonstration(input=row.input, output=row.output) for row in pool],
            len(searching),
            len(confirming),
            trials,
            budget,
            seed,
            reflect(trials) if reflect else None,
            show,
        )
        job.outcome = search.run()
        job.message, job.fraction = job.outcome.sentence, 1.0

    job.start(work, "The search", "What the search found")
    return job
