"""A folder of files of one shape, read as one table in the order of their names.

Owns which files count and that none of them lies outside: a link that leads out of the folder refuses it. Files that
are no table by their suffix are left out and noted. Where the files' names say which are for training and which for
testing, every row gets its split (see `splits`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainers.reading.sink import Sink
from trainers.reading.splits import splits_by_name

_MOST_FILES = 10_000


def read(folder: Path, sink: Sink, suffixes: tuple[str, ...], read_file: Callable[[Path, Sink], None]) -> None:
    """Read every table in a folder and below. Raises `DataError`."""
    first: tuple[str, set[str]] | None = None
    found = list(_files(folder, sink))
    tables = [(name, path) for name, path in found if path.suffix.lower() in suffixes]
    others = [name for name, path in found if path.suffix.lower() not in suffixes]
    splits = splits_by_name([name for name, _ in tables])
    for name, path in tables:
        sink.begin_file(name, splits.get(name))
        read_file(path, sink)
        here = sink.columns_here
        first = first or (name, here)
        if not (here <= first[1] or first[1] <= here):
            told = f"has the columns {_list(here)}, but {first[0]} has {_list(first[1])}."
            raise sink.refuse(told, "Keep files of one shape in a folder, or give one of them.")
    sink.begin_file(folder.name)
    sink.file = ""
    if first is None:
        raise sink.refuse("holds no file with a table.", f"Tables are known by their suffix: {', '.join(suffixes)}.")
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        sink.note(f"Left out, not tables by their suffix: {', '.join(others[:5])}{more}.")
    if told := _told(sink.split_rows):
        sink.note(told)


def _files(folder: Path, sink: Sink) -> Iterator[tuple[str, Path]]:
    """Names within the folder, and paths; hidden ones aside. Raises `DataError` for a way out."""
    root, count = folder.resolve(), 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *(name for name in folders if (Path(here) / name).is_symlink())]):
            path = Path(here) / name
            shown = path.relative_to(folder).as_posix()
            if name.startswith("."):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                sink.name = f"{folder.name}/{shown}"
                raise sink.refuse("is a link that leads out of the folder.", "Put the file itself there.")
            count += 1
            if count > _MOST_FILES:
                raise sink.refuse(f"holds more than {_MOST_FILES:,} files.", "Join them into fewer.")
            if path.is_file() and not path.is_symlink():  # what a link inside leads to is read by its own name
                yield shown, path


def _told(rows: Mapping[str, int]) -> str:
    """How many rows got which split, for the person."""
    names = {"train": "training", "dev": "checking", "test": "the test"}
    parts = [f"{name} ({rows[split]:,})" for split, name in names.items() if rows.get(split)]
    if not parts:
        return ""
    last = f" and {parts[-1]}" if len(parts) > 1 else ""
    unsaid = rows.get("", 0)
    silent = f" Of {unsaid:,} row{'s' if unsaid > 1 else ''} they say nothing." if unsaid else ""
    return f"The files' names say which rows are for {', '.join(parts[:-1] or parts)}{last}.{silent}"


def _list(columns: set[str]) -> str:
    return ", ".join(sorted(columns))
