"""Numbers in words to digits, in four languages, and what stands before and after a number.

Owns reading numbers; `text2num` reads the words, this module the ways to write digits (5k, 1.200, 1 200, 1'200,
2 x 500) and the idioms ("half an hour", "une vingtaine"). Refuses to say what a number counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from assistant.dialogue.offline.text import Language, fold, lexicon

_GROUPED = re.compile(r"(?<![\w.,/-])\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*(?![\w]|[.,]\d)")
_THOUSANDS = {"k", "tsd", "thousand", "tausend", "mille", "mil", "thsd"}
_SCALED = re.compile(
    r"(?<![\w.-])(\d+(?:[.,]\d+)?)\s?(k|tsd|thsd|thousand|tausend|mille|mil|million(?:en|es|s)?|millon(?:es)?|m)\b(?!\d|\^)",
    re.IGNORECASE,
)
_PRODUCT = re.compile(r"(?<![\w.,])(\d{1,2}) ?(?:x|mal|fois|times|veces|por|\*) ?(\d{2,6})(?![\w.,]*\d)")
_NUMBER = re.compile(r"(?<![\w./:-])(?:[.]\d+|\d+(?:[.,]\d+)?)(?![\w]*\d*/)")
# The library leaves a lone "two" in words, as most are no amounts; before a unit it is one.
_SMALL = {"two": 2, "three": 3, "zwei": 2, "drei": 3, "deux": 2, "trois": 3, "dos": 2, "tres": 3}
_UNITS = r"second|sekund|segund|minut|hour|stund|heur|hora|day|tag|jour|dia|gpus?\b|thousand|tausend|mil\b"
_MEASURED = re.compile(rf"\b({'|'.join(_SMALL)})(?= (?:{_UNITS}))", re.IGNORECASE)
_SOME = re.compile(r"\bun[oa]s\b", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number with the folded text before and after it, up to the ends of the message."""

    value: float
    before: str
    after: str


def numbers(text: str, language: Language) -> list[Number]:
    """All numbers of a message in reading order."""
    plain = in_digits(text, language)
    return [
        Number(float(match.group().replace(",", ".")), plain[: match.start()], plain[match.end() :])
        for match in _NUMBER.finditer(plain)
    ]


def in_digits(text: str, language: Language) -> str:
    """Folded text in which every number stands as plain digits, with a point for decimals."""
    # Idioms and "9 mil" first: read word by word they would become "9 1000".
    plain = _SCALED.sub(_scaled, _without_idioms(text))
    plain = _MEASURED.sub(lambda found: str(_SMALL[fold(found.group())]), fold(_words_to_digits(plain, language)))
    plain = _GROUPED.sub(lambda found: re.sub(r"\D", "", found.group()), _SCALED.sub(_scaled, plain))
    return _PRODUCT.sub(lambda found: str(int(found.group(1)) * int(found.group(2))), plain)


def _words_to_digits(text: str, language: Language) -> str:
    from text_to_num import alpha2digit

    # Line by line, for the library joins lines; and Spanish "unos 200" is "some", not 1.
    lines = (_SOME.sub("~", text) if language == "es" else text).split("\n")
    return "\n".join(alpha2digit(line, language) for line in lines)


def _without_idioms(text: str) -> str:
    folded, parts, done = fold(text), [], 0
    for found in _any_idiom().finditer(folded):
        parts += [text[done : found.start()], _in_idiom(found.group())]
        done = found.end()
    return "".join([*parts, text[done:]])


@cache
def _any_idiom() -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w)(?:{idiom})(?!\w)" for idiom in lexicon()["idioms"]))


def _in_idiom(written: str) -> str:
    return next(str(digits) for idiom, digits in lexicon()["idioms"].items() if re.fullmatch(idiom, written))


def _scaled(match: re.Match[str]) -> str:
    scale = 1_000 if fold(match.group(2)) in _THOUSANDS else 1_000_000
    return str(round(float(match.group(1).replace(",", ".")) * scale))
