"""How the answers are spread: labels with few rows, one label that drowns the others, one answer for everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trainers.checks.finding import Finding
from trainers.checks.subject import Subject

_FEW = 8
_UNEVEN = 10  # times; at 10 : 1 a model that always names the larger of two labels is right in 91 of 100 rows


def rare_labels(subject: Subject) -> Iterator[Finding]:
    rare = [label for label, count in _counts(subject).items() if count < _FEW]
    if rare:
        more = f" and {len(rare) - 8} more" if len(rare) > 8 else ""
        yield Finding(
            check="rare_labels",
            severity="warning",
            text=f"Fewer than {_FEW} examples for: {', '.join(rare[:8])}{more}.",
            effect="Expect the model to miss these, and the report to say little about them.",
        )


def imbalance(subject: Subject) -> Iterator[Finding]:
    """Among labels that are not rare already, so that nothing is told twice."""
    counts = [(label, count) for label, count in _counts(subject).most_common() if count >= _FEW]
    if len(counts) < 2 or counts[0][1] < _UNEVEN * counts[-1][1]:
        return
    (most, many), (least, few) = counts[0], counts[-1]
    yield Finding(
        check="imbalance",
        severity="warning",
        text=f"Uneven labels: {many:,} rows of {most!r}, {few} of {least!r}.",
        effect=f"The model learns to say {most!r} when in doubt; accuracy hides it, macro F1 shows it.",
    )


def constant_answer(subject: Subject) -> Iterator[Finding]:
    if len({example.output for example in subject.examples}) == 1:
        yield Finding(
            check="constant_answer",
            severity="error",
            text="Every row has the same answer.",
            effect="There is nothing to learn: the model would say it whatever comes in.",
        )


def _counts(subject: Subject) -> Counter[str]:
    return Counter(example.output for example in subject.examples) if subject.labels else Counter()
