"""Where a reader puts what it reads: rows in batches, and the rows set aside with their reasons.

Owns the count (rows in = rows kept + rows set aside), the limits, the column for the split that a file's name gives,
and moving to disk what is too much for memory. Refuses to know formats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prompts.errors import DataError
from trainers.reading.splits import SPLIT
from trainers.reading.store import Draft
from trainers.reading.table import SetAside, Table, batch_of

_BATCH_ROWS, _BATCH_CHARACTERS = 16_384, 8_000_000
_IN_MEMORY = 16_000_000  # characters; beyond, batches go to disk
_MOST_COLUMNS = 1_000
_LONGEST_MESSAGE = 400


class Sink:
    """Takes the records of one table."""

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = path
        self.name = path.name  # what messages call the file that is being read
        self.file = ""  # its name within a folder
        self.split_rows: Counter[str] = Counter()  # rows that got their split from the name of their file
        self._split: str | None = None  # the split of this file's rows; None: names say nothing in this folder
        self._appended: tuple[str, ...] = ()  # the cells after those of a file with a header
        self._columns: dict[str, int] = {}
        self._places: list[int] | None = None  # where the columns of this file stand in the table; None: as they are
        self._here: dict[str, None] = {}  # the columns of this file
        self._rows: list[Sequence[str | None]] = []
        self._characters = self._kept_characters = 0
        self._batches: list[Any] = []
        self._aside: list[SetAside] = []
        self._aside_rows: list[int] = []
        self._kept = 0
        self._notes: list[str] = []
        self._draft = Draft(cache) if cache else None

    @property
    def rows_in(self) -> int:
        return self._kept + len(self._aside_rows)

    @property
    def columns_here(self) -> set[str]:
        """The columns of the file that is being read."""
        return set(self._here)

    def begin_file(self, name: str, split: str | None = None) -> None:
        """The next file of a folder begins. Its rows get `split` unless they say it themselves."""
        self.file = self.name = name
        self._here, self._places = {}, None
        self._split, self._appended = split, ()

    def note(self, text: str) -> None:
        """Something a person should know about how the file was read."""
        self._notes.append(f"{self.file}: {text}" if self.file else text)

    def refuse(self, what: str, hint: str) -> DataError:
        """The error for a file that cannot be read; the caller raises it."""
        text = " ".join(what.split())
        cut = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} …"
        return DataError(f"{self.name}{'' if cut.startswith(',') else ' '}{cut}", hint=hint)

    def start(self, header: Sequence[str]) -> None:
        """The columns of a file with a header. Raises `DataError` where they cannot name cells."""
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None or "" in header:
            what = f"names {twice[:60]!r} twice" if twice else "names a column with nothing"
            raise self.refuse(f"has a header that {what}.", "Give every column a name of its own.")
        places = [self._place(name) for name in header]
        if self._split is not None and not _says_split(header):
            places.append(self._split_place())
            self._appended = (self._split,)
        self._places = None if places == list(range(len(self._columns))) else places

    def add(self, cells: Sequence[str | None], line: int, raw: str | Sequence[str]) -> None:
        """A record of a file with a header: one cell a column. `raw` is its text, or the lines of it."""
        row = (*cells, *self._appended) if self._appended else cells
        if self._places is not None:
            scattered: list[str | None] = [None] * len(self._columns)
            for place, cell in zip(self._places, row, strict=True):
                scattered[place] = cell
            row = scattered
        self._keep(row, line, raw, split_given=bool(self._appended))

    def add_record(self, record: Mapping[str, Any], line: int, raw: str) -> None:
        """A record that brings its own names. What is no text is kept as JSON text."""
        named = {key.strip(): _as_text(value) for key, value in record.items()}
        if len(named) < len(record) or "" in named:
            self.set_aside(line, "has a name that is empty, or there twice but for spaces", raw)
            return
        places = [self._place(name) for name in named]
        split_given = self._split is not None and not _says_split(named)
        if split_given:
            places.append(self._split_place())
        texts = (*named.values(), self._split) if split_given else named.values()
        cells: list[str | None] = [None] * len(self._columns)
        for place, cell in zip(places, texts, strict=True):
            cells[place] = cell
        self._keep(cells, line, raw, split_given=split_given)

    def _place(self, name: str) -> int:
        if name not in self._here:
            if len(self._columns) >= _MOST_COLUMNS and name not in self._columns:
                what = f"has more than {_MOST_COLUMNS:,} columns by row {self.rows_in + 1}."
                raise self.refuse(what, "Give every row the same few names.")
            if "\x00" in name or not _has_utf8(name):
                raise self.refuse(f"has a column name that is not text: {name!r}.", "Rename it.")
            self._here[name] = None
        return self._columns.setdefault(name, len(self._columns))

    def _split_place(self) -> int:
        """Not by `_place`: it is no column of the file's own, and files are compared by those."""
        return self._columns.setdefault(SPLIT, len(self._columns))

    def _keep(
        self, cells: Sequence[str | None], line: int, raw: str | Sequence[str], *, split_given: bool = False
    ) -> None:
        for index, cell in enumerate(cells):
            # NUL ends strings in much of what a text meets later, PostgreSQL for one.
            if cell:
                self._characters += len(cell)
                if "\x00" in cell or not (cell.isascii() or _has_utf8(cell)):
                    self._set_bad_aside(index, cell, line, raw)
                    return
        self._kept += 1
        if split_given:
            self.split_rows[self._split or ""] += 1
        self._rows.append(cells)
        if len(self._rows) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self._flush()

    def _set_bad_aside(self, index: int, cell: str, line: int, raw: str | Sequence[str]) -> None:
        column = list(self._columns)[index]
        what = "a NUL character" if "\x00" in cell else "bytes that are not text in the file's encoding"
        self.set_aside(line, f"column {column!r} holds {what}", raw)

    def set_aside(self, line: int, reason: str, raw: str | Sequence[str]) -> None:
        """A record that cannot be read."""
        text = raw if isinstance(raw, str) else "".join(raw)
        number = self.rows_in + 1
        self._aside_rows.append(number)
        self._aside.append(SetAside(row=number, line=line, reason=reason, raw=text.rstrip("\r\n"), file=self.file))
        self._kept_characters += len(text) + len(reason)
        self._spill()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._batches.append(batch_of(list(self._columns), self._rows))
        self._kept_characters += self._characters
        self._rows, self._characters = [], 0
        self._spill()

    def _spill(self) -> None:
        """Move what is held in memory to disk where it is much and there is a cache."""
        if self._draft is None or not (self._draft.begun or self._kept_characters > _IN_MEMORY):
            return
        if self._batches or len(self._aside) > 1_000 or not self._draft.begun:
            self._draft.write(self._batches, self._aside)
            self._batches, self._aside = [], []

    def finish(self) -> Table:
        """The table. Raises `DataError` where more than half of the rows were set aside."""
        self._flush()
        self._require_enough()
        if self._draft is not None and self._draft.begun:
            self._draft.write(self._batches, self._aside)
            return self._draft.finish(self.path, tuple(self._columns), self._aside_rows, tuple(self._notes))
        aside = tuple(self._aside)

        def load() -> Iterator[SetAside]:
            return iter(aside)

        return Table(
            path=self.path, columns=tuple(self._columns), batches=tuple(self._batches),
            aside_rows=tuple(self._aside_rows), load_aside=load, notes=tuple(self._notes),
        )  # fmt: skip

    def drop(self) -> None:
        """Leave nothing on disk: the file was refused."""
        if self._draft is not None:
            self._draft.drop()

    def _require_enough(self) -> None:
        if 2 * len(self._aside_rows) <= self.rows_in:
            return
        first = self._draft.first_aside() if self._draft and self._draft.begun else self._aside[0]
        place = f"row {first.row}" + (f" (line {first.line})" if first.line else "")
        name = f"{self.path.name}/{first.file}" if first.file else self.path.name
        lost = f"{len(self._aside_rows):,} of {self.rows_in:,} rows cannot be read"
        raise DataError(
            f"{name}, {place} {first.reason}; {lost}, too many to go on.",
            hint="Mend these rows, or save the file again from where it comes.",
        )


def _says_split(columns: Iterable[str]) -> bool:
    return any(column.casefold() == SPLIT for column in columns)


def _has_utf8(text: str) -> bool:
    """Half a surrogate pair has none; a byte that was no text in the file's encoding is carried as one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
