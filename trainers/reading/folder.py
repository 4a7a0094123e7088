"""A folder of files of one shape, read as one table in the order of their names.

Owns which files count and that none of them lies outside: a link that leads out of the folder refuses it. Files that
are no table by their suffix are left out and noted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from trainers.reading.sink import Sink

_MOST_FILES = 10_000


def read(folder: Path, sink: Sink, suffixes: tuple[str, ...], read_file: Callable[[Path, Sink], None]) -> None:
    """Read every table in a folder and below. Raises `DataError`."""
    first: tuple[str, set[str]] | None = None
    others = []
    for name, path in _files(folder, sink):
        if path.suffix.lower() not in suffixes:
            others.append(name)
            continue
        sink.begin_file(name)
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


def _list(columns: set[str]) -> str:
    return ", ".join(sorted(columns))
