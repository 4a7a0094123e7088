"""Where things are kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from trainers.paths import Paths, default_paths, write_atomically


def test_the_environment_moves_both_folders(paths: Paths) -> None:
    assert default_paths() == paths


def test_without_it_they_are_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TUNEWRIGHT_HOME", "TUNEWRIGHT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_paths() == Paths(home=tmp_path / "data/tunewright", cache=tmp_path / "cache/tunewright")


def test_writers_at_once_never_leave_half_a_file(tmp_path: Path) -> None:
    file, texts = tmp_path / "sub/status.json", [str(i) * 200_000 for i in range(4)]
    writers = [threading.Thread(target=lambda t=text: [write_atomically(file, t) for _ in range(10)]) for text in texts]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if file.exists():
            seen.add(file.read_text())
    for writer in writers:
        writer.join()
    assert seen | {file.read_text()} <= set(texts)
    assert [path.name for path in file.parent.iterdir()] == ["status.json"]
