"""The words that checks look for, kept as YAML, and finding them in a draft. Refuses to judge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from prompts.critique.remark import Draft, Span

_NEGATED = re.compile(
    r"(?:\bnever|\bnot|\bno|n't|\bnie|\bnicht|\bkein\w*|\bjamais|\bne|\bpas|\bnunca|\bsin|\bwithout)\s+(?:\w+\s+){0,2}$",
    re.I,
)


@cache
def _wordings() -> dict[str, Any]:
    return dict(yaml.safe_load(files(__package__).joinpath("words", "wording.yaml").read_text("utf-8")))


def entries(name: str) -> dict[str, str]:
    """A group of patterns, each with what goes with it."""
    return dict(_wordings()[name])


def pattern(name: str) -> re.Pattern[str]:
    """One pattern by its name, on word borders."""
    return bounded(text_of(name))


def text_of(name: str) -> str:
    """A pattern as it is written, for those that set their own borders and case."""
    return str(_wordings()[name])


@cache
def bounded(words: str) -> re.Pattern[str]:
    """The pattern on word borders, without case."""
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


def find(draft: Draft, looked_for: re.Pattern[str]) -> Span | None:
    """Where a pattern stands first, in the system prompt or else in the person's turn."""
    return next(found(draft, looked_for), None)


def found(draft: Draft, looked_for: re.Pattern[str]) -> Iterator[Span]:
    """Every place where a pattern stands."""
    for part in ("system", "template"):
        for match in looked_for.finditer(str(getattr(draft.version, part))):
            yield Span(part=part, start=match.start(), end=match.end())


def is_negated(draft: Draft, span: Span) -> bool:
    """Whether the words before say that this shall not be."""
    return _NEGATED.search(str(getattr(draft.version, span.part))[: span.start]) is not None


def plain(text: str) -> str:
    """A text as it is told apart from others: whatever its case and spacing."""
    return " ".join(text.casefold().split())


def names(text: str, label: str) -> bool:
    """Whether a text names a label as a word of its own."""
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE) is not None


def without(text: str, start: int, end: int) -> str:
    """The text without some words, and without the gap that they would leave."""
    return re.sub(r"[ \t]{2,}", " ", text[:start].rstrip(" ") + " " + text[end:].lstrip(" ")).strip()


def with_sentence(text: str, sentence: str) -> str:
    """The text with one more sentence at its end."""
    text = text.rstrip()
    return f"{text}{'' if not text or text[-1] in '.!?:' else '.'} {sentence}".strip()
