"""A file, its mapping and what was changed since, put together: what a training sees.

Owns the order: read, add, change, leave out what cannot be used. Refuses to store and to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from trainers.collecting import no_collecting
from trainers.data import Example, Mapping, no_example, read_rows
from trainers.edits import Edit, additions, dropped, edited
from trainers.reading import Table, read_table
from trainers.splits import Shares, Splits, split


@dataclass(frozen=True, eq=False)
class Dataset:
    """`rows` are as they were read and added, the file's first and then each addition's; `examples` can be used.

    `unanswered` have an input and no answer yet.
    """

    table: Table
    mapping: Mapping
    edits: tuple[Edit, ...]
    rows: tuple[list[Example], ...]
    examples: tuple[Example, ...]
    unanswered: tuple[Example, ...]

    @cached_property
    def dropped(self) -> frozenset[int]:
        """The numbers of the rows that were dropped."""
        return dropped(self.edits)

    @property
    def last_row(self) -> int:
        """The number of the file's last row."""
        return len(self.table) + len(self.table.aside_rows)

    def splits(self, shares: Shares, seed: int, *, with_disliked: bool = False) -> Splits:
        """The examples divided; a change moves no row from one split to another.

        `with_disliked` brings rows along whose only answer is one that somebody disliked.
        """
        more = (row for row in self.unanswered if row.rejected) if with_disliked else ()
        return split((*self.examples, *more), shares, seed, self.rows)


def load_dataset(path: Path, mapping: Mapping, edits: Sequence[Edit] = ()) -> Dataset:
    """Read a file and carry out the changes. Raises `DataError`, also where no row has an input."""
    return dataset_of(read_table(path), mapping, edits)


def dataset_of(table: Table, mapping: Mapping, edits: Sequence[Edit] = ()) -> Dataset:
    """The same for a table that is read already."""
    with no_collecting():
        return _dataset_of(table, mapping, edits)


def _dataset_of(table: Table, mapping: Mapping, edits: Sequence[Edit]) -> Dataset:
    rows = (list(read_rows(table, mapping)), *additions(edits))
    if not any(rows):
        raise no_example(table, mapping)
    after = list(edited(chain.from_iterable(rows), edits))
    return Dataset(
        table=table,
        mapping=mapping,
        edits=tuple(edits),
        rows=rows,
        examples=tuple(example for example in after if example.output),
        unanswered=tuple(example for example in after if not example.output),
    )
