"""Texts that are almost the same, among up to a million short ones: MinHash finds candidates, the overlap decides.

Owns what "near" means: the overlap is Jaccard's, of runs of four characters (in a long text, of three words) without
case and punctuation (Broder 1997). Refuses to know rows, answers and splits: it is given texts and tells indices.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ALIKE = 0.8
# In a short text one digit or word is the whole meaning: "text 1" and "text 2" are not copies.
_SHORTEST = 20
_READ = 2000  # characters; of a longer document its beginning counts
_RUN = 4
_LONG, _WORDS = 500, 3  # a longer text is taken as runs of three words, of which it has far fewer
_PUNCTUATION = re.compile(r"[^\w\s]|_")

# 21 bands of 6: of pairs that overlap by exactly 0.8, 99.8 % become candidates.
_BANDS, _DEEP = 21, 6
# By numpy alone, 2.7 s for a million rows. rensa's Rust takes 1.8 s, but hands out Python integers: 21 s more.
_FACTORS = np.array([random.Random(n).getrandbits(32) | 1 for n in range(_BANDS * _DEEP)], dtype=np.uint32)
_WORTH = 0.7  # agreement of sketches (0.8 less three standard errors) below which the exact overlap is not worked out
# Rows of one template, or with a long common beginning, meet in the same buckets, where all pairs would be far too
# many. In a bucket of at most _BUCKET texts every pair is looked at; in a larger one the texts lie sorted, by their
# words or (every second band) by the hashes of the next band, and each is looked at with the _BESIDE that follow: what
# is near tends to lie side by side. So a band costs at most _BUCKET pairs a text, however large its buckets. Of the
# near pairs among 12,000 random questions behind one long beginning, 1.6 % are lost so.
_BUCKET, _BESIDE = 20, 4
_MOST = 20  # near rows that `near_across` tells of each row
_CHUNK = 2048  # texts sketched at once: their runs stay in the processor's cache
_PAIRS = 50_000  # pairs whose sketches are compared at once: 20 MB

Link = tuple[int, int]
_Numbers = NDArray[np.int64]


def near_links(texts: Sequence[str]) -> list[Link]:
    """Pairs (earlier, later) of indices that are near, enough of them to connect each group of near texts.

    Not all pairs: a group of n texts comes with n - 1. Texts of fewer than 20 characters, punctuation aside, are near
    to none. Some pairs are missed by chance, 0.2 % of those that overlap by exactly 0.8 and fewer of the closer ones;
    among thousands with a long common beginning up to 2 %. Deterministic.
    """
    first, again = _by_text(texts)
    links = [(first[text], later) for text, more in again.items() for later in more]
    distinct = sorted(first)
    places = [first[text] for text in distinct]
    sketches, groups = _sketches(distinct), _Groups(len(distinct))
    refused = np.zeros(0, dtype=np.int64)
    for steps in _met(sketches):
        far = [refused]
        for pairs in steps:
            apart = pairs[groups.of(pairs[:, 0]) != groups.of(pairs[:, 1])]
            apart = apart[sketches.agree(sketches, apart)]
            codes = apart[:, 0] * len(distinct) + apart[:, 1]
            fresh = ~_among(codes, refused)
            near = _overlaps(distinct, distinct, apart[fresh]) >= _ALIKE
            joined = [pair for pair in apart[fresh][near].tolist() if groups.join(*pair)]
            links += [(min(a, b), max(a, b)) for a, b in ((places[one], places[other]) for one, other in joined)]
            far.append(codes[fresh][~near])
        refused = np.sort(np.concatenate(far))
    return sorted(links)


def firsts(links: Iterable[Link]) -> dict[int, int]:
    """The earliest of its group for every index that `links` connect to another."""
    first: dict[int, int] = {}

    def top(index: int) -> int:
        while (above := first.setdefault(index, index)) != index:
            first[index] = first[above]
            index = above
        return index

    for one, other in links:
        low, high = sorted((top(one), top(other)))
        first[high] = low
    return {index: top(index) for index in sorted(first)}


def near_across(first: Sequence[str], second: Sequence[str]) -> list[Link]:
    """Pairs (index in `first`, index in `second`) that are near, at most 20 for each text of `second`.

    Also texts of fewer than 20 characters that are equal but for case and punctuation. Pairs are missed by chance as
    in `near_links`. Deterministic.
    """
    (left, left_again), (right, right_again) = _by_text(first, shortest=1), _by_text(second, shortest=1)
    ones, others = ([text for text in sorted(side) if len(text) >= _SHORTEST] for side in (left, right))
    near: dict[str, list[int]] = defaultdict(list)
    for text in left.keys() & right.keys():
        near[text] = [left[text], *left_again.get(text, [])]
    for one, other in _alike(ones, others).tolist():
        if ones[one] != others[other] and len(near[others[other]]) < _MOST:
            near[others[other]] += [left[ones[one]], *left_again.get(ones[one], [])]
    return sorted(
        (one, other)
        for text, found in near.items()
        for one in found[:_MOST]
        for other in (right[text], *right_again.get(text, []))
    )


def _by_text(texts: Sequence[str], shortest: int = _SHORTEST) -> tuple[dict[str, int], dict[str, list[int]]]:
    """The first index of each text without case, punctuation and spacing, if long enough, and the later ones if any."""
    first: dict[str, int] = {}
    again: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        plain = " ".join(_PUNCTUATION.sub("", text[:_READ].casefold()).split())
        if len(plain) >= shortest and first.setdefault(plain, index) != index:
            again[plain].append(index)
    return first, again


def _overlaps(ones: Sequence[str], others: Sequence[str], pairs: _Numbers) -> NDArray[np.float64]:
    """The overlap, 0 to 1, of each pair (number in `ones`, number in `others`)."""
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        told = [(ones[one], others[other]) for one, other in pairs[start : start + _CHUNK].tolist()]
        for long in (False, True):  # a long text and a short one have no run in common
            here = [n for n, texts in enumerate(told) if all((len(text) > _LONG) is long for text in texts)]
            if here:
                found[start + np.array(here)] = _shares([text for n in here for text in told[n]], long)
    return found


def _shares(texts: Sequence[str], long: bool) -> NDArray[np.float64]:
    """Jaccard's share of common runs of the first and second text, the third and fourth, and so on.

    With numpy, as Python's sets of strings take seven times as long. A run is a number of 51 bits here, so two unlike
    ones are taken for the same once in 2,000 million million.
    """
    runs, starts = _hashed(texts, long)
    pair, side = np.divmod(np.repeat(np.arange(len(texts)), np.diff(starts, append=len(runs))).astype(np.uint64), 2)
    codes = np.sort(pair << np.uint64(52) | runs >> np.uint64(13) << np.uint64(1) | side)
    codes = codes[np.append(True, codes[1:] != codes[:-1])]
    pair = (codes >> np.uint64(52)).astype(np.int64)
    twice = codes[1:] >> np.uint64(1) == codes[:-1] >> np.uint64(1)
    both = np.bincount(pair[1:][twice], minlength=len(texts) // 2)
    shares: NDArray[np.float64] = both / (np.bincount(pair) - both)
    return shares


class _Groups:
    """Which texts are connected so far (union-find)."""

    def __init__(self, count: int) -> None:
        self._above = np.arange(count)

    def of(self, numbers: _Numbers) -> _Numbers:
        """The group of each."""
        above: _Numbers = self._above[numbers]
        while (higher := self._above[above]).tobytes() != above.tobytes():
            above = higher
        self._above[numbers] = above
        return above

    def _top(self, number: int) -> int:
        while (above := int(self._above[number])) != number:
            self._above[number] = self._above[above]
            number = above
        return number

    def join(self, one: int, other: int) -> bool:
        """Connect two texts; whether they were apart."""
        top, below = self._top(one), self._top(other)
        self._above[below] = top
        return top != below


@dataclass
class _Sketches:
    """Of n texts: `bands` (21, n), a number for the bucket in each band; `hashes` (n, 126), a byte of each hash."""

    bands: NDArray[np.uint32]
    hashes: NDArray[np.uint8]

    def agree(self, others: _Sketches, pairs: _Numbers) -> NDArray[np.bool_]:
        """Whether the overlap of each pair (number here, number in `others`) is worth working out."""
        worth = np.zeros(len(pairs), dtype=np.bool_)
        for start in range(0, len(pairs), _PAIRS):
            one, other = pairs[start : start + _PAIRS].T
            equal = np.count_nonzero(self.hashes[one] == others.hashes[other], axis=1)
            worth[start : start + _PAIRS] = equal >= _WORTH * len(_FACTORS)
        return worth


def _sketches(texts: Sequence[str]) -> _Sketches:
    made = _Sketches(
        np.zeros((_BANDS, len(texts)), dtype=np.uint32), np.zeros((len(texts), len(_FACTORS)), dtype=np.uint8)
    )
    # Whether a text is long decides what its runs are, so each kind is sketched on its own.
    for long in (False, True):
        numbers = np.array([n for n, text in enumerate(texts) if (len(text) > _LONG) is long], dtype=np.int64)
        for start in range(0, len(numbers), _CHUNK):
            chosen = numbers[start : start + _CHUNK]
            lowest = _lowest(*_hashed([texts[n] for n in chosen], long))
            made.hashes[chosen] = lowest.T.astype(np.uint8)
            made.bands[:, chosen] = _banded(lowest)
    return made


def _hashed(texts: Sequence[str], long: bool) -> tuple[NDArray[np.uint64], _Numbers]:
    """The runs of all texts as numbers of 64 bits, one text's after another's, and where each text's begin."""
    if long:
        words = [[zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in text.split()] for text in texts]
        for row in words:
            row += [0] * (_WORDS - len(row))
        lengths, run = np.array([len(row) for row in words]), _WORDS
        units = np.array([unit for row in words for unit in row], dtype=np.uint64)
    else:
        lengths, run = np.array([len(text) for text in texts]), _RUN
        units = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    ends = np.cumsum(lengths)
    mixed = np.zeros(len(units) - run + 1, dtype=np.uint64)
    for place in range(run):
        # The finaliser of MurmurHash3, so that similar runs get unlike numbers.
        mixed = (mixed ^ units[place : place + len(mixed)]) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(32)
    inside = np.ones(len(units), dtype=np.bool_)
    for beyond in range(1, run):
        inside[ends - beyond] = False  # a run that would begin here reaches into the next text
    counts = lengths - run + 1
    return mixed[inside[: len(mixed)]], np.cumsum(counts) - counts


def _lowest(runs: NDArray[np.uint64], starts: _Numbers) -> NDArray[np.uint32]:
    """(126, texts): for each of 126 orders of all runs, that of a text's first (MinHash, Broder 1997)."""
    lowest = np.empty((len(_FACTORS), len(starts)), dtype=np.uint32)
    short = runs.astype(np.uint32)
    product = np.empty_like(short)
    for n, factor in enumerate(_FACTORS):
        np.multiply(short, factor, out=product)
        np.minimum.reduceat(product, starts, out=lowest[n])
    return lowest


def _banded(lowest: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(21, texts). Unlike texts meet by chance once in four thousand million, which the exact overlap mends."""
    keys = np.zeros((_BANDS, lowest.shape[1]), dtype=np.uint64)
    for part in lowest.reshape(_BANDS, _DEEP, -1).swapaxes(0, 1):
        keys = (keys ^ part) * np.uint64(0xFF51AFD7ED558CCD)
        keys ^= keys >> np.uint64(32)
    return keys.astype(np.uint32)


def _met(sketches: _Sketches) -> Iterator[Iterator[_Numbers]]:
    """Band by band, pairs (lower, higher) that share a bucket: first each text with its next, then with the second.

    Whoever connects what is near between two steps has few pairs left at the next: of a thousand texts from one
    template the first step connects nearly all.
    """
    for band, keys in enumerate(sketches.bands):
        codes = keys.astype(np.uint64)
        if band % 2:
            for place in range(4):
                codes = codes << np.uint64(8) | sketches.hashes[:, (_DEEP * (band + 1) + place) % len(_FACTORS)]
        order = np.argsort(codes, kind="stable")
        yield _steps(keys[order], order)


def _steps(bucket: NDArray[np.uint32], numbers: _Numbers) -> Iterator[_Numbers]:
    edges = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1])) if len(bucket) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(edges, append=len(bucket))
    reach = np.repeat(np.where(sizes > _BUCKET, _BESIDE, sizes - 1), sizes)
    for step in range(1, _BUCKET):
        here = np.flatnonzero((reach[:-step] >= step) & (bucket[:-step] == bucket[step:]))
        if not len(here):
            return
        pairs = np.stack([numbers[here], numbers[here + step]], axis=1)
        pairs.sort(axis=1)
        yield pairs


def _coded(keys: NDArray[np.uint32], numbers: _Numbers) -> NDArray[np.uint64]:
    """Bucket and number in one, to sort by both at once."""
    return (keys.astype(np.uint64) << np.uint64(32)) | numbers.astype(np.uint64)


def _alike(ones: Sequence[str], others: Sequence[str]) -> _Numbers:
    """Pairs (number in `ones`, number in `others`) that are near, about _MOST of each other; both are sorted."""
    near = [np.zeros((0, 2), dtype=np.int64)]
    left, right = _sketches(ones), _sketches(others)
    places = np.searchsorted(np.array(ones, dtype=object), np.array(others, dtype=object))
    told, done = np.zeros(len(others), dtype=np.int64), np.zeros(0, dtype=np.int64)
    for met in _beside(left, right, places) if ones and others else ():
        pairs = met[told[met[:, 1]] < _MOST]  # in a template every row has thousands
        pairs = pairs[left.agree(right, pairs)]
        codes = pairs[:, 0] * len(others) + pairs[:, 1]
        fresh = ~_among(codes, done)
        near.append(pairs[fresh][_overlaps(ones, others, pairs[fresh]) >= _ALIKE])
        told += np.bincount(near[-1][:, 1], minlength=len(told))
        done = np.sort(np.concatenate([done, codes[fresh]]))
    return np.concatenate(near)


def _beside(left: _Sketches, right: _Sketches, places: _Numbers) -> Iterator[_Numbers]:
    """Band by band, each text of `right` with up to _BUCKET texts of its bucket before its place and as many after."""
    for ours, theirs in zip(left.bands, right.bands, strict=True):
        placed = np.sort(_coded(ours, np.arange(len(ours))))
        at = np.searchsorted(placed, _coded(theirs, places))
        pairs = []
        for step in range(-_BUCKET, _BUCKET):
            found = placed[np.clip(at + step, 0, len(placed) - 1)]
            met = np.flatnonzero((at + step >= 0) & (at + step < len(placed)) & (found >> np.uint64(32) == theirs))
            pairs.append(np.stack([(found[met] & np.uint64(0xFFFFFFFF)).astype(np.int64), met], axis=1))
        yield np.concatenate(pairs)


def _among(codes: _Numbers, known: _Numbers) -> NDArray[np.bool_]:
    """Which of `codes` are in `known`, which is sorted."""
    if not len(known):
        return np.zeros(len(codes), dtype=np.bool_)
    found: NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, codes), len(known) - 1)] == codes
    return found
