"""Rows that stand in both training and test. The caller knows the split, so this is no entry of the registry."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.checks.finding import Finding, Fix, counted
from trainers.data import Example, normal


def in_train_and_test(train: Sequence[Example], test: Sequence[Example]) -> Finding | None:
    """The rows of `test` whose input stands in `train` too, case and spacing aside."""
    trained = {normal(example.input) for example in train}
    rows = tuple(sorted(example.row for example in test if normal(example.input) in trained))
    if not rows:
        return None
    return Finding(
        check="train_and_test",
        severity="error",
        text=f"{counted(rows, 'test row')} with an input that is trained on ({len(rows) / len(test):.1%} of the test).",
        rows=rows,
        effect="The report would praise a model for rows that it has learned by heart.",
        fix=Fix(action="drop_rows", words="Drop them from the test rows; the training keeps them."),
    )
