"""Instructions hidden in the data: phrases that command a model, chat markers, invisible characters, markup, script.

Owns the patterns, in English, German, French and Spanish. Whoever means to hide something well is not found by them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example

_COMMANDS = re.compile(
    r"""\b(?:
    (?:ignore|disregard|forget|override|bypass)\s+(?:(?:all|any|every|each|of|the|my|these|those|your)\s+)*
      (?:all|any|previous|prior|above|earlier|preceding|your|system|safety)\s+(?:(?:of|the|your|system|safety)\s+)*
      (?:instructions?|prompts?|rules|guidelines|directives|programming)
    | (?:ignore|disregard|forget)\s+(?:everything|all|anything)\s+(?:above|before\s+this|you\s+(?:know|were\s+told))
    | (?:reveal|print|show|repeat|leak|output|tell)\s+(?:me\s+)?(?:your|the)\s+
      (?:system|hidden|initial|secret)\s+(?:prompt|instructions?)
    | you\s+are\s+now\s+(?:dan\b|an?\s+(?:ai|unrestricted|uncensored|evil)|in\s+\w+\s+mode)
    | (?:do\s+anything\s+now|jailbreak\s+mode|developer\s+mode\s+enabled)
    | new\s+(?:system\s+)?(?:instructions?|prompt)\s*:
    | (?:ignorier|missacht|vergiss|vergess)\w*\s+(?:\w+\s+){0,3}(?:vorherig|bisherig|obig|vorig|deine|all)\w*\s+
      (?:\w+\s+)?(?:anweisung|anleitung|vorgabe|regel|prompt)\w*
    | (?:ignore[zr]?|oublie[zr]?)\s+(?:toutes\s+)?(?:les|tes|vos|ces)\s+(?:instructions?|consignes?|directives?)
    | (?:ignora|olvida|omite)\w*\s+(?:todas\s+)?(?:las|tus|sus|estas)\s+(?:instrucciones|indicaciones|reglas)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_MARKERS = re.compile(
    r"<[|｜][\w▁ ]{1,40}[|｜]>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|</?s>"
    r"|^\s*###\s*(?:instruction|response|system|human|assistant)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
# Left out, since honest text needs them: the joiners U+200C and U+200D (Persian, Hindi, emoji), the marks U+200E and
# U+200F (Hebrew, Arabic), a byte order mark at the very beginning, and the tags of a flag after U+1F3F4.
_INVISIBLE = re.compile(
    "[\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\u00ad\U000e0100-\U000e01ef]|(?<!^)\ufeff"
    "|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+"
)
_SCRIPT = re.compile(
    r"<\s*(?:script|iframe|object|embed)\b|javascript:|<[^<>]{1,200}\son[a-z]{3,20}\s*=|<!--", re.IGNORECASE
)
_TAGS = re.compile(
    r"</?(?:p|div|span|br|a|b|i|em|strong|img|table|t[dr]|[uo]l|li|h[1-6]|font|html|body)(?:\s[^<>]*)?/?>"
    r"|&(?:nbsp|amp|lt|gt|quot|#\d{2,6});",
    re.IGNORECASE,
)
_AROUND = 30
# Looked for first, in thousands of rows at once, since the patterns take many times as long: no text of ASCII in which
# a pattern finds something is without all of its signs, in small letters.
_SIGNS: dict[re.Pattern[str], tuple[str, ...]] = {
    _COMMANDS: (
        "ignor", "disregard", "forget", "override", "bypass", "prompt", "instruction", "now", "jailbreak", "developer",
        "missacht", "vergiss", "vergess", "oublie", "olvida", "omite",
    ),
    _MARKERS: ("<", "[", "###"),
    _INVISIBLE: (),
    _SCRIPT: ("<", "javascript:"),
    _TAGS: ("<", "&"),
}  # fmt: skip


def commands(subject: Subject) -> Iterator[Finding]:
    yield from _found(
        subject,
        _COMMANDS,
        ("commands", "warning"),
        "with words that command a model (such as to ignore its instructions)",
        "The model may learn to obey what stands in an input, and a model that reads such rows may do so at once.",
        Fix(action="drop_rows", words="Drop these rows. Keep them if your task is to recognise such texts."),
    )


def markers(subject: Subject) -> Iterator[Finding]:
    yield from _found(
        subject,
        _MARKERS,
        ("markers", "error"),
        "with markers of chat templates (such as <|im_start|>)",
        "The tokenizer takes them for the real thing: a row then ends early, or speaks as somebody else.",
        Fix(action="clean", words="Take the markers out of the text."),
    )


def invisible(subject: Subject) -> Iterator[Finding]:
    yield from _found(
        subject,
        _INVISIBLE,
        ("invisible", "warning"),
        "with characters that nobody sees (of no width, or reversing the direction)",
        "The model reads them: the same word in two spellings is learned as two, and orders can hide in them.",
        Fix(action="clean", words="Take the invisible characters out of the text."),
    )


def markup(subject: Subject) -> Iterator[Finding]:
    yield from _found(
        subject,
        _SCRIPT,
        ("script", "warning"),
        "with script or hidden HTML",
        "The model learns to write it, and a page that shows its answer may run it.",
        Fix(action="drop_rows", words="Drop these rows."),
    )
    yield from _found(
        subject,
        _TAGS,
        ("html", "info"),
        "with HTML tags or entities",
        "They cost tokens in every row; the model learns to write them where answers have them.",
        None,
    )


def cleaned(text: str) -> str:
    """The text without chat markers and invisible characters."""
    less = _MARKERS.sub("", _INVISIBLE.sub("", text))
    # Taking one marker out may put the halves of another together.
    return text if less == text else cleaned(less)


def _found(
    subject: Subject,
    pattern: re.Pattern[str],
    kind: tuple[str, Literal["info", "warning", "error"]],
    what: str,
    effect: str,
    fix: Fix | None,
) -> Iterator[Finding]:
    hits = [
        (example.row, hit)
        for part in subject.parts()
        for example in _suspects(part, _SIGNS[pattern])
        if (hit := _excerpt(pattern, example))
    ]
    if hits:
        rows = tuple(row for row, _ in hits)
        yield Finding(
            check=kind[0],
            severity=kind[1],
            text=f"{counted(rows)} {what}.",
            rows=rows,
            effect=effect,
            examples=tuple(f"row {row}: {excerpt}" for row, excerpt in hits[:5]),
            fix=fix,
        )


def _suspects(examples: Sequence[Example], signs: Sequence[str]) -> Iterator[Example]:
    """Examples that have a sign, and all that are not of ASCII, of whose letters some have several small forms."""
    texts = [f"{example.input}\n{example.output}" for example in examples]
    found = {n for n, text in enumerate(texts) if not text.isascii()}
    for n in found:
        texts[n] = ""  # so that nothing changes its length in small letters
    whole = "\n".join(texts).lower()
    ends = list(accumulate(len(text) + 1 for text in texts))
    for sign in signs:
        at = whole.find(sign)
        while at >= 0:
            n = bisect_right(ends, at)
            found.add(n)
            at = whole.find(sign, ends[n])
    return (examples[n] for n in sorted(found))


def _excerpt(pattern: re.Pattern[str], example: Example) -> str:
    """Where it stands, with what cannot be seen spelled out; empty where it does not."""
    for text in (example.input, example.output):
        if found := pattern.search(text):
            around = text[max(0, found.start() - _AROUND) : found.end() + _AROUND]
            shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in around)
            return shown.replace("\\n", " ")
    return ""
