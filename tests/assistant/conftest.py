"""Fixtures for the assistant's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assistant.serving_kit import Shelf, build_shelf


@pytest.fixture(scope="session")
def shelf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The tiny model and adapters of every kind, made once a session."""
    return build_shelf(tiny_model, tmp_path_factory.mktemp("adapters"))
