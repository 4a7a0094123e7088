"""Rows that repeat: the same input with the same answer, and the same input with different answers."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Only copies with the same answer: which of two answers is right, nobody can tell by their order."""
    rows = tuple(sorted(row for group in subject.by_input for row in _again(group)))
    if rows:
        yield Finding(
            check="duplicates",
            severity="info",
            text=f"{counted(rows)} with an input that is there already, and the same answer.",
            rows=rows,
            effect="Repeated rows weigh more than the others. They stay in one split together, so no score is wrong.",
            fix=Fix(action="drop_rows", words="Keep the first of each, drop the later copies."),
        )


def _again(group: list[Example]) -> Iterator[int]:
    seen: set[str] = set()
    for example in group:
        if example.output in seen:
            yield example.row
        seen.add(example.output)


def contradictions(subject: Subject) -> Iterator[Finding]:
    groups = [group for group in subject.by_input if len({e.output for e in group}) > 1]
    rows = tuple(sorted(e.row for group in groups for e in group))
    # Two good translations of a sentence, say, are no mistake; two labels are.
    severe = bool(subject.labels)
    if rows:
        yield Finding(
            check="contradictions",
            severity="warning" if severe else "info",
            text=f"{len(rows)} rows have the same input but different answers.",
            rows=rows,
            effect="The model cannot learn both, and on such a row it can be right only by chance."
            if severe
            else "Good where several answers are right; a metric that compares word for word will miss some of them.",
            examples=tuple(_told(group) for group in groups[:5]),
            fix=Fix(action="drop_rows", words="Drop all of them: which answer is right cannot be told from here.")
            if severe
            else None,
        )


def _told(group: list[Example]) -> str:
    return ", ".join(f"row {e.row}: {e.output[:40]!r}" for e in group[:4])
