"""A list in running text: where it begins, what its items are, and where it ends.

Owns the shapes of lists (commas, slashes, bars, semicolons, "a, b or c", bullets, <a> <b>). Refuses to know what is
listed (`lists`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from assistant.dialogue.offline.text import fold, words

_TOKEN = re.compile(
    r"""
    \(?\b(?:\d{1,2}|[a-e])\)(?=\s)                        # "1)" before an item
    | "[^"\n]{1,40}" | '[^'\n]{2,40}'(?!\w) | <[^<>\n]{1,30}>
    | \d{1,3}(?:[.,]\d{3})+
    | [\w&+\#.'/-]*[\w&+\#]                              # a word
    | -> | => | [^\s\w]
    | \n(?:[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+)?             # a line, with its bullet
    """,
    re.VERBOSE,
)
_MOST_WORDS = 4
_MOST_ITEMS = 40
_OR = frozenset({"or", "oder", "ou", "o", "u", "vs", "versus"})
_AND = frozenset({"and", "und", "et", "y", "e", "sowie", "plus", "+"})
_OPENS = frozenset("({[<:")
_KEEPS = frozenset({"of", "de", "d'", "del", "der", "du", "da"})
_DENIALS = frozenset({"no", "not", "non", "nicht", "kein", "keine", "pas", "sin"})
_NUMBERED = re.compile(r"\(?(?:\d{1,2}|[a-e])\)")
_COUNTED = re.compile(r"\d[\d.,]*k?")


@dataclass(frozen=True)
class Listed:
    """The items of a list, how they are set apart, and where the list ends."""

    items: tuple[str, ...]
    marks: frozenset[str]
    end: int

    @property
    def by_or(self) -> bool:
        return "or" in self.marks

    @property
    def by_and(self) -> bool:
        return "and" in self.marks

    @property
    def by_bullets(self) -> bool:
        return "bullet" in self.marks

    @property
    def by_marks(self) -> bool:
        return bool(self.marks & {"/", "|", "<", ";"})

    @property
    def by_slashes(self) -> bool:
        return bool(self.marks & {"/", "|", "<"})


def list_at(text: str, start: int, *, strict: bool = False, keeps: bool = False) -> Listed | None:
    """The list that begins at `start`. `strict`: the first item is one word. `keeps`: items may hold "of"."""
    return _Scanner(text, start, strict=strict, keeps=keeps).read()


def is_plain_list(text: str) -> Listed | None:
    """The list that a message is, where it is nothing else."""
    found = list_at(text, 0, keeps=True)
    rest = text[found.end :].strip(" .!\"'\n") if found else text
    return found if found and not rest and len(found.items) > 1 else None


@dataclass
class _Scanner:
    """Reads tokens from `start` on until something cannot belong to a list."""

    text: str
    start: int
    strict: bool
    keeps: bool
    items: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)
    last_mark: str = ""
    end: int = 0
    skips_to: int = 0

    def read(self) -> Listed | None:
        self.end = self.start
        for match in _TOKEN.finditer(self.text, self.start):
            if match.start() < self.skips_to and match.group()[0] != "\n":
                continue
            if len(self.items) > _MOST_ITEMS or not self._takes(match):
                break
        if len(self.current) <= self._most_words():
            self._close_item()
        items = tuple(dict.fromkeys(item for item in (item.strip(" .\"'") for item in self.items) if item))
        return Listed(items, frozenset(self.marks), self.end) if items else None

    def _takes(self, match: re.Match[str]) -> bool:
        """Takes a token in; False where the list ends before it."""
        token, low = match.group(), fold(match.group())
        if token[0] == "\n":
            return self._takes_line(match)
        joins = len(token) > 1 or token.islower() or not token.isalpha()
        if token in ",;/|" or (joins and (low in _OR or low in _AND)):
            return self._separates(match, "or" if low in _OR else "and" if low in _AND else token)
        if _NUMBERED.fullmatch(token):
            return self._takes_number()
        if token[0] == "<" and len(token) > 2:
            return self._takes_bracketed(match)
        if not re.search(r"\w", token):
            return self._takes_sign(match)
        return self._takes_word(match, low)

    def _takes_line(self, match: re.Match[str]) -> bool:
        bulleted = len(match.group()) > 1
        if bulleted and (self.marks <= {"bullet"}):
            self._close_item()
            self.marks.add("bullet")
            return True
        return not self.items and not self.current

    def _takes_number(self) -> bool:
        """ "1) water 2) fire" within a line."""
        self._close_item()
        self.marks.add("bullet")
        return True

    def _takes_sign(self, match: re.Match[str]) -> bool:
        """An opening before the list; a remark in brackets, or after a colon in a bullet, is passed over."""
        if not self.items and not self.current:
            return match.group() in _OPENS
        closing = self.text.find(")", match.end(), match.end() + 80) if match.group() == "(" else -1
        if closing >= 0 and self.current:
            self.skips_to = closing + 1
            return True
        if match.group() in ":-(" and "bullet" in self.marks and self.current:
            line_end = self.text.find("\n", match.end())
            self.skips_to = line_end if line_end >= 0 else len(self.text)
            return True
        return False

    def _separates(self, match: re.Match[str], mark: str) -> bool:
        if not self.current:
            if self.items and mark in ("or", "and"):  # ", or"
                self.marks.add(mark)
                self.last_mark = mark
                return True
            return False
        other = self.marks & {",", ";", "/", "|"} - {mark}
        if other and mark not in ("or", "and"):
            return False
        if self.last_mark in ("or", "and") and mark == ",":
            return False
        if len(self.current) > (1 if self.strict and not self.items else self._most_words()):
            self.current, self.items = [], []
            return False
        if mark == "and" and not self._goes_on(match.end()):
            return False
        self._close_item()
        self.marks.add(mark)
        self.last_mark = mark
        return True

    def _goes_on(self, position: int) -> bool:
        """Whether an item may follow: "a, b and we need" is at its end with b."""
        following = _TOKEN.search(self.text, position)
        return bool(following) and fold(following.group()) not in words("not_first")  # type: ignore[union-attr]

    def _takes_bracketed(self, match: re.Match[str]) -> bool:
        if self.items and "<" not in self.marks:
            return False
        self.current = []
        self.items.append(match.group()[1:-1])
        self.marks.add("<")
        self.end = match.end()
        return True

    def _takes_word(self, match: re.Match[str], low: str) -> bool:
        if "<" in self.marks:
            return False
        if not self.current and low in words("articles") and not self._is_letter(match):
            return True
        if not (self._may_go_on(low) if self.current else self._may_begin(match, low)):
            return False
        inner = match.group().split("/")
        if len(inner) > 1 and all(re.fullmatch(r"[^\W\d][\w-]*", part) for part in inner):
            return self._takes_slashed(match, inner)
        self.current.append(match.group().strip("\"'"))
        self.end = match.end()
        return len(self.current) <= self._most_words()

    def _most_words(self) -> int:
        return _MOST_WORDS + 2 * ("bullet" in self.marks)

    def _is_letter(self, match: re.Match[str]) -> bool:
        """Whether an "a" is an item: "A, B", "a or b"."""
        letter = match.group()
        following = re.match(r"\s*(?:[,;/|.)]|$|(?:or|and|oder|und|ou|et|o|y) )", self.text[match.end() :])
        return len(letter) == 1 and (letter.isupper() or bool(following))

    def _may_begin(self, match: re.Match[str], low: str) -> bool:
        """Whether an item can begin with a word."""
        following = _TOKEN.match(self.text, min(match.end() + 1, len(self.text)))
        upcoming = fold(following.group()) if following else ""
        if _COUNTED.fullmatch(low) and re.match(r"[a-z]{3,}", upcoming):
            return False
        denial = low in _DENIALS and self.items and re.match(r"[a-z]", upcoming) and upcoming not in _OR
        named = len(low) > 1 and match.group().isupper()  # "PER, LOC, ORG"
        return low not in words("not_first") or named or bool(denial)

    def _may_go_on(self, low: str) -> bool:
        """Whether an item can go on with a word."""
        if self.keeps and low in _KEEPS:
            return True
        return low not in words("ends") and (low not in words("not_first") or low in _KEEPS)

    def _takes_slashed(self, match: re.Match[str], inner: list[str]) -> bool:
        """ "pos/neg/mixed", or "engineering/sales or ops"."""
        if self.current:
            return False
        *whole, last = inner
        self.items += whole
        self.current = [last]
        self.marks.add("/")
        self.end = match.end()
        return True

    def _close_item(self) -> None:
        if self.current:
            self.items.append(" ".join(self.current))
        self.current = []
