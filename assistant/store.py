"""Keeps projects, chats, prompt versions and votes in SQLite.

Owns the schema and its numbered migrations. Refuses to know what the records mean: each is stored as the JSON of its
pydantic model. One connection a call, so that any thread may call.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.project import Project, StoredPrompt, Turn, Vote
from prompts.errors import RunError
from prompts.metrics import Score
from prompts.versions import PromptVersion

_MIGRATIONS = (
    """
    CREATE TABLE project (id TEXT PRIMARY KEY, touched REAL NOT NULL, record TEXT NOT NULL);
    CREATE TABLE turn (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, record TEXT NOT NULL);
    CREATE TABLE prompt (
        id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, version TEXT NOT NULL, record TEXT NOT NULL,
        UNIQUE (project, version)
    );
    CREATE TABLE vote (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, record TEXT NOT NULL);
    """,
)


class Store:
    """The database file. Raises `RunError` where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The folder {path.parent} cannot be made: {error.strerror}.", hint="Set TUNEWRIGHT_HOME."
            ) from error
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")  # two processes may open a new file at once
            done = db.execute("PRAGMA user_version").fetchone()[0]
            if done > len(_MIGRATIONS):
                raise RunError(f"{path} was written by a newer Tunewright.", hint="Update, or set TUNEWRIGHT_HOME.")
            for script in _MIGRATIONS[done:]:
                for statement in script.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=30)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA foreign_keys = ON")
                with db:
                    yield db
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            raise RunError(
                f"The project file {self._path} cannot be used: {error}.",
                hint="Is the disk full, or the file damaged? Another folder can be set by TUNEWRIGHT_HOME.",
            ) from error

    def create_project(self, name: str) -> Project:
        project = Project(id=uuid.uuid4().hex[:12], name=name, created=time.time())
        self.save(project)
        return project

    def save(self, project: Project) -> None:
        with self._open() as db:
            db.execute(
                "INSERT INTO project VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET touched = ?2, record = ?3",
                (project.id, time.time(), project.model_dump_json()),
            )

    def project(self, id: str) -> Project | None:
        with self._open() as db:
            row = db.execute("SELECT record FROM project WHERE id = ?", (id,)).fetchone()
        return Project.model_validate_json(row[0]) if row else None

    def projects(self) -> list[Project]:
        """All projects, the one touched last first."""
        with self._open() as db:
            rows = db.execute("SELECT record FROM project ORDER BY touched DESC").fetchall()
        return [Project.model_validate_json(row[0]) for row in rows]

    def add_turn(self, project: str, turn: Turn) -> None:
        with self._open() as db:
            db.execute("INSERT INTO turn (project, record) VALUES (?, ?)", (project, turn.model_dump_json()))

    def turns(self, project: str) -> list[Turn]:
        with self._open() as db:
            rows = db.execute("SELECT record FROM turn WHERE project = ? ORDER BY id", (project,)).fetchall()
        return [Turn.model_validate_json(row[0]) for row in rows]

    def add_prompt(self, project: str, version: PromptVersion) -> None:
        """Keep a version. One that is there already keeps its place and its score."""
        record = StoredPrompt(version=version).model_dump_json()
        with self._open() as db:
            db.execute(
                "INSERT OR IGNORE INTO prompt (project, version, record) VALUES (?, ?, ?)",
                (project, version.id, record),
            )

    def set_score(self, project: str, version: PromptVersion, metric: str, score: Score) -> None:
        stored = StoredPrompt(version=version, metric=metric, score=score)
        with self._open() as db:
            db.execute(
                "UPDATE prompt SET record = ? WHERE project = ? AND version = ?",
                (stored.model_dump_json(), project, version.id),
            )

    def prompts(self, project: str) -> list[StoredPrompt]:
        """All versions, the oldest first."""
        with self._open() as db:
            rows = db.execute("SELECT record FROM prompt WHERE project = ? ORDER BY id", (project,)).fetchall()
        return [StoredPrompt.model_validate_json(row[0]) for row in rows]

    def add_vote(self, project: str, vote: Vote) -> None:
        stamped = vote.model_copy(update={"created": time.time()})
        with self._open() as db:
            db.execute("INSERT INTO vote (project, record) VALUES (?, ?)", (project, stamped.model_dump_json()))

    def votes(self, project: str) -> list[Vote]:
        with self._open() as db:
            rows = db.execute("SELECT record FROM vote WHERE project = ? ORDER BY id", (project,)).fetchall()
        return [Vote.model_validate_json(row[0]) for row in rows]
