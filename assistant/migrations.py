"""The tables, as numbered steps from an empty database to today's.

Owns the schema and the count of steps taken, which SQLite keeps in its `user_version` (an older Tunewright looks there
and steps back) and PostgreSQL in a table. A step that was released is never changed: another follows it. Refuses to
know what the records mean.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from prompts.errors import RunError

_LOCK = 7_860_001  # any number that no other program takes for its own lock


def migrate(db: Connection, name: str) -> None:
    """Take the steps that are missing, within the caller's transaction. Safe where several open at once.

    Raises `RunError` for a database of a newer Tunewright, and leaves it alone.
    """
    if db.dialect.name == "postgresql":  # SQLite's transaction shuts others out by itself
        db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    done = _taken(db)
    if done > len(_STEPS):
        raise RunError(
            f"{name} was written by a newer Tunewright.", hint="Update, or set TUNEWRIGHT_HOME or DATABASE_URL."
        )
    for number, step in enumerate(_STEPS[done:], start=done + 1):
        step(db)
        _note(db, number)


def _taken(db: Connection) -> int:
    if db.dialect.name == "sqlite":
        return int(db.execute(text("PRAGMA user_version")).scalar_one())
    db.execute(text("CREATE TABLE IF NOT EXISTS tunewright_migration (number INTEGER PRIMARY KEY)"))
    return int(db.execute(text("SELECT COALESCE(MAX(number), 0) FROM tunewright_migration")).scalar_one())


def _note(db: Connection, number: int) -> None:
    if db.dialect.name == "sqlite":
        db.execute(text(f"PRAGMA user_version = {number}"))
    else:
        db.execute(text("INSERT INTO tunewright_migration VALUES (:number)"), {"number": number})


def _0001_first_tables(db: Connection) -> None:
    tables = MetaData()
    Table(
        "project",
        tables,
        Column("id", Text, primary_key=True),
        Column("touched", Double, nullable=False),
        Column("record", Text, nullable=False),
    )

    def part(name: str, *more: Any) -> None:
        id = Column("id", Integer, primary_key=True)
        owner = Column("project", Text, ForeignKey("project.id"), nullable=False)
        Table(name, tables, id, owner, *more, Column("record", Text, nullable=False))

    part("turn")
    part("prompt", Column("version", Text, nullable=False), UniqueConstraint("project", "version"))
    part("vote")
    tables.create_all(db, checkfirst=False)


def _0002_owners_and_deletion(db: Connection) -> None:
    for statement in (
        "ALTER TABLE project ADD COLUMN owner TEXT DEFAULT 'local' NOT NULL",  # all there was before there were users
        "ALTER TABLE project ADD COLUMN deleted DOUBLE PRECISION",
        "CREATE INDEX project_of_owner ON project (owner)",
        "CREATE INDEX turn_of_project ON turn (project)",
        "CREATE INDEX vote_of_project ON vote (project)",
    ):
        db.execute(text(statement))


def _0003_answers_and_ratings(db: Connection) -> None:
    db.execute(
        text(
            "CREATE TABLE answer (project TEXT NOT NULL REFERENCES project (id), key TEXT NOT NULL, "
            "input TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (project, key, input))"
        )
    )
    db.execute(
        text(
            "CREATE TABLE rating (project TEXT NOT NULL REFERENCES project (id), answer TEXT NOT NULL, "
            "grade INTEGER NOT NULL, PRIMARY KEY (project, answer))"
        )
    )


def _0004_one_vote_a_round(db: Connection) -> None:
    """Votes get an id, a round and a voter to be asked by, and those that were there keep theirs or get some."""
    for name, usual in (("vote", ""), ("round", ""), ("voter", "local")):
        db.execute(text(f"ALTER TABLE vote ADD COLUMN {name} TEXT DEFAULT '{usual}' NOT NULL"))
    change = text("UPDATE vote SET vote = :vote, round = :round, voter = :voter, record = :record WHERE id = :id")
    judged: set[tuple[str, str, str]] = set()
    for row in db.execute(text("SELECT id, project, record FROM vote ORDER BY id")).all():
        raw = {"id": _made_up(), "round": _made_up(), "voter": "local", **json.loads(row.record)}
        if (row.project, raw["round"], raw["voter"]) in judged:
            raw["round"] = _made_up()
        judged.add((row.project, raw["round"], raw["voter"]))
        asked = {"vote": raw["id"], "round": raw["round"], "voter": raw["voter"]}
        db.execute(change, {"id": row.id, "record": json.dumps(raw, ensure_ascii=False), **asked})
    db.execute(text("CREATE UNIQUE INDEX vote_of_round ON vote (project, round, voter)"))


def _made_up() -> str:
    return uuid.uuid4().hex[:12]


_STEPS: tuple[Callable[[Connection], None], ...] = (
    _0001_first_tables,
    _0002_owners_and_deletion,
    _0003_answers_and_ratings,
    _0004_one_vote_a_round,
)
