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

from trainers.data import Example, labels_of, normal
from trainers.near import firsts, near_across, near_links

Place = Literal["train", "dev", "test", "arena"]
SPLITS: tuple[Place, ...] = get_args(Place)
_Group = list[Example]
# Rows from one template may all be near-duplicates of each other. Kept together they would leave nothing to test on,
# so that a group of more rows and of a larger share than this is only kept together by the same input.
_MOST_TOGETHER, _LARGEST_SHARE = 20, 0.2


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
    places = draw_places(drawn_from or [list(examples)], shares, seed)
    parts: dict[str, list[Example]] = {name: [] for name in (*SPLITS, "left_out")}
    for example in examples:
        parts[places.get(example.row) or "left_out"].append(example)
    rng = random.Random(seed)
    for name in SPLITS:
        rng.shuffle(parts[name])
    return Splits(**{name: tuple(part) for name, part in parts.items()})


def draw_places(batches: Sequence[Sequence[Example]], shares: Shares, seed: int) -> dict[int, Place | None]:
    """The split of each row by its number; None for one that would tie two together.

    Batch after batch: a later row goes where its near-duplicates of earlier batches are, and moves none of them.
    """
    places: dict[int, Place | None] = {}
    earlier: list[Example] = []
    for number, batch in enumerate(batches):
        groups = _near_groups(batch)
        ties = _ties(groups, earlier, places)
        left = _shares_left(batch, shares)
        rng = random.Random(f"{seed}/{number}" if number else seed)
        free = [group for group in groups if not ties.get(id(group)) and not _fixed(group)]
        dealt = dict(_deal(free, left, labels_of(batch), rng))
        for group in groups:
            bound = ties.get(id(group), set())
            for example in group:
                places[example.row] = dealt.get(id(group)) or _bound_place(example, group, bound)
        earlier.extend(batch)
    return places


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
    return together if len(whole) > max(_MOST_TOGETHER, _LARGEST_SHARE * rows) else [whole]


def _ties(
    groups: Sequence[_Group], earlier: Sequence[Example], places: dict[int, Place | None]
) -> dict[int, set[Place | None]]:
    """Where the near-duplicates of each group are already, by the group's identity."""
    if not earlier:
        return {}
    members = [(example, id(group)) for group in groups for example in group]
    ties: dict[int, set[Place | None]] = defaultdict(set)
    for first, later in near_across([e.input for e in earlier], [example.input for example, _ in members]):
        ties[members[later][1]].add(places[earlier[first].row])
    return ties


def _fixed(group: _Group) -> bool:
    """Whether not all of a group may be dealt: the data names its split, or it was written by a model."""
    return any(e.place in ("dev", "test") or e.origin == "written" for e in group)


def _bound_place(example: Example, group: _Group, bound: set[Place | None]) -> Place | None:
    """The split of a row that is not dealt."""
    if example.origin == "written":  # only ever trained on
        return "train" if bound <= {"train"} and not _named(group) else None
    if example.place in ("dev", "test"):
        return "test" if example.place == "test" else None if "test" in _named(group) else "dev"
    if bound and not _named(group):
        return next(iter(bound)) if len(bound) == 1 else None
    return None


def _named(group: _Group) -> set[str]:
    return {example.place for example in group if example.place in ("dev", "test")}


def _shares_left(batch: Sequence[Example], shares: Shares) -> dict[Place, float]:
    """The shares to deal by. Of a split that the data names itself, nothing more is dealt: it goes to training."""
    named = {example.place for example in batch}
    left: dict[Place, float] = {name: getattr(shares, name) for name in SPLITS}
    given: tuple[Place, ...] = ("dev", "test")
    for name in given:
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
