"""Two texts, or two versions of a prompt, side by side, word by word. Owns the comparison; refuses to draw it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from prompts.versions import Demonstration, PromptVersion

Kind = Literal["same", "removed", "added"]
_SIGNS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Han, which put no space between words
_PIECES = re.compile(rf"\s+|[{_SIGNS}]|[^\W{_SIGNS}]+|[^\w\s]")
_LONG = 2000  # pieces; with all of them compared, a text of 6,000 takes three seconds


class Segment(BaseModel):
    """A run of text that is in both, only on the left, or only on the right."""

    model_config = ConfigDict(frozen=True)

    text: str
    kind: Kind


class DiffRow(BaseModel):
    """One part of a prompt in both versions; the two sides read as the whole texts."""

    model_config = ConfigDict(frozen=True)

    part: str
    left: tuple[Segment, ...]
    right: tuple[Segment, ...]

    @property
    def changed(self) -> bool:
        return any(segment.kind != "same" for segment in (*self.left, *self.right))


def side_by_side(before: PromptVersion, after: PromptVersion) -> tuple[DiffRow, ...]:
    """The parts of both: system prompt, the person's turn, examples, and what answers are held to.

    Examples that are the same in both are left out.
    """
    rows = [_row("system", before.system, after.system), _row("turn", before.template, after.template)]
    old, new = before.demonstrations, after.demonstrations
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            pairs = max(i2 - i1, j2 - j1)
            for n in range(pairs):
                left = _shown(old[i1 + n]) if i1 + n < i2 else ""
                right = _shown(new[j1 + n]) if j1 + n < j2 else ""
                rows.append(_row("example", left, right))
    rows.append(_row("answers", _held(before), _held(after)))
    return tuple(row for row in rows if row.left or row.right)


def _row(part: str, left: str, right: str) -> DiffRow:
    sides = compare_texts(left, right)
    return DiffRow(part=part, left=sides[0], right=sides[1])


def pieces(text: str) -> list[str]:
    """Words, marks and runs of white space, in order; together they are the text."""
    return _PIECES.findall(text)


def compare_texts(left: str, right: str) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Each text in segments that read as the whole: those of the left are same or removed, of the right same or added.

    Of texts of several thousand words, frequent ones are only found beside rare ones that both have.
    """
    a, b = pieces(left), pieces(right)
    matcher = difflib.SequenceMatcher(a=a, b=b, autojunk=max(len(a), len(b)) > _LONG)
    sides: tuple[list[Segment], list[Segment]] = ([], [])
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        for side, words, kind in ((sides[0], a[i1:i2], "removed"), (sides[1], b[j1:j2], "added")):
            if words:
                side.append(Segment(text="".join(words), kind="same" if tag == "equal" else kind))
    return tuple(sides[0]), tuple(sides[1])


def _shown(demonstration: Demonstration) -> str:
    return f"{demonstration.input} → {demonstration.output}"


def _held(version: PromptVersion) -> str:
    return f"held to {version.allowed.told}" if version.allowed else "free"


def summary(before: PromptVersion, after: PromptVersion) -> str:
    """What changed, in one line: words, examples, and what answers are held to."""
    return ", ".join(_changes(before, after)) or "no change"


def _changes(before: PromptVersion, after: PromptVersion) -> Iterator[str]:
    for row in (_row("system prompt", before.system, after.system), _row("turn", before.template, after.template)):
        removed = sum(len(s.text.split()) for s in row.left if s.kind == "removed")
        added = sum(len(s.text.split()) for s in row.right if s.kind == "added")
        if removed or added:
            yield f"{row.part}: +{added} −{removed} words"
    if before.demonstrations != after.demonstrations:
        yield f"{len(before.demonstrations)} → {len(after.demonstrations)} examples"
    if before.allowed != after.allowed:
        yield f"answers {_held(after)}"
