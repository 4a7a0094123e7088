"""What a metric is: a name, a score for each row to show and sort by, and a figure for all of them.

Owns the two kinds: means over rows, and figures of summed counts. Refuses to know who gave the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prompts.metrics.answers import field_f1, fields
from prompts.metrics.certainty import (
    Comparison,
    Score,
    compare,
    compare_counts,
    summarize,
    summarize_counts,
)


@dataclass(frozen=True)
class Metric:
    """The mean of `row(answer, expected)` in [0, 1]. A row without an answer scores 0; it is never left out."""

    name: str
    row: Callable[[str, str], float]

    def score(self, answers: Sequence[str], expected: Sequence[str]) -> Score:
        """The figure for all rows, with its 95 % interval. Raises ValueError for no rows."""
        return summarize(self.rows(answers, expected))

    def compare(self, first: Sequence[str], second: Sequence[str], expected: Sequence[str]) -> Comparison:
        """The second arm against the first on the same rows: a paired test at 5 %."""
        return compare(self.rows(first, expected), self.rows(second, expected))

    def rows(self, answers: Sequence[str], expected: Sequence[str]) -> list[float]:
        return [self.row(answer, wanted) for answer, wanted in zip(answers, expected, strict=True)]


@dataclass(frozen=True)
class CountedMetric(Metric):
    """A figure that is no mean over rows: `total` of the sums of what `counts` gives for each row."""

    counts: Callable[[Sequence[str], Sequence[str]], Any]
    total: Callable[[Any], Any]

    def score(self, answers: Sequence[str], expected: Sequence[str]) -> Score:
        return summarize_counts(self.counts(answers, expected), self.total)

    def compare(self, first: Sequence[str], second: Sequence[str], expected: Sequence[str]) -> Comparison:
        return compare_counts(self.counts(first, expected), self.counts(second, expected), self.total)


def macro_f1(name: str, row: Callable[[str, str], float]) -> CountedMetric:
    """The mean of each expected label's F1, so that rare labels count as much as frequent ones (Lewis 1991)."""

    def counts(answers: Sequence[str], expected: Sequence[str]) -> Any:
        """Hits, answers and rows of each label, of shape (rows, 3 x labels)."""
        import numpy as np

        labels = sorted({text.strip() for text in expected})
        given = np.array([[answer.strip() == label for label in labels] for answer in answers], float)
        wanted = np.array([[text.strip() == label for label in labels] for text in expected], float)
        return np.concatenate([given * wanted, given, wanted], axis=1)

    def total(sums: Any) -> Any:
        import numpy as np

        hits, given, wanted = np.split(sums, 3, axis=1)
        there = given + wanted > 0  # a label that a resample does not hold says nothing about it
        f1 = np.divide(2 * hits, given + wanted, out=np.zeros_like(hits), where=there)
        return f1.sum(axis=1) / np.maximum(1, there.sum(axis=1))

    return CountedMetric(name, row, counts, total)


def micro_field_f1(name: str) -> CountedMetric:
    """F1 over the facts of all JSON answers together: long answers count for as much as they say."""

    def counts(answers: Sequence[str], expected: Sequence[str]) -> Any:
        import numpy as np

        pairs = [(fields(answer), fields(wanted)) for answer, wanted in zip(answers, expected, strict=True)]
        return np.array([[(a & w).total(), a.total() + w.total()] for a, w in pairs], float)

    def total(sums: Any) -> Any:
        import numpy as np

        return np.divide(2 * sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)

    return CountedMetric(name, field_f1, counts, total)
