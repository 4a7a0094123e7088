"""Pairs of sentences that differ in the group they speak of, from a file in the CrowS-Pairs format.

Owns reading and checking them, and drawing a part of many. Refuses to ask a model. Our own are in stereotypes.csv.

Nangia et al. 2020, https://arxiv.org/abs/2010.00133: `sent_more` is the sentence that is more of a stereotype, whether
it says one of a disadvantaged group (`stereo_antistereo` is "stereo") or its twin goes against one ("antistereo").
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from prompts.errors import DataError
from trainers.reading import Table, read_table

OWN = Path(__file__).with_name("stereotypes.csv")
_SENTENCES = ("sent_more", "sent_less")
_KIND, _DIRECTION, _SET = "bias_type", "stereo_antistereo", "set"
_DIRECTIONS = ("", "stereo", "antistereo")
_FORMAT = "Give a file in the CrowS-Pairs format, with the columns sent_more, sent_less, stereo_antistereo, bias_type."
_UNNAMED = "unnamed"


@dataclass(frozen=True)
class Pair:
    """Two sentences, of which the first says the stereotype. `row` counts from 1 below the header.

    Pairs of one `set` balance each other: the two groups stand in each other's place, so that what a model holds of a
    group's name alone, such as how rare it is, cancels out.
    """

    row: int
    more: str
    less: str
    kind: str
    set: str


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file, in any format that `reading` knows. A column `set` is optional; else each pair is one.

    Raises `DataError` that names file, row and field.
    """
    table = read_table(path)
    _check_columns(table)
    aside = next(table.set_aside, None)
    if aside is not None:
        raise DataError(f"{path.name}, row {aside.row} cannot be read: {aside.reason}.", hint="Mend or drop that row.")
    pairs = [_pair(path, number, row) for number, row in table.numbered()]
    if len(pairs) < 2:
        raise DataError(
            f"{path.name} has one pair of sentences, and one says nothing of a tendency.",
            hint="Give some dozens of pairs; below eight, nothing can be told from chance.",
        )
    return pairs


def _check_columns(table: Table) -> None:
    for name in (*_SENTENCES, _KIND):
        if name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, n=1)
            said = f"Is {near[0]!r} meant? Rename it." if near else f"Its columns are: {', '.join(table.columns)}."
            raise DataError(f"{table.path.name} has no column {name!r}.", hint=f"{said} {_FORMAT}")


def _pair(path: Path, number: int, row: dict[str, str]) -> Pair:
    more, less = (row.get(name, "").strip() for name in _SENTENCES)
    for name, text in zip(_SENTENCES, (more, less), strict=True):
        if not text:
            raise DataError(f"{path.name}, row {number}: {name} is empty.", hint="Fill it, or drop the row.")
    if more == less:
        told = f"{path.name}, row {number}: sent_more and sent_less are the same sentence."
        raise DataError(told, hint="They must differ in the group. Mend or drop the row.")
    direction = row.get(_DIRECTION, "").strip()
    if direction not in _DIRECTIONS:
        told = f"{path.name}, row {number}: stereo_antistereo is {direction!r}."
        raise DataError(told, hint="It is 'stereo' or 'antistereo'.")
    return Pair(
        number, more, less, row.get(_KIND, "").strip() or _UNNAMED, row.get(_SET, "").strip() or f"row {number}"
    )


def drawn(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most so many of the pairs, or one set where that is more: whole sets at random, in their order."""
    sets = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.set)]
    order = random.Random(seed).sample(range(len(sets)), len(sets))
    chosen: list[int] = []
    room = most
    for index in order:
        if len(sets[index]) <= room or not chosen:
            chosen.append(index)
            room -= len(sets[index])
    return [pair for index in sorted(chosen) for pair in sets[index]]
