"""How many solved examples a person has: which of a message's numbers counts them.

Owns the weighing of numbers: what stands around a number speaks for or against it, and the heaviest one counts. Refuses
to read the number itself (`numbers`).
"""

from __future__ import annotations

import re

from assistant.dialogue.offline.numbers import Number
from assistant.dialogue.offline.text import lexicon, pattern

# How sure one must be that a number counts examples.
_ENOUGH = 2.0
_YEARS = range(1980, 2036)
_EXPLICIT = 1.75  # the weight of a noun of examples
_FEW, _MANY, _SMALL_MANY = 10, 30, 60
_ALONE = 2  # words beside a number that is all of a sentence
_REACH = 110  # characters around a number that speak of it
_GENERIC = re.compile(r"^\W*(?:[\w'/-]+\W+){0,2}?[a-z][\w'-]{3,}")
_END = re.compile(r"[!?;\n]|\.(?!\w)")
# What is said after these is said of another number.
_TURN = re.compile(r"\b(?:but|aber|mais|pero|of which|davon|dont|de l[oa]s cuales)\b")
_BETWEEN = r"(?:(?!(?:in|with|mit|avec|con|from|of)\W)[\w'/&-]+\W+){1,3}?"


def examples_in(found: list[Number], known: int | None, *, correcting: bool) -> int | None:
    """The number of examples that a statement tells, or None. `known`: what was said of it before."""
    weighed = [(_weight(number), number) for number in found]
    if correcting and known is not None and sum(weight >= 0 for weight, _ in weighed) == 1:
        weighed = [(weight + 2 if weight >= 0 else weight, number) for weight, number in weighed]
    if len(weighed) > 1 and any(number.value == known for _, number in weighed):
        # "The 9k: after dedup it's 6,780": the old number is only named to be replaced.
        weighed = [(weight + (weight >= 0 and number.value != known), number) for weight, number in weighed]
    best = max((weight for weight, _ in weighed), default=0.0)
    if best < _ENOUGH:
        return None
    return int([number.value for weight, number in weighed if weight == best][-1])


def _weight(number: Number) -> float:
    """How much speaks for a number of examples; below zero where it is something else for sure."""
    before = _END.split(number.before[-_REACH:])[-1].replace("'", " ")
    after = _END.split(_TURN.split(re.sub(r"^\s*\([^)]*\)", "", number.after)[:_REACH])[0])[0].replace("'", " ")
    if _counts_something_else(number, before, after):
        return -1.0
    noun, words = _weight_of_noun(number, before, after), _weight_of_words(before, after)
    # A few of something unknown are hardly examples; "5 examples" are.
    few = number.value < _FEW and noun < _EXPLICIT
    return noun + words + 0.25 * (number.value >= _MANY) - 1.0 * few


def _counts_something_else(number: Number, before: str, after: str) -> bool:
    if number.value < 1 or number.value != int(number.value) or _is_year(number, after):
        return True
    if re.match(rf"^[\s-]?(?:{lexicon()['other_unit']})", after) or pattern("rate_before").search(before[-30:]):
        return True
    if re.match(
        rf"^\W*(?!{lexicon()['examples_noun']}\b)(?:[\w-]+ )?(?:{lexicon()['other_noun']})\b", after
    ) and not _labelled_at(after):
        return True
    if number.value < _SMALL_MANY and re.match(rf"^\W*(?:[\w-]+ )?(?:{lexicon()['small_noun']})\b", after):
        return True
    return bool(pattern("rate").match(after)) or bool(pattern("other_before").search(before[-25:]))


def _is_year(number: Number, after: str) -> bool:
    """2019 is a year unless it is right before what is counted; 2000 is a count."""
    counted = re.match(rf"^\W*(?:[\w'-]+\W+)?(?:{lexicon()['examples_noun']})\b", after)
    return number.value in _YEARS and number.value != 2000 and not (counted or pattern("of_them").match(after))


def _labelled_at(after: str) -> bool:
    """Whether the counted thing is directly called labelled: "350 pages annotated"."""
    return bool(re.match(rf"^\W*[\w-]+ (?:{lexicon()['labelled']})", after))


def _weight_of_noun(number: Number, before: str, after: str) -> float:
    noun = lexicon()["examples_noun"]
    if re.match(rf"^\W*(?:{noun}|{lexicon()['small_noun']})\b", after) or pattern("of_them").match(
        number.after.replace("'", " ")
    ):
        return _EXPLICIT
    if re.match(rf"^\W*{_BETWEEN}(?:{noun})\b", after):
        return _EXPLICIT
    if pattern("times").match(after):
        return 1.0
    if re.search(rf"\b(?:{noun}|data|daten|trainingsdaten|donnees|datos)\W+(?:\w+\W+){{0,3}}$", before):
        return 1.25
    if _GENERIC.match(after):
        return 0.75
    # "About 210 from last year", "350 hand-typed": the number is what the sentence is about.
    alone = len(before.split()) + len(after.split()) <= _ALONE
    return 0.75 if alone else 0.5 if len(before.split()) <= _ALONE else 0.0


def _weight_of_words(before: str, after: str) -> float:
    weight = 0.0
    has = re.search(rf"(?:{lexicon()['have_before']})\W*(?:[\w/&]+\W+){{0,4}}$", before)
    if has or pattern("have_after").search(after[:60]):
        weight += 1.0
    if pattern("labelled").search(after) or pattern("labelled").search(before[-60:]):
        weight += 1.25
    if pattern("preferences").search(f"{before}#{after}"):
        weight += 1.25
    if pattern("only").search(before):
        weight += 0.75
    if pattern("result").search(before) or pattern("result").match(after):
        weight += 1.75
    if pattern("of_which").search(before):
        weight += 1.5
    if re.search(r"\b(?:n|examples?|beispiele|exemples|ejemplos|pairs|data|etiquetad\w+|labell?ed)\s*[:=]\s*$", before):
        weight += 1.5
    return weight
