"""Going through rows one at a time: which one comes next, what is proposed for it, and what a person decides.

Owns three queues (rows without an answer, rows whose label looks wrong, rows that a model wrote), the decisions and
taking them back. Each decision is one of the data's changes at once; the data is only read again once things rest,
which takes too long to be waited for after each row. Refuses to decide in the person's place and to draw.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace

from assistant.databench import DataBench
from assistant.project import Project
from assistant.reviewing.cards import Queue, Shown
from assistant.reviewing.session import Session
from trainers.data import Example

_KEPT = 8  # projects whose reviewing is remembered


class Reviewing:
    """Every project's queues. Safe to call from several threads; a decision on a row that is gone changes nothing."""

    def __init__(self, bench: DataBench) -> None:
        self._bench = bench
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def _session(self, id: str) -> Session:
        with self._lock:
            session = self._sessions.setdefault(id, Session(self._bench, id))
            self._sessions.move_to_end(id)
            while len(self._sessions) > _KEPT:
                self._sessions.popitem(last=False)
            return session

    # Looking

    def shown(self, project: Project) -> Shown:
        """The queues and the row to decide on. Raises `DataError` where the data cannot be read."""
        session = self._session(project.id)
        session.follow()
        session.await_guesses()
        return session.shown()

    def signature(self, project: Project) -> Hashable:
        """A cheap value that changes whenever `shown` would be another."""
        return (project.data, project.pending, self._session(project.id).signature())

    def active(self, id: str) -> bool:
        """Whether somebody is deciding row after row now: what takes long and is not urgent had better wait."""
        return self._session(id).active

    def settle(self, id: str, seconds: float = 60.0) -> None:
        """Wait until what goes on in the background is done."""
        self._session(id).chores.settle(seconds)

    # Deciding

    def open(self, id: str, queue: Queue) -> None:
        """Turn to another queue."""
        self._act(id, lambda session: session.turn_to(queue))

    def answer(self, id: str, row: int, text: str) -> None:
        """Give the row its answer. Raises `DataError` for an empty one."""
        self._act(id, lambda session: session.answer(text), row)

    def keep(self, id: str, row: int) -> None:
        """Say that the answer is right as it is; the row is not doubted again."""
        self._act(id, lambda session: session.answer(session.row.output), row)

    def drop(self, id: str, row: int) -> None:
        """Leave the row out. Raises `DataError` where none would be left."""
        self._act(id, lambda session: session.drop(), row)

    def skip(self, id: str, row: int) -> None:
        """Come back to the row when the others are through."""
        self._act(id, lambda session: session.skip(), row)

    def approve(self, id: str, row: int, input: str | None = None, output: str | None = None) -> None:
        """Take a written row into the data, with what was changed of it. Raises `DataError` where it is not whole."""
        self._act(id, lambda session: session.approve([_changed(session.row, input, output)]), row)

    def reject(self, id: str, row: int) -> None:
        """Throw a written row away."""
        self._act(id, lambda session: session.reject([row]), row)

    def approve_all(self, id: str) -> None:
        """Take every written row that is left, as it is."""
        self._act(id, lambda session: session.approve(list(session.waiting["written"].values())))

    def reject_all(self, id: str) -> None:
        """Throw every written row away that is left."""
        self._act(id, lambda session: session.reject(list(session.waiting["written"])))

    def undo(self, id: str) -> None:
        """Take the last decision back, and show its row again. Other changes stay, also later ones."""
        self._act(id, lambda session: session.undo())

    def _act(self, id: str, act: Callable[[Session], None], row: int | None = None) -> None:
        session = self._session(id)
        with session.lock:
            session.follow()
            if row is None or (session.card is not None and session.card.row == row):
                act(session)  # else it was meant for a row that is gone: a second press of a key, another tab


def _changed(row: Example, input: str | None, output: str | None) -> Example:
    """The row with another input or answer; None leaves it as it is."""
    return replace(row, input=row.input if input is None else input, output=row.output if output is None else output)
