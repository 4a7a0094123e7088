"""Opens the database that holds the projects: a SQLite file, or PostgreSQL where DATABASE_URL names one.

Owns the connection, its transactions and the words for what goes wrong with it; no message holds the password. Refuses
to know what is kept (`store`) and in which tables (`migrations`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from assistant.migrations import migrate
from prompts.errors import RunError

_PATIENCE = 30  # seconds to wait for another process that writes
_BUSY = "Is the disk full, or the file damaged? Another folder can be set by TUNEWRIGHT_HOME."
_AWAY = "Is the server running, and is DATABASE_URL right?"


class Database:
    """A file, or a URL of SQLite or PostgreSQL, with today's tables. Raises `RunError` where it cannot be used.

    Any thread may call: SQLite is opened for each transaction, PostgreSQL is kept in a pool.
    """

    def __init__(self, where: Path | str) -> None:
        self._url = _parsed(where) if isinstance(where, str) else _file(where)
        self.kind = self._url.get_backend_name()
        self._engine = _sqlite(self._url) if self.kind == "sqlite" else _postgres(self._url)
        self._writer = self._engine.execution_options(writes=True)  # the same pool
        with self.writing() as db:
            migrate(db, self._name)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._worded(), self._engine.begin() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept as a whole, or not at all."""
        with self._worded(), self._writer.begin() as db:
            yield db

    @property
    def _name(self) -> str:
        if self.kind == "sqlite":
            return f"The project file {self._url.database}"
        port = f":{self._url.port}" if self._url.port else ""
        return f"The database {self._url.host or ''}{port}/{self._url.database or ''}"

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            reason = said.splitlines()[0].rstrip(".") if said else type(error).__name__
            for secret in filter(None, (self._url.password, self._url.query.get("password"))):
                reason = reason.replace(str(secret), "***")
            hint = _BUSY if self.kind == "sqlite" else _AWAY
            raise RunError(f"{self._name} cannot be used: {reason}.", hint=hint) from error


def _file(path: Path) -> URL:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {path.parent} cannot be made: {error.strerror}.", hint="Set TUNEWRIGHT_HOME."
        ) from error
    return URL.create("sqlite", database=str(path))


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise RunError("DATABASE_URL is no database URL.", hint="It looks like postgresql://name@host/base.") from None
    kind = url.get_backend_name()
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return _file(Path(url.database))
    raise RunError(
        f"DATABASE_URL names {kind}{'' if url.database else ' without a database'}.",
        hint="Projects are kept in sqlite:///FILE or postgresql://NAME@HOST/BASE; without DATABASE_URL, in a file.",
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _PATIENCE})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # else the driver begins by itself, and not before the first change
        _write_ahead(connection)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its place in the queue at once: one that reads first may find that it waited in vain.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers and a writer side by side. Who opens a new file together with others must wait: SQLite does not."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ImportError as error:
        raise RunError(
            "DATABASE_URL names PostgreSQL, whose driver is not installed.", hint="pip install 'psycopg[binary]'"
        ) from error
