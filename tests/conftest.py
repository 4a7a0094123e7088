"""Fixtures that every test may use. Data and caches go to temporary folders; nothing touches the person's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import build_tiny_model
from trainers.paths import Paths


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random model, made once a session."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """Empty home and cache folders, for this process and for those it starts."""
    made = Paths(home=tmp_path / "home", cache=tmp_path / "cache")
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(made.home))
    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(made.cache))
    yield made
