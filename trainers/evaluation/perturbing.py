"""Texts as people also write them: with slips of the keyboard, and with other capitals.

Owns seeded changes that leave the meaning, and certain words, as they are. Refuses to know rows and models.

As in Belinkov and Bisk 2018 (https://arxiv.org/abs/1711.02173) and CheckList (Ribeiro et al. 2020,
https://aclanthology.org/2020.acl-main.442/), whose own package has not been kept since 2020 and brings spaCy along.
Only plain words are touched: a slip in a number, an address or a name in braces would make it another one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable

_PLAIN = re.compile(r"(?P<before>[(\"'“„]*)(?P<word>[^\W\d_]+)(?P<after>[.,;:!?)\"'”“]*)")
_SHORTEST = 4  # letters; a slip in a shorter word often makes another word
_EVERY = 8  # one slip in so many words, one at least: people read over them


def words_of(*texts: str) -> frozenset[str]:
    """The words in texts, such as labels, without case."""
    return frozenset(word.casefold() for text in texts for word in re.findall(r"[^\W\d_]+", text))


def with_typos(text: str, rng: random.Random, keep: frozenset[str] = frozenset()) -> str:
    """The text with letters swapped, left out or doubled within words; as it is where no word may be touched."""
    pieces = re.split(r"(\s+)", text)
    places = [i for i, piece in enumerate(pieces) if len(_plain(piece, keep)) >= _SHORTEST]
    chosen = rng.sample(places, min(len(places), max(1, len(places) // _EVERY)))
    for place in chosen:
        pieces[place] = _changed(pieces[place], lambda word: _slip(word, rng))
    return "".join(pieces)


def with_other_capitals(text: str, keep: frozenset[str] = frozenset()) -> str:
    """The text in small letters; Each Word With A Capital where it has none."""
    pieces = re.split(r"(\s+)", text)
    places = [i for i, piece in enumerate(pieces) if _plain(piece, keep)]
    has_capitals = any(pieces[place] != pieces[place].lower() for place in places)
    for place in places:
        pieces[place] = _changed(pieces[place], str.lower if has_capitals else str.capitalize)
    return "".join(pieces)


def _plain(piece: str, keep: Iterable[str]) -> str:
    """The word of a piece; empty where it is no plain word, or is to be kept."""
    found = _PLAIN.fullmatch(piece)
    return found["word"] if found and found["word"].casefold() not in keep else ""


def _changed(piece: str, change: Callable[[str], str]) -> str:
    found = _PLAIN.fullmatch(piece)
    assert found
    return found["before"] + change(found["word"]) + found["after"]


def _slip(word: str, rng: random.Random) -> str:
    """One slip behind the first letter, by which a word is mostly recognised."""
    at = rng.randrange(1, len(word) - 1)
    one, other = word[at], word[at + 1]
    if one != other and rng.random() < 0.5:
        return word[:at] + other + one + word[at + 2 :]
    return word[:at] + word[at + 1 :] if rng.random() < 0.5 else word[:at] + one + word[at:]
