"""Choosing solved examples to show before the input, and the order they stand in.

Owns the choice: by label, by likeness, by diversity, and by what examples were seen to be worth. Refuses to know where
the rows come from: whoever calls gives training rows, never those that the outcome is measured on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from prompts.versions import Demonstration

Shown = tuple[Demonstration, ...]
_MOST_LABELS = 24  # with more, one of each would fill the prompt
_MOST_CHARACTERS = 1200  # an example longer than this costs more than it shows


def choose(rows: Sequence[Demonstration], count: int, seed: int = 0) -> Shown:
    """Up to `count` rows, drawn by `seed`: one for each distinct answer first, then any."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    first_of_each = list({row.output: row for row in reversed(shuffled)}.values())
    rest = [row for row in shuffled if row not in first_of_each]
    return tuple([*first_of_each, *rest][:count])


def sets(rows: Sequence[Demonstration], seed: int = 0) -> dict[str, Shown]:
    """Sets of examples worth trying, each under the way it was chosen.

    Of labelled rows there is one example of each label; else there are four or eight. "typical" are those nearest to
    the middle of their label (or of a cluster), which is what is asked most; "diverse" are far from each other
    (farthest-point order, Gonzalez 1985); "drawn" are random, balanced by label.
    """
    usable = [row for row in rows if len(row.input) + len(row.output) <= _MOST_CHARACTERS] or list(rows)
    if not usable:
        return {}
    labels = sorted({row.output for row in usable})
    labelled = len(labels) <= min(_MOST_LABELS, len(usable) // 2)
    counts = (len(labels),) if labelled and len(labels) > 3 else (4, 8)
    vectors = _vectors([row.input for row in usable])
    found: dict[str, Shown] = {}
    for count in dict.fromkeys(min(count, len(usable)) for count in counts):
        found[f"{count} drawn examples"] = choose(usable, count, seed)
        found[f"{count} typical examples"] = _typical(usable, vectors, count, labelled, seed)
        found[f"{count} diverse examples"] = _diverse(usable, vectors, count, labelled)
        found[f"{count} other drawn examples"] = choose(usable, count, seed + 1)
    return {way: shown for n, (way, shown) in enumerate(found.items()) if shown not in list(found.values())[:n]}


def orders(shown: Shown, seed: int = 0) -> dict[str, Shown]:
    """The same examples in other orders, which alone can decide between guessing and good (Lu et al. 2022)."""
    drawn = list(shown)
    random.Random(seed).shuffle(drawn)
    by_length = sorted(shown, key=lambda row: len(row.input))
    found = {"the shortest first": tuple(by_length), "another order": tuple(drawn), "turned round": shown[::-1]}
    return {way: order for way, order in found.items() if order != shown}


def varied(shown: Shown, rows: Sequence[Demonstration], seed: int) -> Shown:
    """The same examples but for about a third, each of which gives way to another with its answer, or to any other."""
    rng, kept = random.Random(seed), list(shown)
    for index in rng.sample(range(len(kept)), max(1, len(kept) // 3)):
        alike = [row for row in rows if row.output == kept[index].output and row not in kept]
        others = alike or [row for row in rows if row not in kept]
        if others:
            kept[index] = rng.choice(others)
    return tuple(kept)


def by_worth(rows: Sequence[Demonstration], worth: Mapping[Demonstration, float], count: int, seed: int = 0) -> Shown:
    """The examples whose sets scored best, one of each answer first; `worth` is the mean score of the sets it was in.

    As random sets tell what an example adds (Nguyen and Wong 2023, in-context influences).
    """
    ranked = sorted((row for row in rows if row in worth), key=lambda row: -worth[row])
    best_of_each = list({row.output: row for row in reversed(ranked)}.values())
    chosen = [*best_of_each, *(row for row in ranked if row not in best_of_each)][:count]
    missing = [row for row in choose(rows, count, seed) if row not in chosen]
    return tuple([*chosen, *missing][:count])


def _vectors(texts: Sequence[str]) -> Any:
    """Rows of unit length, of shape (texts, character n-grams); near ones have near inputs."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)


def _typical(rows: Sequence[Demonstration], vectors: Any, count: int, labelled: bool, seed: int) -> Shown:
    import numpy as np

    groups = _by_label(rows) if labelled else _clusters(vectors, count, seed)
    shown = []
    for members in groups:
        middle = np.asarray(vectors[members].mean(axis=0)).ravel()
        nearness = vectors[members] @ middle
        shown.append(rows[members[int(np.argmax(nearness))]])
    return tuple(shown[:count])


def _diverse(rows: Sequence[Demonstration], vectors: Any, count: int, labelled: bool) -> Shown:
    """Each next one is farthest from those before; with labels, each comes from a label that was not shown yet."""
    import numpy as np

    chosen: list[int] = [0]
    nearest = np.asarray((vectors @ vectors[0].T).todense()).ravel()
    while len(chosen) < count:
        taken = {rows[i].output for i in chosen} if labelled else set()
        open_ = [i for i in range(len(rows)) if i not in chosen and rows[i].output not in taken]
        if not open_:
            break
        farthest = min(open_, key=lambda i: float(nearest[i]))
        chosen.append(farthest)
        nearest = np.maximum(nearest, np.asarray((vectors @ vectors[farthest].T).todense()).ravel())
    return tuple(rows[i] for i in chosen)


def _by_label(rows: Sequence[Demonstration]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.output].append(index)
    return list(groups.values())


def _clusters(vectors: Any, count: int, seed: int) -> list[list[int]]:
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=min(count, vectors.shape[0]), n_init=1, random_state=seed).fit_predict(vectors)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(found):
        groups[int(group)].append(index)
    return list(groups.values())
