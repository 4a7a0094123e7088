"""Places to keep projects for the tests: a SQLite file, and a PostgreSQL server of our own.

The server is that of this machine (`postgres` and `initdb`), started in a folder of its own once a session. Where there
is none, tests on PostgreSQL are skipped and say so; with TUNEWRIGHT_REQUIRE_POSTGRES they fail instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

PASSWORD = "s3cret"
_USER = "postgres"  # the server refuses to run as root


def _programs() -> dict[str, Path]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    folders = os.pathsep.join([*map(str, reversed(found)), os.environ.get("PATH", "")])
    paths = {name: shutil.which(name, path=folders) for name in ("initdb", "postgres")}
    return {name: Path(path) for name, path in paths.items() if path}


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh server, without a database's name. Skips the test where no server can be had."""
    programs = _programs()
    if len(programs) < 2:
        if os.environ.get("TUNEWRIGHT_REQUIRE_POSTGRES"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed here: the store is tested on SQLite only")
    with tempfile.TemporaryDirectory(prefix="tunewright-pg-") as folder:  # pytest's own folders are shut to others
        data, secret = Path(folder) / "data", Path(folder) / "password"
        secret.write_text(PASSWORD)
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = {"user": _USER, "group": _USER, "extra_groups": []}
            for path in (Path(folder), secret):
                shutil.chown(path, _USER, _USER)
        begin = [programs["initdb"], "-D", data, "-U", "tuner", "--pwfile", secret, "-A", "scram-sha-256", "-N"]
        subprocess.run(begin, check=True, capture_output=True, cwd=folder, **who)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        run = [programs["postgres"], "-D", data, "-p", str(port), "-k", "", "-F", "-c", "listen_addresses=127.0.0.1"]
        process = subprocess.Popen(run, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)
        try:
            url = f"postgresql://tuner:{PASSWORD}@127.0.0.1:{port}"
            _wait(url, process)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # at SIGTERM it would wait for the stores' open connections
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        assert process.poll() is None, "PostgreSQL ended at once"
        try:
            return _command(url, "SELECT 1")
        except OperationalError:
            time.sleep(0.2)
    raise AssertionError("PostgreSQL does not answer")


def new_database(server: str) -> str:
    """The URL of a new, empty database."""
    name = f"t{secrets.token_hex(6)}"
    _command(server, f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def _command(server: str, command: str) -> None:
    engine = create_engine(
        f"{server}/postgres".replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    try:
        with engine.connect() as db:
            db.execute(text(command))
    finally:
        engine.dispose()
