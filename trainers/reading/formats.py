"""The registry of formats, and reading a file by the first one that knows it.

Owns the order: content before suffix. Refuses to know any format itself.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prompts.errors import DataError
from trainers.paths import default_paths
from trainers.reading import delimited, excel, folder, json_files, parquet, refused, store
from trainers.reading.sink import Sink
from trainers.reading.table import Table

_HINT = "Give a CSV file with a header row, or a JSONL file with one object a line."
_HEAD = 4096
_EXCEL = (".xlsx", ".xlsm")


@dataclass(frozen=True)
class Format:
    """A format: how its content is known, the suffixes it goes by, its reader.

    `sure`: the content always tells, so that a suffix without it proves nothing.
    """

    looks: Callable[[Path, bytes], bool]
    suffixes: tuple[str, ...]
    read: Callable[[Path, Sink], None]
    sure: bool = False


def _is_workbook(path: Path, head: bytes) -> bool:
    """A damaged workbook counts, as long as its suffix and its first bytes agree."""
    return head.startswith(b"PK") and (path.suffix.lower() in _EXCEL or excel.is_workbook(path))


# The first whose content looks right reads the file; else the one with its suffix; else the last.
FORMATS = (
    Format(_is_workbook, _EXCEL, excel.read, sure=True),
    Format(lambda _, head: parquet.looks(head), (".parquet", ".pq"), parquet.read, sure=True),
    Format(lambda _, head: refused.looks(head), (), refused.read, sure=True),
    Format(lambda _, head: json_files.looks(head), (".json", *json_files.LINES), json_files.read),
    Format(lambda _, head: False, (".csv", ".tsv", ".tab", ".psv", ".txt"), delimited.read),
)
SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)


def read_table(path: Path, cache: Path | None = None) -> Table:
    """Read a file or a folder of files, whatever the format. Raises `DataError` with place and remedy.

    A large one is converted once, into `cache` (by default a folder in the app's own), and mapped from there.
    """
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"There is no file {path}.", hint="Check the path.")
    try:
        place = store.place_for(path, cache or default_paths().cache / "tables")
        return store.load(path, place) or _convert(path, place)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            hint = "Free some space, or point TUNEWRIGHT_CACHE at a larger disk."
            raise DataError(f"The disk is full; {path.name} could not be converted.", hint=hint) from error
        reason = error.strerror or str(error)
        raise DataError(f"{path.name} cannot be read: {reason}.", hint="Check its permissions.") from error


def _convert(path: Path, place: Path) -> Table:
    sink = Sink(path, place)
    try:
        if path.is_dir():
            folder.read(path, sink, SUFFIXES, _read_file)
        else:
            _read_file(path, sink)
        return sink.finish()
    except BaseException:
        sink.drop()
        raise


def _read_file(path: Path, sink: Sink) -> None:
    before = sink.rows_in
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        raise sink.refuse("is empty.", _HINT)
    _format_of(path, head).read(path, sink)
    if sink.rows_in == before:
        raise sink.refuse("has a header but no rows.", "Add at least one row below the header.")


def _format_of(path: Path, head: bytes) -> Format:
    by_content = (known for known in FORMATS if known.looks(path, head))
    by_suffix = (known for known in FORMATS if path.suffix.lower() in known.suffixes and not known.sure)
    return next(by_content, None) or next(by_suffix, None) or FORMATS[-1]
