"""CSV, TSV and their kin: any delimiter, quotes, ragged rows.

Owns finding the delimiter and whether there is a header, and going on after a row that cannot be read. Refuses to know
encodings. A quote that is never closed costs its own line, not the rest of the file.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from trainers.reading.sink import Sink
from trainers.reading.text import open_text

_NEVER = "\x1f"  # parts nothing: commas in a lone column without quotes belong to the text
_NAME_WORDS, _LONE_NAME_WORDS = 12, 4  # survey tools name columns by the whole question
_HINT = "Give a CSV file with a header row, or a JSONL file with one object a line."
_COMMON, _RARE = ",;\t|", "^~\x1f\x01:"
_SAMPLE, _SAMPLE_ROWS = 65_536, 200
_LONGEST = 1 << 26  # characters of one record; 50 MB in one cell are read, a stray quote does not swallow a gigabyte
_READ_AGAIN = 1 << 28  # characters that stray quotes may cost in all
# csv refuses fields over 131,072 characters by default; a document may be longer.
csv.field_size_limit(2 * _LONGEST)


class _Lines:
    """Lines for csv.reader, with those of the record at hand, some of which can be put back."""

    def __init__(self, stream: TextIO, sink: Sink) -> None:
        self._stream = stream
        self._sink = sink
        self._back: deque[str] = deque()
        self._again = 0
        self._size = 0
        self.line = 0  # lines read so far
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > _LONGEST:
            raise csv.Error(f"a quote is open for more than {_LONGEST:,} characters")
        line = self._back.popleft() if self._back else self._stream.readline(_LONGEST)
        if not line:
            raise StopIteration
        if len(line) == _LONGEST and not line.endswith("\n"):
            what = f", line {self.line + 1}, has more than {_LONGEST:,} characters."
            raise self._sink.refuse(what, "Shorten it, or check the file's line ends.")
        self.line += 1
        self._size += len(line)
        self.record.append(line)
        return line

    def begin(self) -> None:
        """The next record begins."""
        self.record, self._size = [], 0

    def put_back_all_but_one(self) -> bool:
        """Read the lines after the record's first one again. False where that was done too often."""
        rest = self.record[1:]
        self._back.extendleft(reversed(rest))
        self.line -= len(rest)
        self._again += sum(map(len, rest))
        del self.record[1:]
        return self._again <= _READ_AGAIN


def read(path: Path, sink: Sink) -> None:
    """Read a delimited file. Raises `DataError`."""
    with open_text(path, sink) as stream:
        sample = stream.read(_SAMPLE)
        skipped, delimiter = _delimiter(sample, path, sink)
        stream.seek(0)
        lines = _Lines(stream, sink)
        for _ in range(skipped):
            next(lines)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _header(reader, lines, sink)
        if _is_row(header, sample, delimiter):
            sink.note("The file has no header row; its columns were named by number.")
            names = [f"column {index}" for index in range(1, len(header) + 1)]
            sink.start(names)
            sink.add(header, lines.line, lines.record)
            _read_rows(reader, lines, names, sink)
        else:
            while len(header) > 1 and not header[-1]:
                header.pop()  # a delimiter at the end of each line
            header[0] = header[0] or "column 1"  # pandas gives its index no name
            sink.start(header)
            _read_rows(reader, lines, header, sink)


def _header(reader: Iterator[list[str]], lines: _Lines, sink: Sink) -> list[str]:
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                return [cell.strip() for cell in cells]
            lines.begin()
    except csv.Error as error:
        first = lines.line - len(lines.record) + 1
        raise sink.refuse(f"has a header, line {first}, that is not valid CSV: {error}.", _HINT) from error
    raise sink.refuse("is empty.", _HINT)


def _read_rows(reader: Iterator[list[str]], lines: _Lines, header: list[str], sink: Sink) -> None:
    width = len(header)
    while True:
        lines.begin()
        first = lines.line + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not lines.put_back_all_but_one():
                raise sink.refuse(f"has quotes that are not closed, from line {first} on.", "Close them.") from error
            sink.set_aside(first, f"is not valid CSV ({error})", lines.record)
            continue
        if len(cells) == width:
            if any(cell.strip() for cell in cells):
                _add(cells, header, first, lines, sink)
        elif any(cell.strip() for cell in cells):
            if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
                _add(cells[:width], header, first, lines, sink)
                continue
            fields = f"{len(cells)} field{'s' if len(cells) != 1 else ''}"
            sink.set_aside(first, f"has {fields}, but the header has {width}", lines.record)


def _add(cells: list[str], header: list[str], line: int, lines: _Lines, sink: Sink) -> None:
    if cells[0].strip() == header[0] and [cell.strip() for cell in cells] == header:
        sink.set_aside(line, "repeats the header", lines.record)
    else:
        sink.add(cells, line, lines.record)


def _delimiter(sample: str, path: Path, sink: Sink) -> tuple[int, str]:
    """How many lines to skip, and the delimiter."""
    lines = sample.split("\n")
    if match := re.fullmatch(r"sep=(.)", lines[0].strip("\r")):  # Excel's own way to say it
        return 1, match[1]
    header = re.sub(r'"[^"]*"', "", next((line for line in lines if line.strip()), ""))
    for known in ("\t" if path.suffix.lower() == ".tsv" else "", _COMMON, _RARE):
        candidates = [mark for mark in known if mark in header]
        scores = {mark: _score(sample, mark) for mark in candidates}
        best = max(scores, key=lambda mark: scores[mark], default=None)
        if best is not None and (known != _RARE or scores[best][0] == 1):
            return 0, best
    if not sample.strip():
        raise sink.refuse("is empty.", _HINT)
    if _is_one_column(lines):
        return 0, "," if '"' in sample else _NEVER
    raise sink.refuse("is neither CSV nor JSONL: its first line has no comma, semicolon, tab or bar.", _HINT)


def _is_one_column(lines: list[str]) -> bool:
    """Whether one word, as a name, stands above lines of text: inputs that nobody has answered yet."""
    first, *others = [line.strip() for line in lines if line.strip()]
    return bool(re.fullmatch(r'"?[^\W\d]\w*"?', first)) and len(others) > 1


def _score(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that are as wide as the header, and that width."""
    rows = _sample_rows(sample, delimiter)
    if len(rows) < 2:
        return (0.0, len(rows[0]) if rows else 0)
    width = len(rows[0])
    return sum(len(row) == width for row in rows[1:]) / (len(rows) - 1), width


def _sample_rows(sample: str, delimiter: str) -> list[list[str]]:
    """Rows of the sample, the last of a long one aside, which may be cut."""
    lines = sample.split("\n")[: _SAMPLE_ROWS if len(sample) < _SAMPLE else -1]
    rows = []
    try:
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) >= _SAMPLE_ROWS:
                break
    except csv.Error:
        return rows
    return rows


def _is_row(header: list[str], sample: str, delimiter: str) -> bool:
    """Whether what stands first is a row: one of its cells comes again in its column, twice at least, is a number, or
    has more words than a column's name would, of which a lone column's has four at most.

    Not where the whole line comes again, as it does where files with headers were joined, nor where the numbers count
    the columns, as pandas writes them.
    """
    if header in ([str(i) for i in range(len(header))], ["", *(str(i) for i in range(len(header) - 1))]):
        return False
    rows = [[cell.strip() for cell in row] for row in _sample_rows(sample, delimiter)][1:]
    others = [row for row in rows if len(row) == len(header) and row != header]
    again = any(cell and sum(row[i] == cell for row in others) >= 2 for i, cell in enumerate(header))
    most_words = _NAME_WORDS if len(header) > 1 else _LONE_NAME_WORDS
    wordy = any(len(cell.split()) > most_words for cell in header)
    return again or wordy or any(re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in header)
