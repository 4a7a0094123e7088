"""Rows without an input or an answer."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject


def unusable(subject: Subject) -> Iterator[Finding]:
    kept = {example.row for example in subject.examples}
    lost = tuple(number for number in subject.table.numbers() if number not in kept)
    if lost:
        yield Finding(
            check="unusable",
            severity="warning",
            text=f"{counted(lost)} without an input or an answer, left out.",
            rows=lost,
            effect="They teach nothing and are not counted.",
            fix=Fix(action="drop_rows", words=f"Drop the {counted(lost)}; the training stays the same."),
        )
