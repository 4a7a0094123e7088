"""Rows longer than a training or the model itself will read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainers.checks.finding import Finding
from trainers.checks.subject import Subject

LIMITS = (512, 1024, 2048)


def cut_at(lengths: Sequence[int], limit: int | None) -> dict[int, int]:
    """How many rows would be cut at the usual limits and at the model's own."""
    limits = sorted({*LIMITS, limit} if limit else LIMITS)
    return {at: sum(length > at for length in lengths) for at in limits}


def too_long(subject: Subject) -> Iterator[Finding]:
    """The longest rows first, so that the first `cut_at[limit]` of them are the ones cut at that limit."""
    cuts = cut_at(subject.lengths, subject.limit)
    smallest = min(cuts)
    if not cuts[smallest]:
        return
    pairs = sorted(zip(subject.lengths, subject.examples, strict=True), key=lambda pair: (-pair[0], pair[1].row))
    told = ", ".join(
        f"{count:,} at {'the model’s limit of ' if at == subject.limit else ''}{at:,}" for at, count in cuts.items()
    )
    yield Finding(
        check="too_long",
        severity="error" if subject.limit and cuts[subject.limit] else "warning",
        text=f"Rows that would be cut, by the most tokens of a row: {told}.",
        rows=tuple(example.row for length, example in pairs if length > smallest),
        effect="A cut row loses its end, and the answer stands there: the model would learn from the question alone.",
        examples=tuple(f"row {example.row}: {length:,} tokens" for length, example in pairs[:5]),
    )
