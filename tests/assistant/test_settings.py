"""What the environment may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.settings import settings_from_environment
from prompts.errors import EngineError
from trainers.paths import Paths


@pytest.mark.parametrize(
    ("said", "engine"),
    [(None, "auto"), ("", "auto"), ("auto", "auto"), ("embedded", "embedded"), (" vLLM ", "vllm")],
)
def test_the_engine(paths: Paths, monkeypatch: pytest.MonkeyPatch, said: str | None, engine: str) -> None:
    monkeypatch.delenv("TUNEWRIGHT_ENGINE", raising=False)
    if said is not None:
        monkeypatch.setenv("TUNEWRIGHT_ENGINE", said)
    settings = settings_from_environment()
    assert settings.engine == engine
    assert settings.paths == paths


def test_an_unknown_engine_is_refused_and_the_known_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWRIGHT_ENGINE", "llama.cpp")
    with pytest.raises(EngineError, match=r"no engine 'llama\.cpp'") as caught:
        settings_from_environment()
    assert "auto, vllm, embedded" in caught.value.hint


def test_folders_may_start_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWRIGHT_HOME", "~/tunes")
    assert settings_from_environment().paths.home == (Path.home() / "tunes").resolve()
