"""A person's decisions as changes of the data: putting one row into a change, and taking rows out of one again.

Owns which change a row goes to. Refuses to write the project's list, which is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from assistant.databench import ANSWERED, APPROVED, approved
from trainers.data import Example
from trainers.edits import Action, Edit, keep_edit

DROPPED = "Dropped by you"
_MERGED = 200  # decisions in one change: each of them writes its file anew


def with_row(folder: Path, edits: tuple[Edit, ...], action: Action, words: str, row: Example) -> tuple[Edit, ...]:
    """The changes with one more row: in a change of that kind that a person made row by row, or in a new one.

    A row goes past later changes only where those are about other rows, so that the outcome is the same.
    """
    for index in reversed(range(len(edits))):
        edit = edits[index]
        if edit.words not in (ANSWERED, DROPPED) or (edit.action == action and edit.count >= _MERGED):
            break
        lines = list(edit.lines())
        if any(line.row == row.row for line in lines):
            break
        if edit.action == action:
            return (*edits[:index], keep_edit(folder, action, words, [*lines, row]), *edits[index + 1 :])
    return (*edits, keep_edit(folder, action, words, [row]))


def without_rows(folder: Path, edits: tuple[Edit, ...], action: Action, rows: Iterable[int]) -> tuple[Edit, ...]:
    """The changes without what the last ones of that kind do to these rows; a change that is empty then is gone."""
    wanted, after = set(rows), list(edits)
    for index in reversed(range(len(edits))):
        edit = edits[index]
        if edit.action != action or not wanted:
            continue
        lines = list(edit.lines())
        rest = [line for line in lines if line.row not in wanted]
        if len(rest) < len(lines):
            wanted -= {line.row for line in lines}
            words = approved(len(rest)) if edit.words.startswith(APPROVED) else edit.words
            after[index : index + 1] = [keep_edit(folder, action, words, rest)] if rest else []
    return tuple(after)


def rows_of(edits: Iterable[Edit], action: Action) -> set[int]:
    """The numbers of all rows that the changes of that kind are about."""
    return {line.row for edit in edits if edit.action == action for line in edit.lines()}
