"""One project's queues in memory: read once, then kept in step with each decision.

Owns which row comes next, what a decision changes and what taking it back does, and the work in the background: the
proposals and, once things rest, telling the task of its new rows. Refuses to know who decides.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from assistant.databench import ANSWERED, DataBench
from assistant.profiling import Profiling
from assistant.project import DataSource, Project
from assistant.reviewing.cards import QUEUES, Act, Card, Decision, Queue, Shown
from assistant.reviewing.changes import DROPPED, rows_of, with_row, without_rows
from assistant.reviewing.chores import Chores, Step
from assistant.reviewing.proposals import (
    LONGEST_LABEL,
    guesses,
    labels_to_choose,
    lesson_of,
    some_of,
    wants_texts,
)
from prompts.errors import DataError, TunewrightError
from trainers.data import Example
from trainers.edits import Action, Edit
from trainers.labelling import Proposal

_ACTIONS: dict[Act, Action] = {"answer": "answer", "drop": "drop_rows", "approve": "add_rows"}
_UNDONE = 500  # decisions that can be taken back one by one
_ANEW = 5  # answers after which the proposals are made anew
_BREATH = 3.0  # times as long as the last ones took until they are: they take their time from who decides
_REST = 3.0  # seconds without a decision after which the data is read again


class Session:
    """One project's queues in memory: read once, then kept in step with each decision."""

    def __init__(self, bench: DataBench, id: str) -> None:
        self.lock = threading.RLock()
        self.card: Card | None = None
        self._after: Card | None = None
        self.waiting: dict[Queue, dict[int, Example]] = {queue: {} for queue in QUEUES}
        self._bench, self._id = bench, id
        self._folder = bench.edits_of(id)
        self._data: DataSource | None = None
        self._pending: Edit | None = None
        self._queue: Queue = "unanswered"
        self._examples: tuple[Example, ...] = ()
        self._own: dict[int, Example] = {}  # answered by the person
        self._labels: tuple[str, ...] = ()
        self._texts = False
        self._guesses: dict[Queue, dict[int, Proposal]] = {queue: {} for queue in QUEUES}
        self._skipped: dict[tuple[Queue, int], None] = {}  # the one skipped last comes last
        self._decisions: list[Decision] = []
        self._done: Counter[Queue] = Counter()
        self._stamp = 0
        self._decided_at = float("-inf")
        self._asked_of: DataSource | None = None
        self._doubts_of: DataSource | None = None
        self._profiling: Profiling | None = None
        self.chores = Chores(self.lock, self._next_step)
        self._answers_since = 0
        self._guesses_stale = False
        self._propose_from = 0.0
        self._facts_stale = False
        self._guessed = threading.Event()  # nobody need wait for proposals
        self._guessed.set()

    # Looking

    @property
    def active(self) -> bool:
        return time.monotonic() - self._decided_at < _REST

    @property
    def row(self) -> Example:
        """The row on the card."""
        assert self.card is not None
        return self.waiting[self._queue][self.card.row]

    def signature(self) -> Hashable:
        ready = self._profiling is not None and self._profiling.done
        return (self._stamp, ready, self.active)

    def shown(self) -> Shown:
        with self.lock:
            had = [decision for decision in self._decisions if decision.queue == "unanswered" and decision.guess][-50:]
            return Shown(
                queue=self._queue,
                card=self.card,
                after=self._after,
                left={queue: len(rows) for queue, rows in self.waiting.items()},
                done={queue: self._done[queue] for queue in QUEUES},
                labels=self._labels,
                free=self._texts,
                undo=self._decisions[-1].told if self._decisions else "",
                right=sum(decision.text == decision.guess for decision in had),
                guesses=len(had),
                stamp=self._stamp,
            )

    def turn_to(self, queue: Queue) -> None:
        self._queue = queue
        stays = self.card is not None and self._waits(self.card)
        self._next(self.card.row if self.card and stays else None)

    def _next(self, row: int | None = None) -> None:
        """Show this row, or the one that comes next; of another queue where this one is through."""
        if not self.waiting[self._queue]:
            self._queue = next((queue for queue in QUEUES if self.waiting[queue]), self._queue)
        before, after = self.card, self._after
        if row is not None:
            self.card = self._card_of(self.waiting[self._queue][row])
        elif after and self._waits(after):
            self.card, after = after, None
        else:
            self.card = self._first()
        # What was promised, or was looked at, comes next unless it is gone.
        promised = (card for card in (after, before) if card and card != self.card and self._waits(card))
        self._after = next(promised, None) or self._first(without=self.card)
        self._stamp += 1

    def _waits(self, card: Card) -> bool:
        row = self.waiting[card.queue].get(card.row)
        skipped = (card.queue, card.row) in self._skipped
        return card.queue == self._queue and row is not None and row.input == card.input and skipped == card.skipped

    def _first(self, without: Card | None = None) -> Card | None:
        """The row that comes next: of those without an answer, one with a proposal, in the proposals' order."""
        queue, rows = self._queue, self.waiting[self._queue]
        proposed = self._guesses[queue] if queue == "unanswered" else {}
        fresh = (row for row in chain(proposed, rows) if row in rows and (queue, row) not in self._skipped)
        skipped = (row for skipped, row in self._skipped if skipped == queue and row in rows)
        others = (row for row in chain(fresh, skipped) if without is None or row != without.row)
        row = next(others, None)
        return None if row is None else self._card_of(rows[row])

    def _card_of(self, row: Example) -> Card:
        queue = self._queue
        card = Card(queue, row.row, row.input, answer=row.output, skipped=(queue, row.row) in self._skipped)
        guess = self._guesses[queue].get(row.row)
        return replace(card, guess=guess.answer, sure=guess.sure) if guess else card

    # Following the project

    def follow(self) -> None:
        """Be in step with the project, whoever changed it. It is read here, under the lock: what a page has read may be
        older than a decision, and the card would move on from a row that was just taken back."""
        with self.lock:
            project = self._bench.project(self._id)
            changed = project.data != self._data or project.pending != self._pending
            if project.data != self._data:
                self._read(project)
            if project.pending != self._pending:
                self.waiting["written"] = {row.row: row for row in self._bench.pending(project)}
                self._pending = project.pending
            changed |= self._find_doubts(project)
            if changed:
                stays = self.card is not None and self._waits(self.card)
                self._next(self.card.row if self.card and stays else None)

    def _read(self, project: Project) -> None:
        """Everything anew: the data was changed elsewhere, or this is the first look."""
        if project.data is None or self._data is None or project.data.path != self._data.path:
            self._forget()
        if project.data is not None:
            data = self._bench.dataset(project)
            by_person = rows_of(project.data.edits, "answer")
            self._examples = data.examples
            self._own = {row.row: row for row in data.examples if row.row in by_person}
            self._labels = labels_to_choose(project.spec, data.examples)
            self._texts = not self._labels and (bool(data.examples) or wants_texts(project.spec))
            doubted = self.waiting["doubtful"]
            still = {row.row: row for row in data.examples if row.row in doubted and row.row not in by_person}
            self.waiting["unanswered"] = {row.row: row for row in data.unanswered}
            self.waiting["doubtful"] = {row: still[row] for row in doubted if row in still}
            self._facts_stale |= project.spec.examples != len(data.examples)
            self._want_guesses()
        self._data = project.data

    def _forget(self) -> None:
        self._examples, self._own, self._labels = (), {}, ()
        self.waiting |= {"unanswered": {}, "doubtful": {}}
        self._guesses = {queue: {} for queue in QUEUES}
        self._decisions = []
        self._done.clear()
        self._skipped.clear()

    def _find_doubts(self, project: Project) -> bool:
        """Take the rows that the profile doubts, once it knows them. Whether there are new ones."""
        if project.data is None or self.waiting["doubtful"] or self._doubts_of == project.data or self.active:
            return False  # a list that is worked on stays as it is, and nothing is profiled after every decision
        if self._asked_of != project.data:
            self._asked_of, self._profiling = project.data, None
            threading.Thread(target=self._ask_for_profile, args=[project], daemon=True).start()
            return False
        if self._profiling is None or not self._profiling.done:
            return False
        try:
            found = [f for f in self._profiling.result().findings if f.check == "label_errors"]
        except Exception:  # the Data panel tells what is wrong
            found = []
        self._doubts_of, self._profiling = project.data, None
        rows = dict.fromkeys(row for finding in found for row in finding.rows)
        known = {row.row: row for row in self._examples if row.row in rows}
        self.waiting["doubtful"] = {row: known[row] for row in rows if row in known and row not in self._own}
        self._guesses["doubtful"] = {}
        self._want_guesses()
        return bool(self.waiting["doubtful"])

    def _ask_for_profile(self, project: Project) -> None:
        """Not where somebody waits: it may have to bring the base model first."""
        with suppress(TunewrightError):  # the Data panel tells what is wrong
            self._profiling = self._bench.profiling(project)

    # Deciding

    def answer(self, text: str) -> None:
        text = self._spelled(text)
        if not text:
            raise DataError("There is no answer to give.", hint="Write one, or skip the row.")
        row = self.row
        self._change("answer", ANSWERED, Example(row.row, "", text))
        self._own[row.row] = replace(row, output=text)
        self._texts |= not self._labels and len(text) > LONGEST_LABEL
        if not self._texts and text not in self._labels:
            self._labels = (*self._labels, text)
        self._decided("answer", [row], text=text)
        self._answers_since += 1
        if self._answers_since >= _ANEW or len(self._own) <= _ANEW:
            self._want_guesses()

    def _spelled(self, text: str) -> str:
        """A label as it is spelled already, where only case and spacing differ."""
        if self._texts:
            return text.strip()
        text = " ".join(text.split())
        return next((label for label in self._labels if label.casefold() == text.casefold()), text)

    def drop(self) -> None:
        row = self.row
        if len(self._examples) + len(self.waiting["unanswered"]) <= 1:
            raise DataError("This would leave no row at all.", hint="Skip it, or give other data.")
        self._change("drop_rows", DROPPED, Example(row.row, "", ""))
        self._decided("drop", [row])

    def skip(self) -> None:
        row, key = self.row, (self._queue, self.row.row)
        self._skipped.pop(key, None)
        self._skipped[key] = None
        self._decisions.append(Decision(self._queue, "skip", (row,)))
        self._next()

    def approve(self, rows: Sequence[Example]) -> None:
        before = [self.waiting["written"][row.row] for row in rows]
        if not rows:
            return
        project = self._bench.approve(self._id, rows)
        self._pending, self._data = project.pending, project.data
        self._queue = "written"
        self._decided("approve", before)

    def reject(self, rows: Sequence[int]) -> None:
        before = [self.waiting["written"][row] for row in rows]
        if not rows:
            return
        self._pending = self._bench.reject(self._id, rows).pending
        self._queue = "written"
        self._decided("reject", before)

    def _change(self, action: Action, words: str, row: Example) -> None:
        assert self._data is not None
        self._set_edits(with_row(self._folder, self._data.edits, action, words, row))

    def _set_edits(self, edits: tuple[Edit, ...], **values: Edit | None) -> None:
        assert self._data is not None
        data = self._data.model_copy(update={"edits": edits})
        self._bench.change(self._id, data=data, **values)
        self._data = data

    def _decided(self, act: Act, rows: Sequence[Example], text: str = "") -> None:
        queue = self._queue
        guess = self._guesses[queue].get(rows[0].row)
        for row in rows:
            self.waiting[queue].pop(row.row, None)
            self._skipped.pop((queue, row.row), None)
        self._done[queue] += len(rows)
        made = Decision(queue, act, tuple(rows), text, guess.answer if guess else "")
        self._decisions = [*self._decisions[1 - _UNDONE :], made]
        self._rest_later()
        self._next()

    def _rest_later(self) -> None:
        self._decided_at = time.monotonic()
        self._facts_stale = True
        self.chores.begin()

    # Taking back

    def undo(self) -> None:
        while self._decisions:
            last = self._decisions.pop()
            if self._take_back(last):
                self._queue = last.queue
                self._next(last.rows[0].row)
                return
        self._next()

    def _take_back(self, last: Decision) -> bool:
        """Whether there was still something to take back: the chat may have gone back already."""
        if last.act == "skip":
            self._skipped.pop((last.queue, last.rows[0].row), None)
            return last.rows[0].row in self.waiting[last.queue]
        if last.act == "reject":
            self._put_back(last)
        elif not self._without(last):
            return False
        for row in last.rows:
            self._own.pop(row.row, None)
        self.waiting[last.queue] = {row.row: row for row in last.rows} | self.waiting[last.queue]
        self._done[last.queue] -= len(last.rows)
        self._rest_later()
        return True

    def _without(self, last: Decision) -> bool:
        assert self._data is not None
        edits = without_rows(self._folder, self._data.edits, _ACTIONS[last.act], [row.row for row in last.rows])
        if edits == self._data.edits:
            return False
        if last.act == "approve":
            self._put_back(last, edits)
        else:
            self._set_edits(edits)
        return True

    def _put_back(self, last: Decision, edits: tuple[Edit, ...] | None = None) -> None:
        """Rows that a model wrote wait again, in their old places."""
        assert self._data is not None
        rows = sorted((*last.rows, *self.waiting["written"].values()), key=lambda row: row.row)
        self._pending = self._bench.pending_edit(self._id, rows)
        self._set_edits(self._data.edits if edits is None else edits, pending=self._pending)

    # In the background

    def await_guesses(self, seconds: float = 0.4) -> None:
        """Wait a moment for the first proposals: of a few hundred rows they are there at once."""
        if self.card and self.card.queue != "written" and not self.card.guess:
            self._guessed.wait(seconds)

    def _want_guesses(self) -> None:
        self._answers_since = 0
        if not self._texts:
            self._guesses_stale = True
            self._guessed.clear()
            self.chores.begin()

    def _next_step(self) -> Step | None:
        if self._guesses_stale and time.monotonic() >= self._propose_from:
            self._guesses_stale = False
            return self._propose
        if self._guesses_stale or (self._facts_stale and self.active):
            return lambda: time.sleep(0.1)
        if self._facts_stale:
            self._facts_stale = False
            return self._learn
        return None

    def _learn(self) -> None:
        with suppress(TunewrightError):  # whoever looks at the data next is told
            self._bench.learn(self._id)

    def _propose(self) -> None:
        begun = time.monotonic()
        with self.lock:
            unanswered, doubted = list(self.waiting["unanswered"].values()), dict(self.waiting["doubtful"])
            examples, own = self._examples, dict(self._own)
            if doubted.keys() <= self._guesses["doubtful"].keys():
                doubted = {}
        mine = [row for row in own.values() if row.row not in doubted]
        lesson = lesson_of(mine, [row for row in examples if row.row not in own and row.row not in doubted])
        found = guesses(lesson, some_of(unanswered))
        doubts = guesses(lesson, list(doubted.values()))
        with self.lock:
            self._guesses["unanswered"] = found or self._guesses["unanswered"]
            self._guesses["doubtful"] |= doubts
            if self.card and not self.card.guess and self._guesses[self._queue]:
                if not self._decisions:  # else somebody is reading: the row stays, and the one that is to follow
                    self.card = self._after = None
                self._next(self.card.row if self.card else None)
        self._guessed.set()
        self._propose_from = time.monotonic() + _BREATH * (time.monotonic() - begun)
