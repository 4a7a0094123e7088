"""Fixtures for the assistant's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assistant.databases import new_database, postgres_server
from tests.assistant.serving_kit import Shelf, build_shelf


@pytest.fixture(scope="session")
def shelf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The tiny model and adapters of every kind, made once a session."""
    return build_shelf(tiny_model, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server. Skips the test where this machine has none."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty place to keep projects, of each kind."""
    if request.param == "sqlite":
        return tmp_path / "deep" / "down" / "tunewright.sqlite3"
    return new_database(request.getfixturevalue("postgres"))
