"""The best of several wordings, found on the rows that a try may learn from.

Owns the search's view of these rows. Refuses to rank by itself (`prompts.search` does), and to ask a row that the try
is scored on: there the winner is measured like any other candidate. Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prompts.metrics import Comparison, compare
from prompts.search.budget import Budget
from prompts.search.search import Search
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.evaluation.arm import Arm
from trainers.trials.scoring import Memory, Said, Say, ask

_HINT = 0.2  # how far the probability of right answers counts beside the score: scores of few rows are coarse


def best_wording(
    arm: Arm,
    wordings: Sequence[PromptVersion],
    rows: Sequence[Example],
    labels: Sequence[str],
    say: Say,
    memory: Memory | None = None,
) -> PromptVersion:
    """The arm's own prompt or the one of `wordings` that does best on `rows`, by successive halving over these; of
    equals the arm's own. Every answer is kept in `memory`."""
    seen = _OnRows(arm, rows, labels, say, memory)
    search = Search(arm.prompt, wordings, (), len(rows), 0, seen, Budget())
    outcome = search.run()
    return outcome.best or outcome.kept


@dataclass(frozen=True)
class _OnRows:
    """The rows as `prompts.search.Trials`."""

    arm: Arm
    rows: Sequence[Example]
    labels: Sequence[str]
    say: Say
    memory: Memory | None

    def scores(self, version: PromptVersion, rows: Sequence[int]) -> list[float]:
        arm = replace(self.arm, prompt=version)
        return [_worth(said) for said in ask(arm, [self.rows[i] for i in rows], self.labels, self.say, self.memory)]

    def cost(self, version: PromptVersion, rows: Sequence[int]) -> int:
        return len(rows)

    def confirm(self, first: PromptVersion, second: PromptVersion, rows: Sequence[int]) -> Comparison:
        return compare(self.scores(first, rows), self.scores(second, rows))


def _worth(said: Said) -> float:
    sure = math.exp(said.certainty) if said.certainty is not None else 0.0
    return (1 - _HINT) * said.score + _HINT * sure
