"""Questions about fine-tuning: which note answers one, or that none does.

Owns the notes (`notes.yaml`), finding one for a question in English, German, French or Spanish, and its wording.
Refuses to answer from anything but a note, to know the project, and to ask a model or the network.

A question is compared with everything that a note lists, by the pieces of words that both hold; a piece counts the
more, the fewer notes hold it, and one that no note holds counts most. That is what tells "what is docker" from "what
is dora". On the first 111 questions, where one in ten of those that no note answers got one, this found 80 %;
scikit-learn's TF-IDF, which leaves unknown pieces out and takes a second to import, 66 %; rapidfuzz and BM25 45 % at
most. What was added since (`elsewhere`, common words, jargon, familiar words) was chosen on the questions marked
"tune" in tests/assistant/note_questions.jsonl; those marked "test" say what to expect of a new question.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain
from math import ceil, log, sqrt
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Language = Literal["en", "de", "fr", "es"]

# Near where right answers and right silences, taken together, are most on the questions marked "tune".
KNOWN = 0.38
# Below that a note may still be meant; from here on it is worth offering.
_NEAR, _OFFERED = 0.25, 3
# What makes a score: likeness to the nearest ask, the share of the question that the note's words cover, and, against
# it, likeness to what people say elsewhere.
_LIKENESS, _COVERAGE, _ELSEWHERE = 0.7, 0.3, 0.6
# How far a note's own jargon brings its score towards 1.
_TERM = 0.5
# A word is familiar where the notes hold one that begins with as much of it; pieces of others only weigh against.
_FAMILIAR, _FEWEST_LETTERS = 0.6, 4
# What is told and not asked is rarely meant for a note: a task, rows, an order. A few words with jargon may be.
_TOLD, _BEGINNING, _SHORT = 0.15, 4, 4
# Pieces of three and four letters meet typing errors and word endings in all four languages without a stemmer for each.
_SHORTEST, _LONGEST = 3, 4
# A question is short; a person may paste a whole file.
_READ = 400
# One spelling for what people write in several ways.
_SPELLINGS = ((re.compile(r"\bwhat ?['’]?s\b"), "what is"), (re.compile(r"\bfine[ -]?tun"), "finetun"))


class Source(BaseModel):
    """A work that a note rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    authors: str
    year: int = Field(ge=1950, le=2100)
    url: str = Field(pattern=r"^https://\S+$")


class Note(BaseModel):
    """One answer. `asks` are typical ways to ask for it, `words` what else a question about it may hold.

    `terms` are jargon that is about this note wherever it stands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    asks: dict[Language, tuple[str, ...]]
    words: tuple[str, ...]
    terms: tuple[str, ...] = ()
    text: str
    sources: tuple[Source, ...] = Field(min_length=1)


class _Book(BaseModel):
    """The file: the notes, what people say that none of them answers, and words that tell little."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notes: tuple[Note, ...]
    elsewhere: tuple[str, ...]
    asking: str
    common: str


@cache
def _book() -> _Book:
    text = files(__package__).joinpath("notes.yaml").read_text("utf-8")
    # Ten times as fast as the loader in Python, and in every wheel of PyYAML; without it notes only come later.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return _Book.model_validate(yaml.load(text, Loader=loader))


def notes() -> tuple[Note, ...]:
    """All notes, read once."""
    return _book().notes


def answer(question: str) -> Note | None:
    """The note that answers a question, or None where no note is known to."""
    best = ranked(question)[:1]
    return best[0][0] if best and best[0][1] >= KNOWN else None


def near(question: str) -> tuple[Note, ...]:
    """Notes that may be meant where `answer` knows none, the likeliest first, for a "did you mean"."""
    return tuple(note for note, score in ranked(question)[:_OFFERED] if score >= _NEAR)


def ranked(question: str) -> list[tuple[Note, float]]:
    """Notes that have anything to do with a question, and their scores of at most 1, the best first."""
    scores = _index().scores(question[:_READ])
    return sorted(((notes()[i], score) for i, score in scores.items()), key=lambda pair: -pair[1])


def wording(note: Note) -> str:
    """The note as the chat says it: its text, and what it rests on."""
    label = "Source" if len(note.sources) == 1 else "Sources"
    listed = "; ".join(f"[{source.title}]({source.url}), {source.year}" for source in note.sources)
    return f"{note.text}\n\n{label}: {listed}"


class _Index:
    """Where each piece of a word occurs, and how much it tells."""

    def __init__(self, book: _Book) -> None:
        phrases = [*map(_phrases, book.notes), book.elsewhere]
        asks = [[_pieces(_words(phrase)) for phrase in group] for group in phrases]
        self._elsewhere = len(book.notes)
        self._held = [frozenset[str]().union(*group) for group in asks]
        count = Counter(chain.from_iterable(self._held[: self._elsewhere]))
        # Squared, since only squares and products of two are ever needed.
        self._unknown = log(1 + len(book.notes)) ** 2
        self._weights = {piece: log((1 + len(book.notes)) / (1 + many)) ** 2 for piece, many in count.items()}
        self._vocabulary = sorted({word for group in phrases[:-1] for phrase in group for word in _words(phrase)})
        self._terms = [(number, _line(_words(term))) for number, note in enumerate(book.notes) for term in note.terms]
        self._groups = [number for number, group in enumerate(asks) for _ in group]
        self._lengths = [self._length(ask) for group in asks for ask in group]
        self._at: defaultdict[str, list[int]] = defaultdict(list)
        for place, ask in enumerate(chain.from_iterable(asks)):
            for piece in ask:
                self._at[piece].append(place)

    def scores(self, question: str) -> dict[int, float]:
        """Each note's score; notes that have no telling piece in common with the question are left out."""
        words = _words(question)
        pieces, familiar = _pieces(words), _pieces(word for word in words if self._is_familiar(word))
        length = self._length(pieces)
        against = _ELSEWHERE * self._nearest(pieces, length).get(self._elsewhere, 0.0)
        likeness = self._nearest(familiar, length)
        likeness.pop(self._elsewhere, None)
        named = {note for note, term in self._terms if term in _line(words)}
        scores = {}
        for note, like in likeness.items():
            score = _LIKENESS * like + _COVERAGE * self._length(familiar & self._held[note]) / length
            told = not _is_asked(question, words) and not (note in named and len(words) <= _SHORT)
            scores[note] = score + _TERM * (1 - score) * (note in named) - against - _TOLD * told
        return scores

    def _is_familiar(self, word: str) -> bool:
        if word in _listed("common") or word.isdigit():
            return True
        beginning = word[: max(_FEWEST_LETTERS, ceil(_FAMILIAR * len(word)))]
        place = bisect_left(self._vocabulary, beginning)
        return place < len(self._vocabulary) and self._vocabulary[place].startswith(beginning)

    def _length(self, pieces: Iterable[str]) -> float:
        weights, unknown = self._weights, self._unknown
        return sqrt(sum([weights.get(piece, unknown) for piece in pieces]))

    def _nearest(self, pieces: Iterable[str], length: float) -> dict[int, float]:
        """For each note, and for elsewhere, the cosine of the nearest ask and a question of this length."""
        shared: defaultdict[int, float] = defaultdict(float)
        for piece in pieces:
            if weight := self._weights.get(piece, self._unknown):
                for place in self._at.get(piece, ()):
                    shared[place] += weight
        nearest: dict[int, float] = {}
        for place, weight in shared.items():
            group = self._groups[place]
            nearest[group] = max(nearest.get(group, 0.0), weight / (length * self._lengths[place]))
        return nearest


@cache
def _index() -> _Index:
    return _Index(_book())


def _phrases(note: Note) -> list[str]:
    return [note.title, *note.words, *note.terms, *(ask for asks in note.asks.values() for ask in asks)]


@cache
def _listed(name: Literal["asking", "common"]) -> frozenset[str]:
    return frozenset(_words(getattr(_book(), name)))


def _is_asked(text: str, words: Sequence[str]) -> bool:
    return "?" in text or not _listed("asking").isdisjoint(words[:_BEGINNING])


def _line(words: Iterable[str]) -> str:
    """Words with a space on each side, so that a term is found only whole."""
    return f" {' '.join(words)} "


def _pieces(words: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*map(_cut, words))


@lru_cache(maxsize=4096)
def _cut(word: str) -> frozenset[str]:
    """A word and its pieces, its ends marked by a space. A common word stays whole, so it counts as one piece only."""
    if word in _listed("common"):
        return frozenset({f"#{word}"})
    ended = f" {word} "
    sizes = range(_SHORTEST, min(_LONGEST, len(ended)) + 1)
    return frozenset({f"#{word}", *(ended[i : i + size] for size in sizes for i in range(len(ended) - size + 1))})


def _words(text: str) -> list[str]:
    """Words in small letters without accents and marks, in one spelling."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    for spelling, one in _SPELLINGS:
        plain = spelling.sub(one, plain)
    return re.findall(r"[a-z0-9]+", plain)
