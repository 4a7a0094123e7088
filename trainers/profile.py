"""What is in the data, and what would spoil a training. In its first form.

Owns counting and findings. Refuses to change the data or to advise on strategy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from prompts.versions import PromptVersion
from trainers.data import Example, Mapping, labels_of, normal
from trainers.reading import Table, detect_shape
from trainers.tokens import TokenCounter


class Finding(BaseModel):
    """One thing worth knowing. `rows` count from 1 below the header."""

    model_config = ConfigDict(frozen=True)

    severity: Literal["info", "warning", "error"]
    text: str
    rows: tuple[int, ...] = ()


class DatasetProfile(BaseModel):
    """Counts, label balance, lengths in tokens (prompt and answer together), findings."""

    model_config = ConfigDict(frozen=True)

    rows: int
    usable: int
    labels: dict[str, int]
    token_lengths: tuple[int, ...] = ()
    answer_tokens: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def median_tokens(self) -> int:
        """The median row length in tokens, 0 where lengths were not counted."""
        return sorted(self.token_lengths)[len(self.token_lengths) // 2] if self.token_lengths else 0

    @property
    def longest_tokens(self) -> int:
        return max(self.token_lengths, default=0)


def profile_data(
    table: Table, mapping: Mapping, examples: Sequence[Example], prompt: PromptVersion, tokens: TokenCounter | None
) -> DatasetProfile:
    """Profile a mapped table. Without a token counter, lengths are left out."""
    labels = labels_of(examples)
    counts = Counter(example.output for example in examples) if labels else Counter()
    lengths, answer = _lengths(examples, prompt, tokens) if tokens else ((), 0)
    findings = [
        *_as_read(table, mapping),
        _set_aside(table),
        _unusable(table, examples),
        _duplicates(examples),
        _contradictions(examples),
        _rare_labels(counts),
        _one_answer(examples),
    ]
    return DatasetProfile(
        rows=len(table),
        usable=len(examples),
        labels=dict(counts.most_common()),
        token_lengths=lengths,
        answer_tokens=answer,
        findings=tuple(finding for finding in findings if finding),
    )


def _lengths(examples: Sequence[Example], prompt: PromptVersion, tokens: TokenCounter) -> tuple[tuple[int, ...], int]:
    """Tokens of each whole row, and of the longest answer."""
    from prompts.chat_model import Message

    whole, longest = [], 0
    for example in examples:
        asked = prompt.messages(example.input)
        full = tokens.count([*asked, Message(role="assistant", content=example.output)], for_reply=False)
        longest = max(longest, full - tokens.count(asked))
        whole.append(full)
    return tuple(whole), longest


def _as_read(table: Table, mapping: Mapping) -> list[Finding]:
    """How the file was read, where a person should know."""
    shape = detect_shape(table) if mapping.shape else None
    said = [*table.notes, *([shape.says] if shape and shape.kind == mapping.shape else [])]
    return [Finding(severity="info", text=text) for text in said]


def _set_aside(table: Table) -> Finding | None:
    first = next(iter(table.set_aside), None)
    if first is None:
        return None
    place = f"line {first.line}" if first.line else f"row {first.row}"
    where = f"{first.file}, {place}" if first.file else place
    text = f"{_count(table.aside_rows)} could not be read, set aside. The first ({where}) {first.reason}."
    return Finding(severity="warning", text=text, rows=tuple(table.aside_rows))


def _unusable(table: Table, examples: Sequence[Example]) -> Finding | None:
    kept = {example.row for example in examples}
    lost = tuple(number for number in table.numbers() if number not in kept)
    if not lost:
        return None
    text = f"{_count(lost)} without an input or an answer, left out."
    return Finding(severity="warning", text=text, rows=lost)


def _count(rows: Sequence[int]) -> str:
    return f"{len(rows)} row{'s' if len(rows) != 1 else ''}"


def _by_input(examples: Sequence[Example]) -> dict[str, list[Example]]:
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[normal(example.input)].append(example)
    return groups


def _duplicates(examples: Sequence[Example]) -> Finding | None:
    again = tuple(e.row for group in _by_input(examples).values() for e in group[1:])
    if not again:
        return None
    text = f"{_count(again)} with an input that is there already. Such rows stay in one split together."
    return Finding(severity="info", text=text, rows=again)


def _contradictions(examples: Sequence[Example]) -> Finding | None:
    groups = _by_input(examples).values()
    rows = tuple(e.row for group in groups if len({e.output for e in group}) > 1 for e in group)
    if not rows:
        return None
    text = f"{len(rows)} rows have the same input but different answers. The model cannot learn both."
    return Finding(severity="warning", text=text, rows=rows)


def _rare_labels(counts: Counter[str]) -> Finding | None:
    rare = [label for label, count in counts.items() if count < 8]
    if not rare:
        return None
    text = f"Fewer than 8 examples for: {', '.join(rare[:8])}. Expect the model to miss these."
    return Finding(severity="warning", text=text)


def _one_answer(examples: Sequence[Example]) -> Finding | None:
    if len({example.output for example in examples}) > 1:
        return None
    return Finding(severity="error", text="Every row has the same answer. There is nothing to learn.")
