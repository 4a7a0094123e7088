"""Texts about a person of another group: the words of swaps.yaml exchanged, case kept, and nothing else changed.

Owns finding and exchanging such words, and the control: the same text with words exchanged that say nothing of a group.
Refuses to ask a model. Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

Dimension = Literal["gender", "names", "nationality", "age"]
DIMENSIONS: tuple[Dimension, ...] = ("gender", "names", "nationality", "age")
CONTROL = "control"
_FILE = Path(__file__).with_name("swaps.yaml")
_YEARS, _YOUNG, _OLD = 45, range(18, 41), range(63, 86)
_VOWEL = re.compile(r"(?!eu|one|uni)[aeiou]", re.IGNORECASE)
_READ = 1000  # characters by which the language is told


@dataclass(frozen=True)
class Swapped:
    """A text after the exchange. `words` are what stood there and what does now; `side` is that of what stood there.

    `side` is None where words of both sides stood there.
    """

    text: str
    words: tuple[tuple[str, str], ...]
    side: int | None


@dataclass(frozen=True)
class _Twin:
    """What a word becomes: as it is, or before a noun and elsewhere. Some count only where said of a person."""

    word: str
    side: int
    otherwise: str = ""
    of_person: bool = False


@dataclass(frozen=True)
class _Hit:
    start: int
    end: int
    new: str
    side: int


@dataclass(frozen=True)
class _Words:
    """The words of one dimension, as one pattern; the patterns of ages, and how many years these move."""

    twins: dict[str, _Twin]
    ages: tuple[re.Pattern[str], ...]
    years: int

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        longest = sorted(self.twins, key=len, reverse=True)
        text = "|".join(re.escape(word) + ("" if word.endswith(".") else r"(?!\w)") for word in longest)
        return re.compile(rf"(?<!\w)(?:{text})", re.IGNORECASE) if longest else None


class Swapper:
    """Exchanges words of one language."""

    def __init__(self, language: str) -> None:
        self._raw = _languages()[language]
        self._language = language
        self._no_noun = frozenset(str(self._raw.get("gender", {}).get("no_noun", "")).split())
        names, surnames = self._raw["names"], self._raw["surnames"]
        people, being = self._raw["nationality"]["people"].split(), self._raw["nationality"]["being"]
        self._people = frozenset(map(str.casefold, people))
        self._being = re.compile(
            rf"\b(?:{'|'.join(map(re.escape, being))})(?: an?)? $" if being else "(?!)", re.IGNORECASE
        )
        exchanged: dict[str, dict[str, _Twin]] = {dimension: {} for dimension in (*DIMENSIONS, CONTROL)}
        for dimension in ("gender", "nationality", "age"):
            exchanged[dimension] |= _twins(self._raw.get(dimension, {}))
        exchanged["nationality"] = {w: replace(t, of_person=True) for w, t in exchanged["nationality"].items()}
        exchanged[CONTROL] |= _twins(self._raw["neutral"]) | _next_of_side(self._raw["nationality"])
        for men, women in (("male", "female"), ("other_male", "other_female")):
            exchanged["gender"] |= _both(zip(names[men], names[women], strict=True))
        for usual, other in (("male", "other_male"), ("female", "other_female")):
            exchanged["names"] |= _both(zip(names[usual], names[other], strict=True))
        exchanged["names"] |= _both(zip(surnames["usual"], surnames["other"], strict=True))
        for alike in (*names.values(), *surnames.values()):
            exchanged[CONTROL] |= {name.casefold(): _Twin(alike[i - 1], 0) for i, name in enumerate(alike)}
        ages = tuple(re.compile(text, re.IGNORECASE) for text in self._raw["ages"])
        self._words = {
            name: _Words(twins, ages if name in ("age", CONTROL) else (), 1 if name == CONTROL else _YEARS)
            for name, twins in exchanged.items()
        }

    def swap(self, text: str, dimension: Dimension) -> Swapped | None:
        """The text about somebody of the other side; None where no word of it says a side."""
        return self._exchanged(text, dimension)

    def control(self, text: str) -> Swapped:
        """The text with names of the same kind and other words for the same.

        Where there are none, its first letter is small instead of large, or large, and its full stop is gone, or there.
        """
        found = self._exchanged(text, CONTROL)
        if found:
            return found
        bare = text.strip()
        first = bare[:1].lower() if bare[:1].isupper() else bare[:1].upper()
        changed = first + (bare[1:].rstrip(".") if bare.endswith(".") else f"{bare[1:]}.")
        return Swapped(changed, ((text, changed),), 0)

    def signed(self, text: str, number: int) -> str:
        """The text with a line under it and a usual name, which goes by the number: men's and women's in turn."""
        names, surnames = self._raw["names"], self._raw["surnames"]["usual"]
        first = names[("male", "female")[number % 2]]
        name = f"{first[number // 2 % len(first)]} {surnames[number % len(surnames)]}"
        return f"{text.rstrip()}\n\n{self._raw['closing']}\n{name}"

    def _exchanged(self, text: str, dimension: str) -> Swapped | None:
        hits = self._hits(text, dimension)
        if not hits:
            return None
        pieces, last = "", 0
        for hit in hits:
            before = text[last : hit.start]
            pieces += (_with_article(before, hit.new) if self._language == "en" else before) + hit.new
            last = hit.end
        sides = {hit.side for hit in hits}
        words = tuple((text[hit.start : hit.end], hit.new) for hit in hits)
        return Swapped(pieces + text[last:], words, sides.pop() if len(sides) == 1 else None)

    def _hits(self, text: str, dimension: str) -> list[_Hit]:
        """In the order of the text, none in another."""
        words = self._words[dimension]
        found = list(self._of_words(text, words))
        for pattern in words.ages:
            for match in pattern.finditer(text):
                start, end = match.span("age")
                age = int(match["age"])
                if not text[:start][-1:].isdigit() and age in (*_YOUNG, *_OLD):
                    moved = age + words.years if age in _YOUNG else age - words.years
                    found.append(_Hit(start, end, str(moved), int(age in _OLD)))
        hits: list[_Hit] = []
        for hit in sorted(found, key=lambda hit: (hit.start, -hit.end)):
            if not hits or hit.start >= hits[-1].end:
                hits.append(hit)
        return hits

    def _of_words(self, text: str, words: _Words) -> Iterator[_Hit]:
        for match in words.pattern.finditer(text) if words.pattern else ():
            twin = words.twins[match[0].casefold()]
            if twin.of_person and not self._of_person(text[: match.start()], text[match.end() :]):
                continue
            new = twin.word
            if twin.otherwise:
                follows = re.match(r"\s+(\w+)", text[match.end() :])
                new = twin.word if follows and follows[1].casefold() not in self._no_noun else twin.otherwise
            yield _Hit(match.start(), match.end(), _cased(match[0], new), twin.side)

    def _of_person(self, before: str, after: str) -> bool:
        beside = re.search(r"(\w+) $", before), re.match(r" (\w+)", after)
        said = any(word and word[1].casefold() in self._people for word in beside)
        ends = beside[1] is None or beside[1][1].casefold() in self._no_noun
        return said or (ends and self._being.search(before) is not None)


def swapper_for(texts: Sequence[str], language: str) -> Swapper | str:
    """The swapper for texts in this language, an ISO 639-1 code, or in the one that they look like where it is "".

    The language's code where there are no words for it. Too little text to tell is taken for English, where nothing is
    found in it if it is not.
    """
    from trainers.checks.spoken import UNDETERMINED, language_of

    code = language.strip().lower()[:2] or language_of("\n".join(texts)[:_READ])
    code = "en" if code == UNDETERMINED else code
    return Swapper(code) if code in _languages() else code


def supported() -> tuple[str, ...]:
    """The languages that there are words for, as ISO 639-1 codes."""
    return tuple(_languages())


@cache
def _languages() -> dict[str, Any]:
    return dict(yaml.safe_load(_FILE.read_text("utf-8")))


def _twins(raw: dict[str, Any]) -> dict[str, _Twin]:
    endings = raw.get("endings", [""])
    found = _both((f"{a}{end}", f"{b}{end}") for a, b in raw.get("both", {}).items() for end in endings)
    found |= {word.casefold(): _Twin(other, 0) for word, other in raw.get("one_way", {}).items()}
    return found | {rule["word"]: _Twin(rule["noun"], rule["side"], rule["else"]) for rule in raw.get("follows", ())}


def _next_of_side(raw: dict[str, Any]) -> dict[str, _Twin]:
    """Each word's neighbour on its own side."""
    found: dict[str, _Twin] = {}
    for side in (list(raw["both"]), list(raw["both"].values())):
        for end in raw.get("endings", [""]):
            found |= {
                f"{word}{end}".casefold(): _Twin(f"{side[i - 1]}{end}", 0, of_person=True)
                for i, word in enumerate(side)
            }
    return found


def _both(pairs: Iterable[tuple[str, str]]) -> dict[str, _Twin]:
    found: dict[str, _Twin] = {}
    for first, second in pairs:
        found[first.casefold()] = _Twin(second, 0)
        found.setdefault(second.casefold(), _Twin(first, 1))
    return found


def _cased(old: str, new: str) -> str:
    """In the letters of the old word: all large, all small, or as it is with the old word's first."""
    if old.isupper() and sum(map(str.isalpha, old)) > 1:
        return new.upper()
    if old[0].isupper():
        return new[0].upper() + new[1:]
    return new.lower() if old.islower() else new


def _with_article(before: str, new: str) -> str:
    """English "a" or "an" as the next word wants it."""
    return re.sub(r"\b([Aa])n? $", r"\1n " if _VOWEL.match(new) else r"\1 ", before)
