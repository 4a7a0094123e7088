"""Labels and JSON keys: which list of a message names them, and JSON skeletons and classes that somebody pasted.

Owns what announces labels or keys. Refuses to read the list itself (`listing`), changes to a known list (`changes`),
and to know the task beyond its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from assistant.dialogue.offline.listing import Listed, list_at
from assistant.dialogue.offline.text import fold, lexicon, pattern, sentences, words

_SKELETON = re.compile(r"\{[^{}]*[\"'“]?[\w -]+[\"'”]?\s*:[^{}]*\}", re.DOTALL)
_KEY = re.compile(r"[\"'“]([\w .-]{1,40})[\"'”]\s*:|(?<=[{,\s])([\w-]{1,40})\s*:")
_TYPED = re.compile(
    r"(?:^|[,;{(])\s*([A-Za-z_]\w*)\??\s*:\s*(?:str|int|float|bool|list|dict|date\w*|Optional|Literal|None|string|number|boolean)\b",
    re.M,
)
_BARE_KEYS = re.compile(
    r"(?:^[ \t]*[\w-]{1,30}[ \t]*:[ \t]*(?:\.{2,}|\?+|_+)?[ \t]*\n){2,}(?:^[ \t]*[\w-]{1,30}[ \t]*(?::.{0,4})?$)?",
    re.MULTILINE,
)
_IDENTIFIER = re.compile(r"[a-z]+(?:_[a-z0-9]+)+|[a-z]+[A-Z]\w*")
# "The subject of every letter" is the subject.
_OF_WHAT = re.compile(
    r" (?:of|from|in|der|de|del|du) (?:every|each|the|all|our|a|jeder|aller|chaque|cada|los|las|les|la|el)\b.*", re.I
)
_BULLET = r"(?:[-*•]\s*|\d[.)]\s*)?"
_YES_AND_NO = ({"yes", "no"}, {"ja", "nein"}, {"oui", "non"}, {"si", "no"})
# How sure one must be that a list names labels, or keys.
_ENOUGH_LABELS, _ENOUGH_KEYS = 2.3, 2.0


def json_keys(text: str) -> tuple[str, ...]:
    """The keys of a JSON skeleton, a class or an empty form that somebody pasted, or none."""
    if found := _SKELETON.search(text):
        keys = [quoted or bare for quoted, bare in _KEY.findall(found.group())]
        return tuple(dict.fromkeys(key.strip() for key in keys))
    if len(typed := _TYPED.findall(text)) > 1:
        return tuple(dict.fromkeys(typed))
    bare = _BARE_KEYS.search(text)
    keys = re.findall(r"^[ \t]*([\w-]+)", bare.group(), re.MULTILINE) if bare else []
    return tuple(key for key in keys if not pattern("key_word").fullmatch(fold(key)))


def labels_in(text: str, *, classifies: bool, asked: bool = False) -> tuple[str, ...]:
    """The labels that a statement names; weaker signs are enough for a classification or an answer."""
    plain = _SKELETON.sub(lambda found: "." + " " * (len(found.group()) - 1), text)
    if named := _announced(plain, "label_word", least=2):
        return named
    if not classifies:
        return ()
    return _heaviest(plain, _label_starts(plain, asked=asked), _label_weight, _ENOUGH_LABELS)


def fields_in(text: str, *, extracts: bool) -> tuple[str, ...]:
    """The JSON keys that a statement names, from a skeleton, around a word for keys, or as things to pull out."""
    if keys := json_keys(text):
        return keys
    if named := announced_fields(text):
        return named
    if not extracts:
        return ()
    return tuple(
        _OF_WHAT.sub("", key) for key in _heaviest(text, _key_starts(text), _key_weight, _ENOUGH_KEYS, keeps=True)
    )


def announced_fields(text: str) -> tuple[str, ...]:
    """The keys that stand after or before a word for keys."""
    return _announced(text, "key_word", least=1) or _before_word_for_keys(text)


def _announced(text: str, concept: str, least: int) -> tuple[str, ...]:
    """The list right after a word that announces it."""
    found: list[tuple[str, ...]] = []
    folded = fold(text)
    for match in re.finditer(rf"(?:{lexicon()[concept]}){lexicon()['names_them']}\s*{_BULLET}", folded):
        listed = list_at(text, match.end())
        if not listed:
            continue
        one = "json" in folded and pattern("one_key").search(match.group())
        sure = one or re.search(rf"[:=(]\s*{_BULLET}$", match.group())
        if len(listed.items) >= 2 or (sure and len(listed.items) >= least):
            found.append(listed.items)
    return max(found, key=len) if found else ()


def _before_word_for_keys(text: str) -> tuple[str, ...]:
    """ "a;b;c as JSON keys", "a, b, c, those are the columns"."""
    for match in pattern("keys_after").finditer(fold(text)):
        before = text[: match.start()]
        starts = [m.start() for m in re.finditer(r"(?<![\w'-])\w", before)]
        lists = [listed for start in starts if (listed := list_at(text, start, strict=True))]
        fitting = [listed.items for listed in lists if len(listed.items) > 1 and listed.end >= len(before.rstrip(" ,"))]
        if fitting:
            return max(fitting, key=len)
    return ()


def _heaviest(
    text: str, starts: list[tuple[int, float]], weigh: Callable[[Listed], float], enough: float, *, keeps: bool = False
) -> tuple[str, ...]:
    best: float = 0.0
    items: tuple[str, ...] = ()
    ends = dict(sentences(text))
    for start, worth in starts:
        listed = list_at(text, start, strict=worth < 1, keeps=keeps)
        if not listed or len(listed.items) < 2:
            continue
        whole = start in ends and not text[listed.end : ends[start]].strip(" \"'")
        weight = worth + weigh(listed) + 1.0 * whole
        if weight >= enough and weight > best:
            best, items = weight, _without_noun(listed.items)
    return _without_object(items)


def _without_noun(items: tuple[str, ...]) -> tuple[str, ...]:
    """ "hot, warm and cold mails" without the mails."""
    *others, last = items
    head, _, noun = last.rpartition(" ")
    counted = re.fullmatch(lexicon()["examples_noun"], fold(noun)) and all(" " not in item for item in others)
    return (*others, head) if head and counted else items


def _without_object(items: tuple[str, ...]) -> tuple[str, ...]:
    """ "Is it toxic, yes/no", "the mood of diary entries, happy, sad or angry": what is judged is no answer."""
    if len(items) < 3:
        return items
    first, *others = items
    judged = re.fullmatch(rf".*\b(?:{lexicon()['examples_noun']})", fold(first)) and " " in first
    asked = any({fold(item) for item in others} == answers for answers in _YES_AND_NO)
    return tuple(others) if asked or (judged and all(" " not in item for item in others)) else items


def _label_starts(text: str, *, asked: bool) -> list[tuple[int, float]]:
    folded = fold(text)
    starts = [(begin, 1.5 if asked else 0.5) for begin, _ in sentences(text)]
    starts += [(m.end(), 2.0) for m in pattern("introduces").finditer(folded)]
    starts += [(m.end(), 2.0) for m in pattern("sorts_into").finditer(folded)]
    starts += [(m.end(), 1.0) for m in pattern("chooses").finditer(folded)]
    return starts + [(m.start(), 0.0) for m in re.finditer(r"(?<![\w'-])[\"']?\w", folded)]


def _label_weight(listed: Listed) -> float:
    count = len(listed.items)
    folded = {fold(item) for item in listed.items}
    if any(_is_no_label(item) for item in folded) and not any(answers <= folded for answers in _YES_AND_NO):
        return -9.0
    shape = 2.5 * listed.by_or + 2.0 * listed.by_bullets + 1.0 * (listed.by_and and count > 2)
    shape += (3.5 if count > 2 else 2.0) * listed.by_slashes
    return shape + 0.15 * count - 0.3 * sum(len(item.split()) > 2 for item in listed.items)


def _is_no_label(item: str) -> bool:
    return item in words("no_label") or "json" in item


def _key_starts(text: str) -> list[tuple[int, float]]:
    folded = fold(text)
    starts = [(m.end(), 2.0) for m in pattern("introduces").finditer(folded)]
    starts += [(m.end(), 1.5) for m in pattern("pulls").finditer(folded)]
    starts += [(m.end(), 1.0) for m in pattern("out_of").finditer(folded)]
    starts += [(begin, 1.0) for begin, _ in sentences(text)]
    return starts + [(m.start(), 0.5) for m in re.finditer(r"(?<![\w'-])\w", folded)]


def _key_weight(listed: Listed) -> float:
    if any("json" in fold(item) or pattern("pulls").search(fold(item)) for item in listed.items):
        return -9.0
    count = len(listed.items)
    shape = 1.0 * listed.by_and + 1.5 * listed.by_bullets + 1.5 * listed.by_marks * (count > 2) + 0.5 * listed.by_or
    shape += 1.5 * any(_IDENTIFIER.fullmatch(item) for item in listed.items)
    return shape + 0.2 * min(count, 6) - 0.3 * sum(len(item.split()) > 3 for item in listed.items)
