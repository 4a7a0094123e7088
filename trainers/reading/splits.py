"""Splits that the data brings along: by the names of a folder's files, or by a column that says so.

Owns which words mean which split. Refuses to divide anything (that is `data`) and to guess from anything but words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from trainers.reading.table import Row, Table

Split = Literal["train", "dev", "test"]

SPLIT = "split"  # the column that a folder's files get where their names say it
_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "dev": "dev", "val": "dev", "valid": "dev", "validate": "dev", "validation": "dev", "eval": "dev",
}  # fmt: skip
_COLUMNS = (SPLIT, "set", "subset", "partition", "fold")
_LOOKED_AT = 1_000
_WORD = re.compile(r"[^\W\d_]+")
_SHARD = re.compile(r"[-_.]?\d+[-_.]of[-_.]\d+$")


def given_split(value: str) -> Split | Literal[""]:
    """The split that a cell names, in any case and by any of its names, or nothing."""
    return _WORDS.get(value.strip().casefold(), "")


def split_column(table: Table) -> str | None:
    """The column that says of each row which split it is for, or None.

    It goes by one of a few names, holds nothing but such words in the first rows, and two different ones or more.
    """
    by_name = {column.strip().casefold(): column for column in reversed(table.columns)}
    candidates = [by_name[name] for name in _COLUMNS if name in by_name]
    if not candidates:
        return None
    head = table.head(_LOOKED_AT)
    return next((column for column in candidates if _says_only(head, column) and _says_two(table, column)), None)


def _says_only(rows: Sequence[Row], column: str) -> bool:
    cells = [row.get(column, "").strip() for row in rows]
    return all(given_split(cell) for cell in cells if cell)


def _says_two(table: Table, column: str) -> bool:
    """Whether two splits are named; read batch by batch, as a test split often stands at the very end."""
    found: set[str] = set()
    for batch in table.batches:
        if column in batch.schema.names:
            found |= {given_split(cell or "") for cell in batch.column(column).unique().to_pylist()} - {""}
            if len(found) > 1:
                return True
    return False


def splits_by_name(names: Sequence[str]) -> Mapping[str, str]:
    """What the names of a folder's files say; empty unless one is for training and another is not.

    A file whose name says nothing has "".
    """
    told = {name: _split_of(name) for name in names}
    return told if "train" in told.values() and {"dev", "test"} & set(told.values()) else {}


def _split_of(name: str) -> str:
    """By the file's own name, else by the nearest sub-folder's that says anything."""
    path = PurePosixPath(name)
    stems = [_SHARD.sub("", path.stem), *(folder.name for folder in path.parents)]
    return next((split for stem in stems if (split := _split_in(stem))), "")


def _split_in(stem: str) -> str:
    """The split named by the first or the last word, unless the name holds words for several (`train_test_split`)."""
    words = [_WORDS.get(word, "") for word in _WORD.findall(stem.casefold())]
    if len(set(words) - {""}) != 1:
        return ""
    return words[0] or words[-1]
