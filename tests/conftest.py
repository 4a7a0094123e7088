"""Fixtures that every test may use. Data and caches go to temporary folders; nothing touches the person's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import build_tiny_model
from trainers.paths import Paths

# Tiny models gain nothing from a second thread, and where cores are shared they lose a factor of ten waiting for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# TRL would otherwise ask the network in a thread for each trainer that a test builds.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


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
