"""Which rows are trained on, which choose a prompt, which are sealed for the report, which serve side by side.

Owns the division: seeded, each label alike, near-duplicates together, and the same for a row whatever happens to
others later. Refuses to read, change or judge rows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from trainers.collecting import no_collecting
from trainers.data import Example, labels_of, normal
from trainers.near import firsts, near_across, near_links

Place = Literal["train", "dev", "test", "arena"]
SPLITS: tuple[Place, ...] = get_args(Place)
_Group = list[Example]
_GIVEN: tuple[Place, ...] = ("test", "dev")  # what data may name itself; a test row is never one to choose a prompt by
_MOST_TOGETHER, _LARGEST_SHARE = 20, 0.2
_MOST_TWINS = 5  # a row has more near-duplicates in another split only where a template made them


class Shares(BaseModel):
    """How the examples are divided. The test split is for the final report alone, `arena` for side-by-side trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = 0.60
    dev: float = 0.10
    test: float = 0.25
    arena: float = 0.05

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        values = self.model_dump().values()
        if min(values) < 0 or abs(sum(values) - 1) > 1e-6 or self.train == 0:
            raise ValueError("the shares must be at least 0, sum to 1, and leave something to train on")
        return self


@dataclass(frozen=True)
class Splits:
    """Disjoint; an input and what is nearly the same never stand in two of them.

    `train` is in random order, so that a prefix is a fair sample. `left_out` are rows that would tie two splits
    together: a training row with a twin in the test that the file itself names, a synthetic row near a test row.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    arena: tuple[Example, ...] = ()
    left_out: tuple[Example, ...] = ()

    def parts(self) -> Iterator[tuple[Place, tuple[Example, ...]]]:
        """Each split by its name, from training to arena."""
        return ((name, getattr(self, name)) for name in SPLITS)


def split(examples: Sequence[Example], shares: Shares, seed: int, drawn_from: Sequence[_Group] = ()) -> Splits:
    """Divide examples. Deterministic for the same rows, shares and seed.

    `drawn_from` are the rows as they were before anything was done to them, those of the file first and then each
    addition: places are drawn there, so that mending a row, dropping it or adding others moves no row from the test
    to the training. By default they are the examples themselves.
    """
    with no_collecting():
        places = draw_places(drawn_from or [list(examples)], shares, seed)
    parts: dict[str, list[Example]] = {name: [] for name in (*SPLITS, "left_out")}
    for example in examples:
        parts[places.get(example.row) or "left_out"].append(example)
    rng = random.Random(seed)
    for name in SPLITS:
        rng.shuffle(parts[name])
    return Splits(**{name: tuple(part) for name, part in parts.items()})


def is_template(alike: int, rows: int) -> bool:
    """Whether a group of so many near-duplicates is too large to be kept together.

    Rows from one template may all be near-duplicates of each other; together they would leave nothing to test on.
    """
    return alike > max(_MOST_TOGETHER, _LARGEST_SHARE * rows)


def draw_places(batches: Sequence[Sequence[Example]], shares: Shares, seed: int) -> dict[int, Place | None]:
    """The split of each row by its number; None for one that would tie two together.

    What the data itself names is kept, and near-duplicates of such rows stand nowhere else. Batch after batch: a later
    row goes where its near-duplicates of earlier batches are, and moves none of them.
    """
    places: dict[int, Place | None] = {}
    earlier: list[Example] = []
    for number, batch in enumerate(batches):
        left = _shares_left(batch, shares)
        rest = list(batch)
        for name in _GIVEN:
            named = [example for example in rest if example.place == name]
            places |= {example.row: name for example in named}
            rest = [example for example in rest if example.place != name]
            twins = _twins(named, rest)
            places |= dict.fromkeys(twins)
            rest = [example for example in rest if example.row not in twins]
        groups = _near_groups(rest)
        bound = _bound(groups, earlier, places)
        rng = random.Random(f"{seed}/{number}" if number else seed)
        free = (group for group in groups if id(group) not in bound)
        dealt = {**bound, **dict(_deal(free, left, labels_of(batch), rng))}
        places |= {example.row: dealt[id(group)] for group in groups for example in group}
        earlier.extend(batch)
    return places


def _bound(
    groups: Sequence[_Group], earlier: Sequence[Example], places: dict[int, Place | None]
) -> dict[int, Place | None]:
    """The places, by the group's identity, of groups that are not dealt: written rows, and twins of earlier ones."""
    twins = _twins(earlier, list(chain.from_iterable(groups)))
    bound: dict[int, Place | None] = {}
    for group in groups:
        near = {places[twin.row] for example in group for twin in twins.get(example.row, ())}
        if group[0].origin == "written":  # only ever trained on
            bound[id(group)] = "train" if near <= {"train"} else None
        elif near:
            bound[id(group)] = next(iter(near)) if len(near) == 1 else None
    return bound


def _twins(known: Sequence[Example], rows: Sequence[Example]) -> dict[int, list[Example]]:
    """The near-duplicates among `known` of those `rows` that have some, by row number.

    Of a row with very many, as one from a template has, only those with the very same input count: else whole data sets
    would be twins.
    """
    if not known:
        return {}
    twins: dict[int, list[Example]] = defaultdict(list)
    for first, later in near_across([example.input for example in known], [example.input for example in rows]):
        twins[rows[later].row].append(known[first])
    by_row = {example.row: example for example in rows}
    return {row: found for row, near in twins.items() if (found := _not_by_template(near, by_row[row]))}


def _not_by_template(near: list[Example], row: Example) -> list[Example]:
    return near if len(near) <= _MOST_TWINS else [twin for twin in near if normal(twin.input) == normal(row.input)]


def _near_groups(batch: Sequence[Example]) -> list[_Group]:
    """Rows that may not be parted: the same input, case and spacing aside, or nearly the same."""
    same: dict[str, _Group] = defaultdict(list)
    for example in batch:
        same[normal(example.input)].append(example)
    groups = list(same.values())
    first = firsts(near_links([group[0].input for group in groups]))
    joined: dict[int, list[_Group]] = defaultdict(list)
    for index, group in enumerate(groups):
        joined[first.get(index, index)].append(group)
    return [part for together in joined.values() for part in _parts(together, len(batch))]


def _parts(together: list[_Group], rows: int) -> list[_Group]:
    """Groups of near-duplicates as one group, or as they are where that would be too large."""
    whole = list(chain.from_iterable(together))
    return together if is_template(len(whole), rows) else [whole]


def _shares_left(batch: Sequence[Example], shares: Shares) -> dict[Place, float]:
    """The shares to deal by. Of a split that the data names itself, nothing more is dealt: it goes to training."""
    named = {example.place for example in batch}
    left: dict[Place, float] = {name: getattr(shares, name) for name in SPLITS}
    for name in _GIVEN:
        if name in named:
            left["train"] += left[name]
            left[name] = 0
    return {name: share for name, share in left.items() if share > 0}


def _deal(
    groups: Iterable[_Group], shares: dict[Place, float], labels: Sequence[str], rng: random.Random
) -> Iterator[tuple[int, Place]]:
    """Deal whole groups, label by label; the split that is furthest behind its share takes the next."""
    strata: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        strata[group[0].output if labels else ""].append(group)
    count: dict[Place, int] = dict.fromkeys(shares, 0)
    placed = 0
    for label in sorted(strata):
        members = strata[label]
        rng.shuffle(members)
        for group in members:
            placed += len(group)
            # Shares so hold within and across labels.
            behind = max(shares, key=lambda name: shares[name] * placed - count[name])
            count[behind] += len(group)
            yield id(group), behind
