"""Rows that stand in both training and test, where the data itself says which rows are the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example, normal
from trainers.near import near_across


def train_and_test(subject: Subject) -> Iterator[Finding]:
    """Rows outside the test whose input, or nearly the same, is asked in the test."""
    test = [example for example in subject.examples if example.place == "test"]
    if not test:
        return
    others = [example for example in subject.examples if example.place != "test"]
    pairs = _same(test, others) if subject.sampled else _near(test, others)
    if not pairs:
        return
    rows = tuple(sorted(pairs))
    asked = {twin.row for twin in pairs.values()}
    yield Finding(
        check="train_and_test",
        severity="warning",
        text=f"{counted(rows)} outside the test with an input of a test row, or nearly the same "
        f"({len(asked) / len(test):.1%} of the test has such a twin).",
        rows=rows,
        effect="They are left out: the report would praise a model for answers that it has learned by heart.",
        examples=tuple(f"rows {row} and {twin.row}: {twin.input[:60]!r}" for row, twin in list(pairs.items())[:5]),
        fix=Fix(action="drop_rows", words="Drop them for good; the test rows stay."),
        sampled=subject.sampled,
    )


def _same(test: Sequence[Example], others: Sequence[Example]) -> dict[int, Example]:
    """Row numbers with the test row of the same input, case and spacing aside."""
    by_input = {normal(example.input): example for example in test}
    return {other.row: by_input[key] for other in others if (key := normal(other.input)) in by_input}


def _near(test: Sequence[Example], others: Sequence[Example]) -> dict[int, Example]:
    pairs = near_across([e.input for e in test], [e.input for e in others])
    near = {others[later].row: test[first] for first, later in pairs}
    return near | _same(test, others)
