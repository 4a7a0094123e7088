"""Message text made ready for rules: folded, cut into statements and clauses, freed of what is denied.

Owns folding (same length, so that a match's span holds in the original), the lexicon's patterns, the languages and
where a person corrects himself. Refuses to find facts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

Language = Literal["en", "de", "fr", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

# A person may paste a whole file: what stands further down is data, not description.
READ = 4_000
_TYPOGRAPHY = str.maketrans("’‘‚´`“”„«»–—−\u00a0\u202f", "'''''\"\"\"\"\"---  ")
_ABBREVIATIONS = ("ca", "max", "mind", "min", "approx", "nr", "e\\.g", "i\\.e", "z\\.b", "ex", "bzw")
_ABBREVIATED = "".join(rf"(?<!\b{short})" for short in _ABBREVIATIONS)
_SENTENCE_END = re.compile(rf"[!?\n]+|{_ABBREVIATED}[.;](?!\w)|…", re.IGNORECASE)
_IDENTIFIED = 8  # a shorter text tells nothing of its language


@cache
def lexicon() -> dict[str, Any]:
    """Patterns and words by concept, for all languages at once, from the files in `lexicon`."""
    merged: dict[str, Any] = {}
    for entry in files(__package__).joinpath("lexicon").iterdir():
        if entry.name.endswith(".yaml"):
            merged |= _unbroken(yaml.safe_load(entry.read_text("utf-8")))
    return merged


def _unbroken(entry: Any) -> Any:
    """An entry with its patterns in one piece: in the files a long one goes over several lines."""
    if isinstance(entry, dict):
        return {key: _unbroken(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_unbroken(value) for value in entry]
    return entry.replace("\n", "") if isinstance(entry, str) else entry


@cache
def pattern(concept: str) -> re.Pattern[str]:
    """The lexicon's entry as one pattern over folded text. A list is a choice of patterns."""
    found = lexicon()[concept]
    return re.compile("|".join(f"(?:{p})" for p in found) if isinstance(found, list) else found, re.DOTALL)


@cache
def words(concept: str) -> frozenset[str]:
    """The lexicon's entry as a set of folded words."""
    return frozenset(fold(str(lexicon()[concept])).split())


def tidy(text: str) -> str:
    """Plain quotes, dashes and spaces; the length stays."""
    return text[:READ].translate(_TYPOGRAPHY)


def fold(text: str) -> str:
    """Lower case without accents. The length stays: what matches here stands at the same place in the original."""
    return "".join(_folded(c) for c in text)


@cache
def _folded(character: str) -> str:
    if character == "ß":
        return "s"
    base = unicodedata.normalize("NFKD", character)[0].lower()
    return base if len(base) == 1 else character


def statements(text: str) -> list[tuple[str, bool]]:
    """The message cut where a person corrects himself; True marks a part that corrects what stands before it.

    "200 rows, no wait, 300" becomes [("200 rows", False), ("300", True)].
    """
    parts, start, correcting = [], 0, False
    for mark in pattern("correction").finditer(fold(text)):
        if before := text[start : mark.start()].strip(" ,;:-.\n"):
            parts.append((before, correcting))
        start, correcting = mark.end(), True
    rest = text[start:].strip(" ,;:\n")
    return [*parts, (rest, correcting)] if rest else parts


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text stand; a line is one at least."""
    spans, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        spans.append((start, end.start()))
        start = end.end()
    spans.append((start, len(text)))
    return [(begin, end) for begin, end in spans if text[begin:end].strip()]


def without_denied(folded: str) -> str:
    """The text without what is said not to be wanted, of the same length: "not a chatbot, just ..."."""
    return pattern("denied").sub(lambda found: " " * len(found.group()), folded)


@cache
def _identifier() -> Any:
    import py3langid

    py3langid.set_languages(list(LANGUAGES))
    return py3langid


def language_of(text: str) -> Language:
    """The language of a message; English where there is too little of it."""
    return _identifier().classify(text)[0] if len(text) > _IDENTIFIED else "en"
