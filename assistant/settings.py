"""What a person may set from outside. Owns reading the environment, once; everything else gets it as an argument."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from prompts.errors import EngineError
from trainers.paths import Paths, default_paths

EngineChoice = Literal["auto", "vllm", "embedded"]


@dataclass(frozen=True)
class Settings:
    """Folders, and which engine serves: `auto` takes vLLM where it is installed."""

    paths: Paths
    engine: EngineChoice = "auto"


def settings_from_environment() -> Settings:
    """Reads TUNEWRIGHT_HOME, TUNEWRIGHT_CACHE and TUNEWRIGHT_ENGINE. Raises `EngineError` for an unknown engine."""
    engine = os.environ.get("TUNEWRIGHT_ENGINE", "auto").strip().lower() or "auto"
    if engine not in get_args(EngineChoice):
        raise EngineError(f"There is no engine {engine!r}.", hint=f"Use one of: {', '.join(get_args(EngineChoice))}.")
    return Settings(paths=default_paths(), engine=engine)  # type: ignore[arg-type]
