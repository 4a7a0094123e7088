"""Solved examples that stand in a message: what goes in and the right answer, one a line.

Owns the ways in which people paste them (arrows, tabs, JSON lines, a small table, Q and A) and telling them from
descriptions with an arrow in them. Refuses to judge or keep them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from assistant.dialogue.offline.text import fold
from prompts.errors import DataError
from prompts.spec import TaskSpec
from prompts.versions import Demonstration
from trainers.data import guess_mapping, read_examples
from trainers.reading import table_of

Rows = tuple[Demonstration, ...]

_BULLET = r"^\s*(?:[-*•]\s|\d+[.)]\s)?\s*"
_ARROW = re.compile(rf"{_BULLET}(?P<input>\S.*?)\s*(?:=>|->|→|⇒|\t)\s*(?P<output>\S.*)$")
_LABELLED = re.compile(rf"{_BULLET}(?:(?P<input>\S.{{3,}}?)\s*:|\"(?P<quoted>[^\"]+)\"\s*[,;])\s*(?P<output>[^,:;]+)$")
_ASKED, _ANSWERED = "q|question|input|frage|pregunta|in", "a|answer|output|label|antwort|réponse|reponse|respuesta|out"
_PAIR = re.compile(
    rf"^\s*(?:{_ASKED})\s*[:.][ \t]*(?P<input>\S.*)\n\s*(?:{_ANSWERED})\s*[:.][ \t]*(?P<output>\S.*)$", re.I | re.M
)
_HEADER = re.compile(
    r"\"?(?:input|text|ticket|message|question|prompt|review|sentence|email|texte?|nachricht|mensaje)\"?\s*[,;\t|]",
    re.I,
)
# What people write in examples rather than in a description of what goes in.
_UTTERED = re.compile(r"[.!?]$|\b(?:i|my|me|you|is|was|where|not|ich|mein\w*|ist|je|j'ai|mon|ma|est|mi|yo|es|no)\b")
_LONGEST_LINE, _LONGEST_LABEL_WORDS = 4_000, 6


def pasted_examples(text: str, spec: TaskSpec) -> tuple[Rows, str]:
    """The examples of a message, and the message without them."""
    for read in (_json_lines, _table):
        if rows := read(text.strip()):
            return rows, ""
    if rows := tuple(Demonstration(input=m["input"].strip(), output=m["output"].strip()) for m in _PAIR.finditer(text)):
        return rows, _PAIR.sub("", text).strip()
    return _lines(text, spec)


def _json_lines(text: str) -> Rows:
    if not text.startswith(("{", "[")):
        return ()
    try:
        lines = [line for line in text.splitlines() if line.strip()]
        values = json.loads(text) if text.startswith("[") else [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return ()
    if not all(isinstance(value, dict) and len(value) >= 2 for value in values):
        return ()
    return _mapped([{key: _as_text(item) for key, item in value.items()} for value in values])


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(text: str) -> Rows:
    """A pasted CSV or TSV with a header of known names."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or not _HEADER.match(lines[0]):
        return ()
    try:
        header, *cells = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=max(",;\t|", key=lines[0].count)))
    except csv.Error:
        return ()
    if any(len(row) != len(header) for row in cells):
        return ()
    return _mapped([dict(zip((name.strip() for name in header), row, strict=True)) for row in cells])


def _mapped(rows: list[dict[str, str]]) -> Rows:
    """Rows with a guessed input and answer; none where some answer is missing, as in a skeleton of empty fields."""
    try:
        table = table_of(rows, "the chat")
        examples = read_examples(table, guess_mapping(table))
    except DataError:
        return ()
    pairs = tuple(Demonstration(input=one.input.strip(), output=one.output) for one in examples)
    return pairs if len(pairs) == len(rows) else ()


def _lines(text: str, spec: TaskSpec) -> tuple[Rows, str]:
    known = {label.lower(): label for label in spec.labels}
    found = [(line, _row(line, known)) for line in text.split("\n")]
    rows = tuple(row for _, row in found if row)
    if not rows or (len(rows) == 1 and not _is_row(rows[0], spec)):
        return (), text
    return rows, "\n".join(line for line, row in found if row is None).strip()


def _row(line: str, known: dict[str, str]) -> Demonstration | None:
    if len(line) > _LONGEST_LINE:
        return None
    if match := _ARROW.match(line):
        given, answer = _bare(match["input"]), _bare(match["output"])
        return Demonstration(input=given, output=known.get(answer.lower(), answer)) if given and answer else None
    match = _LABELLED.match(line) if known else None
    if match and _bare(match["output"]).lower() in known and len((match["quoted"] or match["input"]).split()) > 2:
        return Demonstration(
            input=_bare(match["quoted"] or match["input"]), output=known[_bare(match["output"]).lower()]
        )
    return None


def _is_row(row: Demonstration, spec: TaskSpec) -> bool:
    """Whether a single line with an arrow is an example: "DE -> FR" and "transcripts -> short summary" are none."""
    if row.output in spec.labels:
        return True
    if len(row.input.split()) < 2 or re.search(r"[,.;{(]\s*\S", row.output):
        return False
    short = len(row.output.split()) <= _LONGEST_LABEL_WORDS
    return short and (bool(_UTTERED.search(fold(row.input))) or spec.task is not None)


def _bare(text: str) -> str:
    return text.strip().strip("\"'“”").strip()
