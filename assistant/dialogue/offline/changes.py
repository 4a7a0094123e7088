"""Changes to a list of labels or keys that is known: what is dropped, added, or renamed.

Owns the wordings of such changes. Refuses to know whether the list is one of labels or of keys.
"""

from __future__ import annotations

import re
from functools import cache

from assistant.dialogue.offline.listing import list_at
from assistant.dialogue.offline.text import fold, lexicon, pattern, words

_LONGEST_ADDED = 3  # words
_SHORT = 4  # words of a message that has no room for anything but an addition
_TURNS = r"[.;!?\n]|\b(?:add|keep|ajoute|agrega|anade|behalt)\b"


def changed_list(text: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
    """A known list after what the statement says of its items, or None where it says nothing."""
    if not known:
        return None
    folded = fold(text)
    result = _renamed(text, folded, known)
    if result is None:
        kept = [item for item in known if not _dropped(folded, fold(item))]
        last_named = _last_named(folded, kept)
        if last_named and pattern("drop_named").search(folded):
            kept.remove(last_named)
        names = {fold(item) for item in known}
        result = (*kept, *(item for item in _added(text, folded, known) if fold(item) not in names))
    return result if result != known else None


def _renamed(text: str, folded: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
    """The list with one item under a new name, or with two items made one."""
    by_name = {fold(item): item for item in known}
    names = "|".join(re.escape(name) for name in sorted(by_name, key=len, reverse=True))
    for expression in [*lexicon()["renames"], lexicon()["merges"]]:
        filled = expression.replace("<old>", rf"\b(?P<old>{names})\b").replace("<other>", rf"\b(?P<other>{names})\b")
        if match := re.search(filled, folded):
            groups = match.groupdict()
            new = text[slice(*match.span("new"))] if groups["new"] else by_name[groups["other"]]
            gone = by_name.get(groups.get("other") or "")
            renamed = (new if item == by_name[groups["old"]] else item for item in known if item != gone or item == new)
            return tuple(dict.fromkeys(renamed))
    return None


def _mentions(folded: str, name: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", folded))


def _dropped(folded: str, name: str) -> bool:
    for match in _mentions(folded, name):
        before = re.split(_TURNS, folded[: match.start()])[-1]
        if re.search(rf"{lexicon()['drop_before']}(?:\W+\w+){{0,3}}?\W*$", before[-50:]):
            return True
        if pattern("drop_after").match(folded[match.end() :]):
            return True
    return False


def _last_named(folded: str, items: list[str]) -> str | None:
    places = [(max(m.start() for m in found), item) for item in items if (found := _mentions(folded, fold(item)))]
    return max(places)[1] if places else None


def _added(text: str, folded: str, known: tuple[str, ...]) -> tuple[str, ...]:
    before = pattern("added_before").search(folded)
    if before and before.group("item") not in words("not_first") | words("no_label"):
        return (text[slice(*before.span("item"))],)
    about_list = any(_mentions(folded, fold(item)) for item in known) or len(folded.split()) <= _SHORT
    concepts = ("adds", "adds_too") if about_list else ("adds",)
    for match in (match for concept in concepts for match in _adding(concept).finditer(folded)):
        listed = list_at(text, match.end())
        items = tuple(_without_tail(item) for item in listed.items) if listed else ()
        if items and all(0 < len(item.split()) <= _LONGEST_ADDED for item in items):
            return items
    return ()


@cache
def _adding(concept: str) -> re.Pattern[str]:
    return re.compile(lexicon()[concept].replace("<what>", lexicon()["added_what"]))


def _without_tail(item: str) -> str:
    return re.sub(r"\s+(?:instead|stattdessen|dazu|hinzu|auch|too|please|bitte)$", "", item, flags=re.IGNORECASE)
