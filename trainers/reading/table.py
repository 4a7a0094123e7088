"""A table as Arrow batches, and the rows of its file that could not be read.

Owns lazy access to rows and the file of set-aside rows. Refuses to know formats and to change anything.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from prompts.errors import DataError

Row = dict[str, str]
# Cells that start so are run as formulas by spreadsheets; a quote before them makes them text.
_RUNS = ("=", "+", "-", "@", "\t", "\r")
_SLICE = 1024


class SetAside(BaseModel):
    """A record that could not be read. `row` counts all records of the file from 1; `line` is 0 where there is none.

    `file` is named where the table was read from a folder; there `row` counts through all of its files.
    """

    model_config = ConfigDict(frozen=True)

    row: int
    line: int
    reason: str
    raw: str
    file: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as strings under named columns, in file order. A row lacks the columns that its record lacked.

    Rows are read from `batches` when they are asked for; those of a large file are mapped from disk. Rows go by their
    number in the file, which counts from 1 below the header, blank lines aside and rows that were set aside included.
    """

    path: Path
    columns: tuple[str, ...]
    batches: Sequence[Any]
    aside_rows: Sequence[int] = ()
    load_aside: Callable[[], Iterator[SetAside]] = lambda: iter(())
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    @property
    def set_aside(self) -> Iterator[SetAside]:
        """The records that could not be read, in file order, one at a time: their raw text may be long."""
        return self.load_aside()

    def rows(self) -> Iterator[Row]:
        """Every row, in file order."""
        for batch in self.batches:
            for start in range(0, batch.num_rows, _SLICE):
                yield from _rows_of(batch.slice(start, _SLICE))

    def numbered(self) -> Iterator[tuple[int, Row]]:
        """Every row with its number in the file."""
        return zip(self.numbers(), self.rows(), strict=True)

    def numbers(self) -> Iterator[int]:
        """The numbers of the rows that were kept."""
        aside = set(self.aside_rows)
        return (number for number in range(1, len(self) + len(aside) + 1) if number not in aside)

    def head(self, count: int) -> list[Row]:
        """The first rows."""
        return list(islice(self.rows(), count))

    def row(self, number: int) -> Row:
        """The row with this number in the file. Raises `DataError` where there is none, or it was set aside."""
        index = number - 1 - sum(aside < number for aside in self.aside_rows)
        if number not in self.aside_rows and index >= 0:
            for batch in self.batches:
                if index < batch.num_rows:
                    return next(_rows_of(batch.slice(index, 1)))
                index -= batch.num_rows
        raise DataError(f"{self.path.name} has no row {number} that could be read.", hint=f"It has {len(self)} rows.")

    def write_set_aside(self, path: Path) -> None:
        """Write the set-aside records as CSV, for a person to mend. A cell that a spreadsheet would run gets a `'`."""
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(("file", "row", "line", "reason", "raw"))
            for one in self.set_aside:
                texts = (_harmless(one.reason), _harmless(one.raw))
                writer.writerow((_harmless(one.file or self.path.name), one.row, one.line or "", *texts))


def table_of(rows: Sequence[Row], path: Path | str) -> Table:
    """A table of rows that are here already; `path` is the name that an error gives. Raises `DataError`."""
    from trainers.reading.sink import Sink

    sink = Sink(Path(path))
    for row in rows:
        sink.add_record(row, 0, str(row))
    return sink.finish()


def _rows_of(batch: Any) -> Iterator[Row]:
    names = batch.schema.names
    for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        yield {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}


def batch_of(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> Any:
    """Rows as one Arrow batch. A row may be shorter than the columns; what it lacks is missing."""
    width = len(columns)
    padded = [row if len(row) == width else (*row, *[None] * (width - len(row))) for row in rows]
    arrays = [pa.array(cells, type=pa.string()) for cells in zip(*padded, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_RUNS) else text
