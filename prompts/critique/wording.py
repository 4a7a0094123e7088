"""Checks of how it is said: vague words, instructions that fight each other, left-overs, and what a model cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from prompts.critique.remark import Draft, Remark, Span, Suggestion
from prompts.critique.wordings import (
    bounded,
    entries,
    find,
    found,
    is_negated,
    pattern,
    text_of,
    with_sentence,
    without,
)
from prompts.templates import language_name

_UNRENDERED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_FOUND = 3  # remarks of one kind; more say nothing new


def vague_words(draft: Draft) -> Iterator[Remark]:
    said = 0
    for group in ("vague", "vague_length"):
        for words, instead in entries(group).items():
            span = find(draft, bounded(words))
            if span and said < _FOUND:
                said += 1
                word = str(getattr(draft.version, span.part))[span.start : span.end]
                yield Remark(
                    check="vague_words",
                    severity="info",
                    text=f"A model has to guess what “{word}” means here: {instead}.",
                    about=span,
                )


def placeholders(draft: Draft) -> Iterator[Remark]:
    for span in found(draft, re.compile(text_of("placeholders"))):
        yield Remark(
            check="placeholders",
            severity="error",
            text="This looks like a place that was to be filled in.",
            about=span,
            suggestion=_removal(draft, span),
        )
        return


def unrendered(draft: Draft) -> Iterator[Remark]:
    """Braces in the system prompt, which is sent as it stands."""
    match = _UNRENDERED.search(draft.version.system)
    if match:
        span = Span(part="system", start=match.start(), end=match.end())
        yield Remark(
            check="unrendered",
            severity="error",
            text="The system prompt is sent as it stands: only the person's turn has {{ input }} filled in.",
            about=span,
            suggestion=_removal(draft, span),
        )


def special_tokens(draft: Draft) -> Iterator[Remark]:
    for part in ("system", "template"):
        text = str(getattr(draft.version, part))
        match = re.search(r"<\|[^|>]*\|>|\[/?INST\]|</?s>|<<SYS>>", text)
        token = match.group() if match else draft.marks(text)
        if token:
            at = text.find(token)
            span = Span(part=part, start=at, end=at + len(token))
            yield Remark(
                check="special_tokens",
                severity="error",
                text=f"{token} belongs to the model's chat template, which adds it by itself.",
                about=span,
                suggestion=Suggestion(
                    label="Take it out", changes={part: text.replace(token, "").strip() or "{{ input }}"}
                ),
            )
            return


def role_markers(draft: Draft) -> Iterator[Remark]:
    span = find(draft, re.compile(text_of("markers"), re.IGNORECASE))
    if span:
        yield Remark(
            check="role_markers",
            severity="warning",
            text="Turns are marked by the chat template; a role written into the text confuses it.",
            about=span,
            suggestion=_removal(draft, span),
        )


def impossible(draft: Draft) -> Iterator[Remark]:
    span = find(draft, pattern("impossible"))
    if span:
        yield Remark(
            check="impossible",
            severity="warning",
            text="The model cannot know or look this up: it sees the prompt and the input alone.",
            about=span,
        )


def contradictions(draft: Draft) -> Iterator[Remark]:
    """Two instructions of which no answer can keep both."""
    for one, other, words in (
        ("brief", "detailed", "one asks for few words, the other for many"),
        ("json_only", "explain", "nothing but JSON leaves no room for reasons"),
        ("label_only", "explain", "a label alone leaves no room for reasons"),
    ):
        first, second = find(draft, pattern(one)), find(draft, pattern(other))
        if first and second and not is_negated(draft, second) and not is_negated(draft, first):
            yield _fight(draft, second, words)
    spans = {name: find(draft, bounded(words)) for name, words in entries("languages").items()}
    there = [(name, span) for name, span in spans.items() if span]
    for (_, first), (name, second) in combinations(there, 2):
        wanted = language_name(draft.spec.language) if draft.spec.language else ""
        yield _fight(draft, first if name == wanted else second, "two languages are asked for")
        return


def _fight(draft: Draft, span: Span, why: str) -> Remark:
    return Remark(
        check="contradictions",
        severity="warning",
        text=f"Two instructions fight each other: {why}.",
        about=span,
        suggestion=_removal(draft, span),
    )


def language_unstated(draft: Draft) -> Iterator[Remark]:
    spec = draft.spec
    if not spec.language or spec.language == spec.input_language or draft.is_label or draft.is_json:
        return
    name = language_name(spec.language)
    if re.search(rf"\b{re.escape(name)}\b", draft.said, re.I) or any(
        find(draft, bounded(words)) for known, words in entries("languages").items() if known == name
    ):
        return
    if not spec.input_language and spec.language == "en":
        return
    yield Remark(
        check="language_unstated",
        severity="warning",
        text=f"Answers shall be in {name}, and the prompt does not say it.",
        suggestion=Suggestion(
            label=f"Ask for {name}", changes={"system": with_sentence(draft.version.system, f"Answer in {name}.")}
        ),
    )


def _removal(draft: Draft, span: Span) -> Suggestion | None:
    """The sentence around the words taken out, or the words alone where the sentence is all there is."""
    text = str(getattr(draft.version, span.part))
    before = max((text.rfind(end, 0, span.start) for end in (". ", "! ", "? ", "\n")), default=-1)
    start = before + 2 if before >= 0 and text[before] != "\n" else before + 1
    ends = [found + 1 for end in (". ", "! ", "? ", ".\n") if (found := text.find(end, span.end - 1)) >= 0]
    stop = min(ends, default=len(text))
    whole = without(text, start, stop)
    alone = without(text, span.start, span.end)
    kept = (
        whole
        if len(whole.split()) >= 3 and "{{ input }}" in (whole if span.part == "template" else "{{ input }}")
        else alone
    )
    if span.part == "template" and "{{ input }}" not in kept:
        return None
    return Suggestion(label="Take it out", changes={span.part: kept})
