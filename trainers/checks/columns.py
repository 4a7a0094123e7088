"""Columns that hold nothing, or the same in every row."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.checks.finding import Finding
from trainers.checks.subject import Subject
from trainers.reading import Table

_FEWEST = 2  # in a single row, every column is constant


def columns(subject: Subject) -> Iterator[Finding]:
    """The answer's column is not looked at: `constant_answer` speaks of it."""
    names = [name for name in subject.table.columns if name != subject.mapping.output]
    values = {name: _kinds(subject.table, name) for name in names if len(subject.table) >= _FEWEST}
    goes_in = subject.mapping.input
    if len(values.get(goes_in, ())) == 1:
        yield Finding(
            check="columns",
            severity="error",
            text=f"The column that goes in, {goes_in!r}, is the same in every row.",
            effect="The model cannot tell the rows apart, and learns only how often each answer comes.",
        )
    others = {name: kinds for name, kinds in values.items() if name != goes_in and len(kinds) == 1}
    yield from _told("empty", [name for name, kinds in others.items() if kinds == {""}])
    yield from _told("the same in every row", [name for name, kinds in others.items() if kinds != {""}])


def _kinds(table: Table, name: str) -> set[str]:
    """What the column holds, spaces aside; not all of it from two on, as it is not constant then."""
    kinds: set[str] = set()
    for batch in table.batches:
        held = batch.column(name).unique().to_pylist() if name in batch.schema.names else [None]
        kinds |= {(cell or "").strip() for cell in held}
        if len(kinds) >= _FEWEST:
            break
    return kinds


def _told(how: str, names: list[str]) -> Iterator[Finding]:
    if names:
        what = f"Columns {', '.join(map(repr, names[:8]))} are" if len(names) > 1 else f"Column {names[0]!r} is"
        yield Finding(
            check="columns",
            severity="info",
            text=f"{what} {how}.",
            effect="It changes nothing while it is not mapped; in a prompt it would only cost tokens.",
        )
