"""What the checks look at: the mapped rows, their labels, languages and lengths, and the sample for what is slow.

Owns what several checks share, each worked out once. Refuses to judge any of it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from trainers.checks.spoken import languages_of
from trainers.data import Example, Mapping, labels_of, normal
from trainers.reading import Table

if TYPE_CHECKING:
    from trainers.dataset import Dataset  # which carries out what some of the checks suggest

# Label errors, near-duplicates and personal data take about a second per thousand rows between them.
SAMPLE = 20_000


_AT_ONCE = 16_384  # rows


class Progress:
    """How far the check at work is, told to whoever listens. `refused` once that raised, which stops all work."""

    def __init__(self) -> None:
        self.listener: Callable[[float], None] = lambda done: None
        self.refused = False

    def say(self, done: float) -> None:
        """Tell the share that is done, in [0, 1]. For a check that takes more than a second of a million rows."""
        try:
            self.listener(done)
        except BaseException:
            self.refused = True
            raise


@dataclass(frozen=True)
class Subject:
    """One data set. `lengths` are whole rows in tokens, in the order of `examples`; empty where nothing counts them."""

    table: Table
    mapping: Mapping
    examples: tuple[Example, ...]
    lengths: tuple[int, ...] = ()
    limit: int | None = None  # tokens that the base model can read
    unanswered: tuple[int, ...] = ()  # rows that have an input and no answer
    dropped: frozenset[int] = frozenset()  # rows that the person dropped
    seed: int = 0
    progress: Progress = field(default_factory=Progress, compare=False)

    @classmethod
    def of(cls, data: Dataset, **more: Any) -> Subject:
        """What is to be looked at in a data set."""
        return cls(
            table=data.table,
            mapping=data.mapping,
            examples=data.examples,
            unanswered=tuple(example.row for example in data.unanswered),
            dropped=data.dropped,
            **more,
        )

    def each(self) -> Iterator[Example]:
        """The examples in order, for what takes its time over each: it tells how far it is."""
        return chain.from_iterable(self.parts())

    def parts(self) -> Iterator[tuple[Example, ...]]:
        """The same, some thousands at once."""
        for start in range(0, len(self.examples), _AT_ONCE):
            self.progress.say(start / len(self.examples))
            yield self.examples[start : start + _AT_ONCE]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.examples)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The language of each input, in the order of `examples`."""
        return tuple(languages_of([example.input for example in self.examples], self.progress.say))

    @cached_property
    def by_input(self) -> tuple[list[Example], ...]:
        """Examples in groups of the same input, case and spacing aside."""
        groups: dict[str, list[Example]] = defaultdict(list)
        for example in self.each():
            groups[normal(example.input)].append(example)
        return tuple(groups.values())

    @property
    def sampled(self) -> bool:
        return len(self.examples) > SAMPLE

    @cached_property
    def sample(self) -> tuple[Example, ...]:
        """All examples, or a seeded sample of them, in file order."""
        if not self.sampled:
            return self.examples
        drawn = random.Random(self.seed).sample(range(len(self.examples)), SAMPLE)
        return tuple(self.examples[i] for i in sorted(drawn))
