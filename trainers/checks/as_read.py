"""How the file was read, where a person should know: its shape, notes of the reader, and what was set aside."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.checks.finding import Finding, counted
from trainers.checks.subject import Subject
from trainers.reading import detect_shape


def as_read(subject: Subject) -> Iterator[Finding]:
    table = subject.table
    shape = detect_shape(table) if subject.mapping.shape else None
    said = [*table.notes, *([shape.says] if shape and shape.kind == subject.mapping.shape else [])]
    yield from (Finding(check="as_read", severity="info", text=text) for text in said)


def set_aside(subject: Subject) -> Iterator[Finding]:
    table = subject.table
    first = next(iter(table.set_aside), None)
    if first is None:
        return
    place = f"line {first.line}" if first.line else f"row {first.row}"
    where = f"{first.file}, {place}" if first.file else place
    yield Finding(
        check="set_aside",
        severity="warning",
        text=f"{counted(table.aside_rows)} could not be read, set aside. The first ({where}) {first.reason}.",
        rows=tuple(table.aside_rows),
        effect="The training does not see them. Mend them in the file, or leave them out.",
    )
