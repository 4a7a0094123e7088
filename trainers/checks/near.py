"""Rows whose inputs are almost the same: MinHash finds candidates, the exact overlap decides.

The overlap is Jaccard's, of runs of four characters (in a long text, of three words) without case and punctuation
(Broder 1997).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example, normal

_RUN = 4
_ALIKE = 0.8
# In a short text one digit or word is the whole meaning: "text 1" and "text 2" are not copies.
_SHORTEST = 20
_READ = 2000  # characters; of a longer document its beginning counts
# 21 bands of 6: of pairs that overlap by exactly 0.8, 99.8 % become candidates.
_HASHES, _BANDS = 126, (21, 6)
# Rows a bucket. Rows with a long common beginning would all meet in the same buckets, each a candidate of every other:
# 163 s for 20,000 of them. A true twin is met in the other buckets too.
_BUCKET = 20
_WORTH = 0.7  # agreement of sketches (0.8 less three standard errors) below which the exact overlap is not worked out
# A longer text is taken as runs of three words: a document of 2,000 characters then takes 1.4 ms, not 4.
_LONG, _WORDS = 500, 3
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def near_duplicates(subject: Subject) -> Iterator[Finding]:
    groups = _by_text(subject.sample)
    pairs = [(group[0], later) for group in groups.values() for later in group[1:]]
    pairs += _alike({text: group[0] for text, group in groups.items()})
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


def _by_text(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples by their text without punctuation. Of exact copies, which are another check's, the first."""
    groups: dict[str, dict[str, Example]] = defaultdict(dict)
    for example in examples:
        text = " ".join(_PUNCTUATION.sub("", example.input[:_READ].casefold()).split())
        if len(text) >= _SHORTEST:
            groups[text].setdefault(normal(example.input), example)
    return {text: list(group.values()) for text, group in groups.items()}


def _alike(texts: dict[str, Example]) -> list[tuple[Example, Example]]:
    """Each example that overlaps with an earlier one that is kept, with the first of these.

    What is told is not compared with again: a thousand rows from one template are a thousand comparisons, not half a
    million, and whoever drops the later ones keeps one of each.
    """
    from datasketch import MinHash  # loads scipy, which a small table need not wait for

    runs, examples = [_runs(text) for text in texts], list(texts.values())
    places = np.zeros((len(runs), _HASHES), dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    pairs = []
    for later, sketch in enumerate(MinHash.generator(runs, num_perm=_HASHES, seed=1)):
        places[later] = sketch.hashvalues
        met = [buckets[n, band.tobytes()] for n, band in enumerate(places[later].reshape(_BANDS))]
        near = sorted({n for bucket in met for n in bucket})
        agree = (places[near] == places[later]).mean(axis=1)
        worth = (n for n, share in zip(near, agree, strict=True) if share >= _WORTH)
        first = next((n for n in worth if _overlap(runs[n], runs[later]) >= _ALIKE), None)
        if first is not None:
            pairs.append((examples[first], examples[later]))
            continue
        for bucket in met:
            if len(bucket) < _BUCKET:
                bucket.append(later)
    return pairs


def _runs(text: str) -> set[bytes]:
    if len(text) <= _LONG:
        return {text[i : i + _RUN].encode() for i in range(len(text) - _RUN + 1)}
    words = text.split()
    return {" ".join(words[i : i + _WORDS]).encode() for i in range(max(1, len(words) - _WORDS + 1))}


def _overlap(one: set[bytes], other: set[bytes]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)
