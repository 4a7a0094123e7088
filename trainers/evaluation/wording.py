"""A person's demand on every answer, read into a check that a program can carry out; or not read at all.

Owns what the wording of a demand lets a program check (wording.yaml beside this file holds the words, in English,
German, French and Spanish). Refuses to guess: a demand that says anything beyond what is understood, that has a
condition or an exception, is left to a person. Refuses to look at answers (`demands`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.resources import files
from typing import Any

import yaml

from prompts.metrics.answers import json_value
from trainers.evaluation.checkable import holds_word, sentences, words

_QUOTED = re.compile(
    r"[\"“”„]\s*([^\"“”„]+?)\s*[\"“”]|«\s*([^«»]+?)\s*»|(?<!\w)[‘‚']([^‘’']+)[’‘'](?!\w)"
    r"|\b(?:the word|das wort|le mot|la palabra)\s+([^\W\d_][\w-]*)",
    re.IGNORECASE,
)
_ITEM = re.compile(r"(?m)^\s*(?:[-*•–]|\d+[.)])\s+\S")
_PARTED = re.compile(r"\s*(?:,|/|\b(?:and|or|und|oder|et|ou|y|o|nor|noch|ni)\b)\s*")
_MEASURES = ("most", "under", "least", "exact", "over")
_LANGUAGES = "en de fr es it pt nl pl sv da nb fi cs hu ro tr ru uk el ar he hi ja ko zh"


@dataclass(frozen=True)
class Check:
    """How a demand was read (`told`, as a clause), and which answers break it.

    `looked_at` says which answers can be looked at for it at all. Where `proves` is false, finding none does not show
    that there is none.
    """

    told: str
    breaks: Callable[[str], bool]
    looked_at: Callable[[str], bool] = lambda text: True
    proves: bool = True


@dataclass(frozen=True)
class Known:
    """What a demand may speak of: the task's labels, and the language that an answer is to have (or "")."""

    labels: Sequence[str] = ()
    language: str = ""


def read_demand(text: str, *, forbidden: bool, known: Known = Known()) -> Check | None:
    """The check for a demand; None where the wording does not let a program check it.

    `forbidden` says that it stands among what an answer must never do, so that its words need not deny it.
    """
    rest, quoted = _without_quotes(text)
    folded = re.sub(_words()["several"], "several", fold(rest))
    tokens = _tokens(folded)
    limit = _limit(folded, forbidden)
    if limit:
        return limit
    if _listed("unsure") & set(tokens):
        return None
    denies = forbidden or bool(_listed("denies") & set(tokens))
    asks = not denies and bool(_listed("asks") & set(tokens))
    if quoted:
        return _quoted(tokens, quoted, denies=denies, asks=asks)
    left = " ".join(token for token in tokens if token not in _listed("fillers") | _listed("denies"))
    language = _language(left, known.language, denies=denies)
    if language:
        return language
    return _things(folded, left, denies=denies, asks=asks, known=known)


def fold(text: str) -> str:
    """Lower case, without accents, ligatures and the sharp s; apostrophes as spaces, but in English "don't"."""
    text = re.sub(r"(?<=n)[’'](?=t\b)", "\0", text.casefold())
    text = re.sub(r"[’']", " ", text).replace("\0", "'")
    parts = unicodedata.normalize("NFKD", text)
    return " ".join("".join(letter for letter in parts if not unicodedata.combining(letter)).split())


@cache
def _words() -> dict[str, Any]:
    return dict(yaml.safe_load(files(__package__).joinpath("wording.yaml").read_text("utf-8")))


@cache
def _listed(name: str) -> frozenset[str]:
    return frozenset(str(_words()[name]).split())


def _tokens(folded: str) -> list[str]:
    return re.findall(r"[\w'-]+|[,/]", folded)


# Words and phrases


def _without_quotes(text: str) -> tuple[str, list[str]]:
    found = [next(part for part in match.groups() if part) for match in _QUOTED.finditer(text)]
    return _QUOTED.sub(" ", text), [one.strip() for one in found]


def _quoted(tokens: list[str], quoted: list[str], *, denies: bool, asks: bool) -> Check | None:
    idle = _listed("fillers") | _listed("denies") | _listed("words") | {"or", "oder", "ou", "o", "y", "et", ","}
    left = {token for token in tokens if token not in idle}
    said = " or ".join(f"“{one}”" for one in quoted)
    if left and left <= _listed("starts") | {"and", "und"} and len(quoted) == 1:
        return _edge(quoted[0], "begins with", str.startswith, denies=denies)
    if left and left <= _listed("ends") | {"and", "und"} and len(quoted) == 1:
        return _edge(quoted[0], "ends with", str.endswith, denies=denies)
    if left - {"and", "und"}:
        return None
    if denies:
        return Check(f"no answer contains {said}", lambda text: any(holds_word(text, one) for one in quoted))
    if asks and len(quoted) == 1:
        return Check(f"every answer contains {said}", lambda text: not holds_word(text, quoted[0]))
    return None


def _edge(quoted: str, told: str, has: Callable[[str, str], bool], *, denies: bool) -> Check:
    def there(text: str) -> bool:
        bare = " ".join(text.casefold().split()), " ".join(quoted.casefold().split())
        return has(bare[0], bare[1]) or has(bare[0].strip(" .!?\"'“”"), bare[1].strip(" .!?\"'“”"))

    if denies:
        return Check(f"no answer {told} “{quoted}”", there)
    return Check(f"every answer {told} “{quoted}”", lambda text: not there(text))


# Kinds of content


def _things(folded: str, left: str, *, denies: bool, asks: bool, known: Known) -> Check | None:
    if whole := _thing(left):
        return _of_thing(whole, denies=denies, asks=asks, known=known)
    parts = [_thing(part) for part in _PARTED.split(left) if part]
    if not (denies and len(parts) > 1 and all(parts)):
        return None
    checks = [_of_thing(part, denies=True, asks=False, known=known) for part in parts if part]
    if not all(checks):
        return None
    every = [check for check in checks if check]
    told = "no answer contains " + " or ".join(check.told.removeprefix("no answer contains ") for check in every)
    return Check(told, lambda text: any(c.breaks(text) for c in every), proves=all(c.proves for c in every))


def _thing(words: str) -> dict[str, Any] | None:
    bare = words.replace("-", " ") if "-" in words else words
    for thing in _words()["things"].values():
        if any(re.fullmatch(thing["named"], form.strip()) for form in (words, bare)):
            return dict(thing)
    return None


def _of_thing(thing: dict[str, Any], *, denies: bool, asks: bool, known: Known) -> Check | None:
    there = _finder(thing, known)
    if denies and there:
        return Check(f"no answer contains {thing['told']}", there, proves=thing.get("personal") != "any")
    if denies:
        return None
    if "whole" in thing:
        keeps = _WHOLE[thing["whole"]]
        if thing["whole"] == "label" and not known.labels:
            return None
        inside = {"upper": "capital letters", "lower": "lower case"}.get(thing["whole"])
        told = f"every answer is in {inside}" if inside else f"every answer is {thing['told']}"
        return Check(told, lambda text: not keeps(text.strip(), known))
    if asks and there:
        return Check(f"every answer contains {thing['told']}", lambda text: not there(text))
    return None


def _finder(thing: dict[str, Any], known: Known) -> Callable[[str], bool] | None:
    if "personal" in thing:
        return partial(_personal, kind=thing["personal"])
    if "several" in thing:
        return partial(_several, known=known) if len(known.labels) > 1 else None
    if "found" not in thing:
        return None
    pattern = re.compile(thing["found"])
    return lambda text: pattern.search(text) is not None


def _personal(text: str, kind: str) -> bool:
    from trainers.checks.personal import found_in

    return any(kind in ("any", span.kind) for span in found_in(text))


def _several(text: str, known: Known) -> bool:
    """Whether more than one label stands in it; of labels within labels the longest counts."""
    found = set()
    for label in sorted(known.labels, key=len, reverse=True):
        kept = re.sub(rf"(?<!\w){re.escape(label)}(?!\w)", " ", text, flags=re.IGNORECASE)
        found |= {label} if kept != text else set()
        text = kept
    return len(found) > 1


_WHOLE: dict[str, Callable[[str, Known], bool]] = {
    "upper": lambda text, known: text.isupper(),
    "lower": lambda text, known: text.islower(),
    "json": lambda text, known: json_value(text) is not None,
    "label": lambda text, known: text in known.labels,
}


# Languages


@cache
def _names() -> dict[str, str]:
    """The languages' names in the four languages, folded, with their codes."""
    from babel import Locale

    return {
        fold(name): code
        for spoken in ("en", "de", "fr", "es")
        for code in _LANGUAGES.split()
        if (name := Locale(spoken).languages.get(code))
    }


def _language(left: str, wanted: str, *, denies: bool) -> Check | None:
    if re.fullmatch(_words()["another language"], left) and denies and wanted:
        return in_language(wanted)
    code = _names().get(left) or _names().get(left.removesuffix("e").removesuffix("en"))
    if code is None:
        return None
    if not denies:
        return in_language(code)
    return Check(f"no answer is in {_named(code)}", lambda text: _spoken(text) == code, _tellable)


def in_language(code: str) -> Check:
    """That every answer is in this language, as far as an answer is long enough to tell."""
    return Check(f"every answer is in {_named(code)}", lambda text: _spoken(text) != code, _tellable)


def _named(code: str) -> str:
    from prompts.templates import language_name

    return language_name(code)


@lru_cache(maxsize=4096)
def _spoken(text: str) -> str:
    from trainers.checks.spoken import language_of

    return language_of(text)


def _tellable(text: str) -> bool:
    from trainers.checks.spoken import UNDETERMINED

    return _spoken(text) != UNDETERMINED


# Limits on length


def _count(text: str, unit: str) -> int:
    lines = [line for line in text.splitlines() if line.strip()]
    return {
        "word": lambda: words(text),
        "sentence": lambda: sentences(text),
        "character": lambda: len(text.strip()),
        "line": lambda: len(lines),
        "item": lambda: len(_ITEM.findall(text)),
    }[unit]()


def _limit(folded: str, forbidden: bool) -> Check | None:
    """A limit on length, where that is all that the demand says."""
    for number, unit, before, others in _limits(folded):
        left = {token for token in _tokens(others) if token not in _listed("fillers")}
        way = _way(before, forbidden or bool(left & _listed("denies")))
        if way and not left - _listed("denies"):
            return _limited(number, unit, way)
    return None


def _limits(folded: str) -> Iterator[tuple[int, str, str, str]]:
    """Each number with a unit: number, unit, the words of measure before it, and all the rest of the demand."""
    from text_to_num import alpha2digit

    measures = [_words()[name] for name in _MEASURES]
    before = rf"(?P<before>(?:{'|'.join(measures)})\s+)?"
    behind = rf"(?:\s+(?:{_words()['behind']}))?"
    for unit, languages in _words()["units"].items():
        for language, name in languages.items():
            numbered = alpha2digit(_small(folded), language)
            pattern = rf"(?<!\w){before}(?P<number>\d+)[ -](?:short |kurze[nr]? |ganze )?{name}(?!\w){behind}"
            for found in re.finditer(pattern, numbered):
                rest = f"{numbered[: found.start()]} {numbered[found.end() :]}"
                yield int(found["number"]), unit, (found["before"] or "").strip(), rest


def _small(folded: str) -> str:
    """The small numbers as digits: alone they are left as words, since they are articles as well."""
    small = ("one|ein|eine|einen|einem|une?|una?", "two|zwei|deux|dos", "three|drei|trois|tres")
    for number, names in enumerate(small, start=1):
        folded = re.sub(rf"\b(?:{names})\b(?=[ -]\w)", str(number), folded)
    return folded


def _way(before: str, denied: bool) -> str | None:
    """Which kind of limit it is; None where it is denied and that would say something else than "not more than"."""
    named = next((name for name in _MEASURES if re.fullmatch(_words()[name], before)), "most")  # a bare number too
    if denied:
        return "most" if named == "over" else None
    return named


def _limited(number: int, unit: str, way: str) -> Check:
    units = f"{unit}{'s' if number != 1 else ''}"
    breaks: dict[str, tuple[str, Callable[[int], bool]]] = {
        "most": ("at most", lambda n: n > number),
        "under": ("fewer than", lambda n: n >= number),
        "least": ("at least", lambda n: n < number),
        "over": ("more than", lambda n: n <= number),
        "exact": ("exactly", lambda n: n != number),
    }
    told, wrong = breaks[way]
    return Check(f"every answer has {told} {number} {units}", lambda text: wrong(_count(text, unit)))
