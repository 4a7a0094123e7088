"""What is in the data: counts, balance, lengths, languages, and what the checks find.

Owns the figures. Refuses to change the data, to advise on strategy, and to look for faults itself (`checks` does).
"""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from prompts.versions import PromptVersion
from trainers.checks import LENGTH_CHECKS, Checked, Say, check_data, run_checks, silent
from trainers.checks.finding import Finding
from trainers.checks.lengths import cut_at
from trainers.checks.subject import Subject
from trainers.data import labels_of
from trainers.dataset import Dataset
from trainers.row_lengths import row_lengths
from trainers.tokens import TokenCounter

_CHECKING = 0.5  # the share of the time that the checks take, of a million rows; the rest is for counting tokens


class DatasetProfile(BaseModel):
    """Counts, label balance, languages, lengths in tokens (prompt and answer together), findings.

    `cut_at` says for each limit how many rows are longer; `languages` has "und" for what is too short to tell.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    usable: int
    labels: dict[str, int]
    languages: dict[str, int] = {}
    token_lengths: tuple[int, ...] = ()
    cut_at: dict[int, int] = {}
    answer_tokens: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def median_tokens(self) -> int:
        """The median row length in tokens, 0 where lengths were not counted."""
        return self._quantile(0.5)

    @property
    def p95_tokens(self) -> int:
        """The length that 95 % of the rows do not exceed, 0 where lengths were not counted."""
        return self._quantile(0.95)

    @property
    def longest_tokens(self) -> int:
        return max(self.token_lengths, default=0)

    def _quantile(self, share: float) -> int:
        lengths = sorted(self.token_lengths)
        return lengths[min(int(len(lengths) * share), len(lengths) - 1)] if lengths else 0


def profile_data(
    data: Dataset, prompt: PromptVersion, tokens: TokenCounter | None, checked: Checked | None = None, say: Say = silent
) -> tuple[DatasetProfile, Checked]:
    """Profile a data set; the second of the two is what the prompt cannot change, to be given as `checked` next time.

    Without a token counter, lengths are left out. `say` is told the share that is done, in [0, 1], and what is looked
    for.
    """
    checked = checked or check_data(data, say=lambda done, what: say(_CHECKING * done, what))
    examples = data.examples
    counts = Counter(example.output for example in examples) if labels_of(examples) else Counter()

    def counting(done: float) -> None:
        say(_CHECKING + (1 - _CHECKING) * done, "lengths in tokens")

    lengths, answer = row_lengths(examples, prompt, tokens, counting) if tokens else ((), 0)
    limit = tokens.limit if tokens else None
    subject = Subject.of(data, lengths=lengths, limit=limit)
    profile = DatasetProfile(
        rows=len(data.table),
        usable=len(examples),
        labels=dict(counts.most_common()),
        languages=checked.languages,
        token_lengths=lengths,
        cut_at=cut_at(lengths, limit) if tokens else {},
        answer_tokens=answer,
        findings=checked.findings + run_checks(subject, LENGTH_CHECKS),
    )
    return profile, checked
