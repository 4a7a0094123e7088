"""Keeps projects, chats, prompt versions, answers and votes in the database.

Owns what is written and asked. Refuses to know what the records mean: each is stored as the JSON of its pydantic model,
and beside it only what is asked by. Deleted projects stay until they are purged.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection, TableClause, column, delete, func, insert, literal, select, table, update
from sqlalchemy.dialects import postgresql, sqlite

from assistant.answers import Answer
from assistant.database import Database
from assistant.project import LOCAL, Project, StoredPrompt, Turn
from assistant.votes import ME, Vote
from prompts.errors import RunError
from prompts.versions import PromptVersion
from trainers.data import normal

_PROJECT = table("project", *map(column, ("id", "touched", "record", "owner", "deleted")))
_TURN = table("turn", *map(column, ("id", "project", "record")))
_PROMPT = table("prompt", *map(column, ("id", "project", "version", "record")))
_ANSWER = table("answer", *map(column, ("project", "key", "input", "record")))
_RATING = table("rating", *map(column, ("project", "answer", "grade")))
_VOTE = table("vote", *map(column, ("id", "project", "vote", "round", "voter", "record")))

_Record = TypeVar("_Record", bound=BaseModel)


class Store:
    """What is kept, in a file or behind a URL. Raises `RunError` where it cannot be read or written."""

    def __init__(self, where: Path | str) -> None:
        self._database = Database(where)
        # "Unless it is there already" is the one thing that the two say in words of their own.
        self._insert = sqlite.insert if self._database.kind == "sqlite" else postgresql.insert

    # Projects

    def create_project(self, name: str, user: str = LOCAL) -> Project:
        project = Project(id=_new_id(), name=name, created=time.time(), owner=user)
        self.save(project)
        return project

    def save(self, project: Project) -> None:
        with self._database.writing() as db:
            self._put(db, project)

    def _put(self, db: Connection, project: Project) -> None:
        asked = {"owner": project.owner, "deleted": project.deleted}
        values = {"touched": time.time(), "record": project.model_dump_json(), **asked}
        new = self._insert(_PROJECT).values(id=project.id, **values)
        db.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))

    def touch(self, id: str) -> None:
        """Make it the one that was touched last."""
        with self._database.writing() as db:
            db.execute(update(_PROJECT).where(_PROJECT.c.id == id).values(touched=time.time()))

    def project(self, id: str) -> Project | None:
        """A project by id, be it deleted or not."""
        with self._database.reading() as db:
            row = db.execute(select(_PROJECT.c.record).where(_PROJECT.c.id == id)).first()
        return Project.model_validate_json(row.record) if row else None

    def projects(self, user: str = LOCAL, *, deleted: bool = False) -> list[Project]:
        """All projects of a user, the one touched last first; or all that are deleted, likewise."""
        asked = select(_PROJECT.c.record).where(_PROJECT.c.owner == user, _PROJECT.c.deleted.is_not(None) == deleted)
        with self._database.reading() as db:
            rows = db.execute(asked.order_by(_PROJECT.c.touched.desc())).all()
        return [Project.model_validate_json(row.record) for row in rows]

    def named(self, text: str) -> list[Project]:
        """The projects, whoever's and not deleted, with this id or, where none has it, with this name."""
        with self._database.reading() as db:
            rows = db.execute(select(_PROJECT.c.record).where(_PROJECT.c.deleted.is_(None))).all()
        there = [Project.model_validate_json(row.record) for row in rows]
        by_id = [project for project in there if project.id == text]
        return by_id or [project for project in there if normal(project.name) == normal(text)]

    def duplicate(self, id: str, copy: Project) -> Project:
        """Keep `copy` under a new id, with the chat and the prompt versions of the project `id`."""
        copy = copy.model_copy(update={"id": _new_id(), "created": time.time()})
        with self._database.writing() as db:
            self._put(db, copy)
            for part, names in ((_TURN, ["record"]), (_PROMPT, ["version", "record"])):
                columns = [part.c[name] for name in names]
                rows = select(literal(copy.id), *columns).where(part.c.project == id).order_by(part.c.id)
                db.execute(insert(part).from_select(["project", *names], rows))
        return copy

    def purge(self, before: float) -> list[str]:
        """Remove for good what was deleted before that time. The ids of what went."""
        old = select(_PROJECT.c.id).where(_PROJECT.c.deleted < before)
        with self._database.writing() as db:
            gone = list(db.scalars(old))
            for part in (_TURN, _PROMPT, _VOTE, _ANSWER, _RATING):
                db.execute(delete(part).where(part.c.project.in_(gone)))
            db.execute(delete(_PROJECT).where(_PROJECT.c.id.in_(gone)))
        return gone

    # Chats

    def add_turn(self, project: str, turn: Turn) -> None:
        with self._database.writing() as db:
            db.execute(insert(_TURN).values(project=project, record=turn.model_dump_json()))

    def turns(self, project: str) -> list[Turn]:
        return self._records(_TURN, project, Turn)

    def chats(self, user: str) -> list[tuple[str, Turn]]:
        """Every turn of a user's projects with the project's id, in the order they were written."""
        mine = select(_PROJECT.c.id).where(_PROJECT.c.owner == user, _PROJECT.c.deleted.is_(None))
        asked = select(_TURN.c.project, _TURN.c.record).where(_TURN.c.project.in_(mine)).order_by(_TURN.c.id)
        with self._database.reading() as db:
            rows = db.execute(asked).all()
        return [(row.project, Turn.model_validate_json(row.record)) for row in rows]

    # Prompts

    def add_prompt(self, project: str, version: PromptVersion) -> None:
        """Keep a version. One that is there already keeps its place and its score."""
        record = StoredPrompt(version=version).model_dump_json()
        new = self._insert(_PROMPT).values(project=project, version=version.id, record=record)
        with self._database.writing() as db:
            db.execute(new.on_conflict_do_nothing(index_elements=["project", "version"]))

    def set_score(self, project: str, stored: StoredPrompt) -> None:
        """Keep what a version scored, in place of an earlier score."""
        version = stored.version
        its = (_PROMPT.c.project == project, _PROMPT.c.version == version.id)
        with self._database.writing() as db:
            db.execute(update(_PROMPT).where(*its).values(record=stored.model_dump_json()))

    def prompts(self, project: str) -> list[StoredPrompt]:
        """All versions, the oldest first."""
        return self._records(_PROMPT, project, StoredPrompt)

    def answers_of(self, project: str) -> ProjectAnswers:
        """The answers that models gave in a project."""
        return ProjectAnswers(self, project)

    def answers(self, project: str, key: str) -> dict[str, Answer]:
        asked = select(_ANSWER.c.input, _ANSWER.c.record).where(_ANSWER.c.project == project, _ANSWER.c.key == key)
        with self._database.reading() as db:
            return {row.input: Answer.model_validate_json(row.record) for row in db.execute(asked).all()}

    def keep_answer(self, project: str, key: str, row: str, answer: Answer) -> None:
        new = self._insert(_ANSWER).values(project=project, key=key, input=row, record=answer.model_dump_json())
        with self._database.writing() as db:
            db.execute(new.on_conflict_do_nothing(index_elements=["project", "key", "input"]))

    def rate(self, project: str, answer: str, grade: int) -> None:
        """Keep what the person thinks of an answer, by its key, in place of what they thought before."""
        new = self._insert(_RATING).values(project=project, answer=answer, grade=grade)
        new = new.on_conflict_do_update(index_elements=["project", "answer"], set_={"grade": grade})
        with self._database.writing() as db:
            db.execute(new)

    def ratings(self, project: str) -> dict[str, int]:
        """The person's grades, by the answer's key."""
        asked = select(_RATING.c.answer, _RATING.c.grade).where(_RATING.c.project == project)
        with self._database.reading() as db:
            return {row.answer: row.grade for row in db.execute(asked).all()}

    # Votes

    def add_vote(self, project: str, vote: Vote) -> Vote:
        """Keep a vote for good before this returns, stamped with the time where it has none; the vote as it is kept.

        Raises `RunError` where its voter has judged its round already: the first vote counts.
        """
        kept = vote if vote.created else vote.model_copy(update={"created": time.time()})
        values = {"vote": kept.id, "round": kept.round, "voter": kept.voter, "record": kept.model_dump_json()}
        new = self._insert(_VOTE).values(project=project, **values)
        new = new.on_conflict_do_nothing(index_elements=["project", "round", "voter"])
        with self._database.writing() as db:
            row = db.execute(new.returning(_VOTE.c.id)).first()
        if row is None:
            raise RunError(
                "You have judged this pair already, perhaps in another window: the first vote counts.",
                hint="Undo your last vote to judge it again.",
            )
        return kept

    def undo_vote(self, project: str, voter: str = ME) -> Vote | None:
        """Take a voter's last vote back; None where there is none. Of two at once, one gets it."""
        voter = Vote(message="", answers=(), voter=voter).voter  # spelled as votes have it
        last = select(func.max(_VOTE.c.id)).where(_VOTE.c.project == project, _VOTE.c.voter == voter).scalar_subquery()
        with self._database.writing() as db:
            row = db.execute(delete(_VOTE).where(_VOTE.c.id == last).returning(_VOTE.c.record)).first()
        return Vote.model_validate_json(row.record) if row else None

    def votes(self, project: str) -> list[Vote]:
        """All votes, the oldest first."""
        return self._records(_VOTE, project, Vote)

    def _records(self, part: TableClause, project: str, kind: type[_Record]) -> list[_Record]:
        with self._database.reading() as db:
            rows = db.execute(select(part.c.record).where(part.c.project == project).order_by(part.c.id)).all()
        return [kind.model_validate_json(row.record) for row in rows]


@dataclass(frozen=True)
class ProjectAnswers:
    """A shelf for one project's answers, which go with it."""

    _store: Store
    _project: str

    def answers(self, key: str) -> dict[str, Answer]:
        return self._store.answers(self._project, key)

    def keep_answer(self, key: str, row: str, answer: Answer) -> None:
        self._store.keep_answer(self._project, key, row, answer)


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
