"""What is shown of a review, and what was decided: plain values. Owns their wording; refuses to find rows."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import shorten
from typing import Literal, get_args

from trainers.data import Example

Queue = Literal["unanswered", "doubtful", "written"]
Act = Literal["answer", "drop", "approve", "reject", "skip"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
KEYS = 9  # labels that have a key of their own

_PAST = {"drop": "dropped", "approve": "approved", "reject": "rejected", "skip": "skipped"}


@dataclass(frozen=True)
class Card:
    """One row to decide on. `guess` is what is proposed, with the probability `sure`; empty where there is none."""

    queue: Queue
    row: int
    input: str
    answer: str = ""
    guess: str = ""
    sure: float = 0.0
    skipped: bool = False

    @property
    def why(self) -> str:
        """Why this row is shown, in words."""
        if self.queue == "written":
            return "A model wrote this row. It is only trained on if you approve it."
        if self.skipped:
            return "You skipped this row before."
        if self.queue == "doubtful":
            agrees = self.guess == self.answer
            told = "A second reading agrees with the label" if agrees else "It reads unlike the others of its label"
            return f"{told}." if self.guess else "It reads unlike the others of its label."
        return "Of all rows, an answer to this one teaches most." if self.guess else "It has no answer yet."


@dataclass(frozen=True)
class Shown:
    """What there is to look at. `free` means that answers are texts, not labels; `undo` tells what it takes back.

    `after` is the card that a decision brings, just as it is here: a page may show it without waiting.
    `guesses` counts the latest answers that had a proposal, `right` those that were the proposal. `stamp` changes
    with every act.
    """

    queue: Queue
    card: Card | None
    after: Card | None
    left: dict[Queue, int]
    done: dict[Queue, int]
    labels: tuple[str, ...] = ()
    free: bool = False
    undo: str = ""
    right: int = 0
    guesses: int = 0
    stamp: int = 0

    @property
    def empty(self) -> bool:
        """Nothing is left, and nothing was done that could be taken back."""
        return not any(self.left.values()) and not self.undo


@dataclass(frozen=True)
class Decision:
    """What was decided on `rows`, which are as they were before."""

    queue: Queue
    act: Act
    rows: tuple[Example, ...]
    text: str = ""
    guess: str = ""

    @property
    def told(self) -> str:
        """Such as "row 12: billing", "12 rows approved"."""
        if self.act == "answer":
            return f"row {self.rows[0].row}: {shorten(self.text, 40, placeholder=' …')}"
        which = f"row {self.rows[0].row}" if len(self.rows) == 1 else f"{len(self.rows):,} rows"
        return f"{which} {_PAST[self.act]}"
