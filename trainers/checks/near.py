"""Rows whose inputs are almost the same: MinHash finds candidates, the exact overlap decides.

The overlap is Jaccard's, of runs of four characters without case and punctuation (Broder 1997).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example

_RUN = 4
_ALIKE = 0.8
# In a short text one digit or word is the whole meaning: "text 1" and "text 2" are not copies.
_SHORTEST = 20
_READ = 2000  # characters; of a longer document its beginning counts
# 21 bands of 6: of pairs that overlap by exactly 0.8, 99.8 % become candidates (the library's own choice: 60 %).
_HASHES, _BANDS = 126, (21, 6)
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def near_duplicates(subject: Subject) -> Iterator[Finding]:
    pairs = _pairs(_distinct(subject.sample))
    if not pairs:
        return
    rows = tuple(sorted({later.row for _, later in pairs}))
    differ = len({later.row for first, later in pairs if first.output != later.output}) if subject.labels else 0
    text = f"{counted(rows)} with almost the same input as an earlier row"
    yield Finding(
        check="near_duplicates",
        severity="info",
        text=f"{text}, {differ} of them with another answer." if differ else f"{text}.",
        rows=rows,
        effect="The split does not keep them together, so a test row may have its twin in the training: the score "
        "comes out a little too good.",
        examples=tuple(f"rows {a.row} and {b.row}: {b.input[:60]!r}" for a, b in pairs[:5]),
        fix=Fix(action="drop_rows", words="Keep the first of each, drop the rows that are almost the same."),
        sampled=subject.sampled,
    )


def _distinct(examples: Sequence[Example]) -> dict[str, Example]:
    """The first example of every text, punctuation aside. Exact copies are another check's."""
    found: dict[str, Example] = {}
    for example in examples:
        text = " ".join(_PUNCTUATION.sub("", example.input[:_READ].casefold()).split())
        if len(text) >= _SHORTEST:
            found.setdefault(text, example)
    return found


def _pairs(texts: dict[str, Example]) -> list[tuple[Example, Example]]:
    """Each example that overlaps with earlier ones, with the first of these."""
    from datasketch import MinHash, MinHashLSH  # loads scipy, which a small table need not wait for

    runs = [{text[i : i + _RUN].encode() for i in range(len(text) - _RUN + 1)} for text in texts]
    examples = list(texts.values())
    index = MinHashLSH(num_perm=_HASHES, params=_BANDS)
    pairs = []
    for later, sketch in enumerate(MinHash.generator(runs, num_perm=_HASHES, seed=1)):
        alike = [first for first in index.query(sketch) if _overlap(runs[first], runs[later]) >= _ALIKE]
        if alike:
            pairs.append((examples[min(alike)], examples[later]))
        index.insert(later, sketch)
    return pairs


def _overlap(one: set[bytes], other: set[bytes]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)
