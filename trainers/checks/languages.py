"""Rows in another language than most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trainers.checks.finding import Finding
from trainers.checks.spoken import UNDETERMINED
from trainers.checks.subject import Subject

_MIXED = 0.1  # from this share on, the second language is no slip but part of the task


def languages(subject: Subject) -> Iterator[Finding]:
    """One finding: either most rows agree and a few stand out, or the data is in several languages."""
    counts = Counter(code for code in subject.languages if code != UNDETERMINED)
    if len(counts) < 2:
        return
    common = counts.most_common(1)[0][0]
    pairs = zip(subject.examples, subject.languages, strict=True)
    rows = tuple(example.row for example, code in pairs if code not in (common, UNDETERMINED))
    told = ", ".join(f"{code} {count:,}" for code, count in counts.most_common(6))
    mixed = len(rows) > _MIXED * counts.total()
    yield Finding(
        check="languages",
        severity="info",
        text=f"The inputs are in several languages: {told}."
        if mixed
        else f"{len(rows)} of {len(subject.examples):,} inputs in another language than most: {told}.",
        rows=rows,
        effect="The model learns each language from its own rows alone; the report is one figure over all of them."
        if mixed
        else "Too few to learn that language from. If they are not meant to be there, they only disturb.",
    )
