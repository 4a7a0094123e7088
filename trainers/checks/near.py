"""Rows whose inputs are almost the same. What that means, and how they are found, is `trainers.near`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example, normal
from trainers.near import firsts, near_links
from trainers.splits import is_template

_TOGETHER = (
    "The split keeps rows that are almost the same together, so scores stay honest; but what is said again weighs more "
    "than the other rows."
)
_TEMPLATE = (
    "So many are alike, as rows from one template are, that together they would leave nothing to test on: they are "
    "divided all the same, and the score says little about inputs with another wording."
)


def near_duplicates(subject: Subject) -> Iterator[Finding]:
    pairs = _pairs(subject)
    if not pairs:
        return
    rows = tuple(sorted(later.row for _, later in pairs))
    differ = sum(first.output != later.output for first, later in pairs) if subject.labels else 0
    text = f"{counted(rows)} with almost the same input as an earlier row"
    largest = max(Counter(first.row for first, _ in pairs).values()) + 1
    template = is_template(largest, len(subject.sample))
    yield Finding(
        check="near_duplicates",
        severity="warning" if template else "info",
        text=f"{text}, {differ} of them with another answer." if differ else f"{text}.",
        rows=rows,
        effect=_TEMPLATE if template else _TOGETHER,
        examples=tuple(f"rows {a.row} and {b.row}: {b.input[:60]!r}" for a, b in pairs[:5]),
        fix=Fix(action="drop_rows", words="Keep the first of each, drop the rows that are almost the same."),
        sampled=subject.sampled,
    )


def _pairs(subject: Subject) -> list[tuple[Example, Example]]:
    """Each example that is near an earlier one, with the first of its group. Exact copies are another check's."""
    distinct: dict[str, Example] = {}
    for example in subject.sample:
        distinct.setdefault(normal(example.input), example)
    examples = list(distinct.values())
    found = firsts(near_links([example.input for example in examples]))
    return [(examples[first], examples[later]) for later, first in found.items() if first != later]
