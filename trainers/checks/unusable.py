"""Rows without an input, and rows without an answer."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject


def unusable(subject: Subject) -> Iterator[Finding]:
    waiting = set(subject.unanswered)
    kept = {example.row for example in subject.examples} | waiting | subject.dropped
    lost = tuple(number for number in subject.table.numbers() if number not in kept)
    if lost:
        yield Finding(
            check="unusable",
            severity="warning",
            text=f"{counted(lost)} without an input, left out.",
            rows=lost,
            effect="They teach nothing and are not counted.",
            fix=Fix(action="drop_rows", words=f"Drop the {counted(lost)}; the training stays the same."),
        )
    if waiting:
        yield Finding(
            check="unanswered",
            severity="warning",
            text=f"{counted(subject.unanswered)} without an answer, left out.",
            rows=subject.unanswered,
            effect="They teach nothing until somebody gives the answer, which can be done below.",
            fix=Fix(action="drop_rows", words=f"Drop the {counted(subject.unanswered)}."),
        )
