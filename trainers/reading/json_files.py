"""JSON in the ways that people keep rows in it: one object a line, one after another, a list, or an object around one.

Owns telling these apart and what counts as a row. Refuses to know encodings. In JSON lines a bad line costs itself; in
the others JSON gives no place to go on from, so that a syntax error refuses the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TextIO

from trainers.reading.json_values import BadJson, Values, decode
from trainers.reading.sink import Sink
from trainers.reading.text import decoded_head, open_text

LINES = (".jsonl", ".ndjson")
_HINT = "Give a JSONL file with one object a line, or a CSV file with a header row."
_START = re.compile(r"\s*(?:\{\s*(?:[\"}]|$)|\[\s*(?:[\[\]{\"\d]|true|false|null|-\d|$))")
_LONGEST_LINE = 1 << 27
_SMALL = 1 << 24  # characters of a document that is looked at whole to tell what it is
_TURNS = {"messages", "conversations", "conversation", "prompt", "chosen", "rejected", "completion"}


def looks(head: bytes) -> bool:
    return bool(_START.match(decoded_head(head).lstrip("\ufeff")))


def read(path: Path, sink: Sink) -> None:
    """Read JSON in any of its layouts. Raises `DataError`."""
    with open_text(path, sink) as stream:
        try:
            layout = _layout(stream, path, sink)
            stream.seek(0)
            layout(stream, sink)
        except BadJson as error:
            place = f", line {error.line}, column {error.column}, is not valid JSON: {error.reason}."
            raise sink.refuse(place, _HINT) from error


def _layout(stream: TextIO, path: Path, sink: Sink) -> Any:
    """The reader for what is there."""
    if path.suffix.lower() in LINES or _are_lines(stream, sink):
        return _read_lines
    stream.seek(0)
    values = Values(stream, _SMALL)
    if values.peek() == "[":
        return _read_list
    try:
        values.value()
        return _read_values if values.peek() else _read_document
    except BadJson as error:
        if "more than" in error.reason:  # one large object
            return _read_document
        raise


def _are_lines(stream: TextIO, sink: Sink) -> bool:
    """Whether one of the first two lines is an object of its own, and there is more than that one."""
    first, second = _filled_line(stream, sink), _filled_line(stream, sink)
    if not second or first.lstrip("\ufeff \t").startswith("["):
        return False
    return _is_object(first) or _is_object(second)


def _filled_line(stream: TextIO, sink: Sink) -> str:
    """The next line that is not blank, or nothing."""
    while (line := _line(stream, sink, 0)) and not line.strip():
        pass
    return line


def _is_object(line: str) -> bool:
    try:
        return isinstance(decode(line)[0], dict)
    except BadJson:
        return False


def _line(stream: TextIO, sink: Sink, number: int) -> str:
    line = stream.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE and not line.endswith("\n"):
        raise sink.refuse(f", line {number or 1}, has more than {_LONGEST_LINE:,} characters.", "Put one row a line.")
    return line


def _read_lines(stream: TextIO, sink: Sink) -> None:
    number = 0
    while line := _line(stream, sink, number + 1):
        number += 1
        if not line.strip():
            continue
        try:
            value, doubt = decode(line)
        except BadJson as error:
            sink.set_aside(number, f"is not valid JSON at column {error.column} ({error.reason})", line)
        else:
            _add(value, doubt, number, line, sink)


def _add(value: Any, doubt: str, line: int, raw: str, sink: Sink) -> None:
    if not isinstance(value, dict):
        kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
        sink.set_aside(line, f"is {kinds.get(type(value), 'a number')}, not a JSON object", raw)
    elif doubt or not value:
        sink.set_aside(line, doubt or "is an empty object", raw)
    else:
        sink.add_record(value, line, raw)


def _read_values(stream: TextIO, sink: Sink) -> None:
    values = Values(stream)
    while values.peek():
        line = values.line
        value = values.value()
        _add(value, values.doubt, line, values.raw, sink)


def _read_list(stream: TextIO, sink: Sink) -> None:
    values = Values(stream)
    if _read_items(values, sink) == 0:
        raise sink.refuse("is an empty list.", _HINT)
    if values.peek():
        raise values.bad("something follows the list")


def _read_items(values: Values, sink: Sink) -> int:
    """The items of the list at the cursor as rows, and how many there are."""
    values.take("[")
    count = 0
    while values.peek() != "]":
        if count:
            values.take(",")
            values.peek()
        line = values.line
        value = values.value()
        _add(value, values.doubt, line, values.raw, sink)
        count += 1
    values.take("]")
    return count


def _read_document(stream: TextIO, sink: Sink) -> None:
    """One object: a list of rows inside it, or a list for each column, or one row."""
    values = Values(stream)
    values.take("{")
    rows: str | None = None
    others: dict[str, Any] = {}
    while values.peek() != "}":
        if rows is not None or others:
            values.take(",")
        name = _name(values, {*others, rows})
        if values.peek() != "[" or name in _TURNS or not values.holds_objects():
            others[name] = values.value()
            if values.doubt:
                raise sink.refuse(f"{values.doubt} within {name!r}.", "Give every value a name of its own.")
        elif rows is None:
            rows = name
            _read_items(values, sink)
        else:
            raise sink.refuse(f"holds several lists of rows: {rows}, {name}.", "Keep one of them in the file.")
    values.take("}")
    if values.peek():
        raise values.bad("something follows the object")
    if rows is None:
        _read_columns_or_row(others, sink)
    elif others:
        sink.note(f"The rows are the list {rows!r}; beside it stand {', '.join(map(repr, others))}, left out.")


def _name(values: Values, known: set[str | None]) -> str:
    """The next name of the object and the colon behind it."""
    values.peek()
    name = values.value()
    if not isinstance(name, str):
        raise values.bad("a name is no text")
    if name in known:
        raise values.bad(f"names {name!r} twice")
    values.take(":")
    return name


def _read_columns_or_row(found: dict[str, Any], sink: Sink) -> None:
    columns = {name: value for name, value in found.items() if isinstance(value, list)}
    if not found:
        raise sink.refuse("is an empty object.", _HINT)
    if len(columns) < len(found) or (_TURNS & found.keys() and all(map(_is_turns, columns.values()))):
        sink.add_record(found, 1, str(found))
        return
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise sink.refuse(f"has columns of different lengths: {told}.", "Give every column a value for each row.")
    for cells in zip(*columns.values(), strict=True):
        record = dict(zip(columns, cells, strict=True))
        sink.add_record(record, 0, str(record))


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(turn, dict) for turn in value)
