"""Changes to rows as they were read: a list that can be undone, kept beside the data, which stays as it is.

Owns the five things that can be done to a row, and their files. Refuses to decide: a person asks for each.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from prompts.errors import DataError
from trainers.checks.hidden import cleaned
from trainers.checks.personal import masked
from trainers.data import Example
from trainers.paths import write_atomically

Action = Literal["drop_rows", "mask", "clean", "answer", "add_rows"]
_Change = Callable[[Example, Example], Example | None]


class Edit(BaseModel):
    """One change to `count` rows, in words, and the file of these rows: JSON lines, `row` and what the action needs.

    `answer` needs `output`, `add_rows` also `input` and `origin`. The file is named by its content and never changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    words: str
    count: int
    rows: Path

    def lines(self) -> Iterator[Example]:
        """The rows of the change. Raises `DataError` where its file is gone or damaged."""
        try:
            with self.rows.open(encoding="utf-8") as lines:
                yield from (Example(**{"input": "", "output": "", **json.loads(line)}) for line in lines)
        except (OSError, ValueError, TypeError) as error:
            told = f"The change {self.words!r} cannot be read from {self.rows}: {error}."
            raise DataError(told, hint="Undo it in the Data panel.") from error


def keep_edit(folder: Path, action: Action, words: str, rows: Iterable[Example]) -> Edit:
    """Write a change into `folder`."""
    lines = [json.dumps(_needed(action, row), ensure_ascii=False) for row in rows]
    text = "".join(f"{line}\n" for line in lines)
    path = folder / f"{action}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
    if not path.exists():
        write_atomically(path, text)
    return Edit(action=action, words=words, count=len(lines), rows=path)


def _needed(action: Action, row: Example) -> dict[str, object]:
    if action == "add_rows":
        return {name: value for name, value in asdict(row).items() if value != ""}
    return {"row": row.row, "output": row.output} if action == "answer" else {"row": row.row}


_CHANGES: dict[Action, _Change] = {
    "drop_rows": lambda row, change: None,
    "mask": lambda row, change: _rewritten(row, masked),
    "clean": lambda row, change: _rewritten(row, cleaned),
    "answer": lambda row, change: replace(row, output=change.output),
}


def _rewritten(row: Example, rewrite: Callable[[str], str]) -> Example:
    return replace(row, input=rewrite(row.input), output=rewrite(row.output), rejected=rewrite(row.rejected))


def additions(edits: Sequence[Edit]) -> list[list[Example]]:
    """The rows that were added, one list a change."""
    return [list(edit.lines()) for edit in edits if edit.action == "add_rows"]


def edited(rows: Iterable[Example], edits: Sequence[Edit]) -> Iterator[Example]:
    """The rows after all changes, in their order; dropped ones are gone."""
    wanted: dict[int, list[tuple[_Change, Example]]] = defaultdict(list)
    for edit in edits:
        if edit.action != "add_rows":
            for line in edit.lines():
                wanted[line.row].append((_CHANGES[edit.action], line))
    for row in rows:
        after: Example | None = row
        for change, line in wanted.get(row.row, ()):
            after = after and change(after, line)
        if after is not None:
            yield after


def dropped(edits: Sequence[Edit]) -> frozenset[int]:
    """The numbers of the rows that were dropped."""
    return frozenset(line.row for edit in edits if edit.action == "drop_rows" for line in edit.lines())


def next_row(last: int, edits: Sequence[Edit]) -> int:
    """A number that no row has or had: above `last`, the file's last one, and above every row in a change."""
    return max([last, *(line.row for edit in edits for line in edit.lines())]) + 1
