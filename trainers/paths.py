"""Where Tunewright keeps things, and how it calls itself. Owns two folders and their layout; refuses to know what is in
the files."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from prompts.errors import RunError

# Starts one of our modules. -P: a folder named `trainers` or `prompts` where the person works is not taken for ours.
PYTHON = (sys.executable, "-P", "-m")
ON_RAY = "TUNEWRIGHT_ON_RAY"  # set for a worker whose share of a machine a Ray cluster has given it


@dataclass(frozen=True)
class Paths:
    """`home` holds what a person would miss (projects, runs); `cache` what can be made again (models, figures)."""

    home: Path
    cache: Path

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def files(self) -> Path:
        return self.home / "files"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def database(self) -> Path:
        return self.home / "tunewright.sqlite3"

    @property
    def models(self) -> Path:
        return self.cache / "models"


def default_paths() -> Paths:
    """The system's data and cache folders, or what TUNEWRIGHT_HOME and TUNEWRIGHT_CACHE say."""
    home = os.environ.get("TUNEWRIGHT_HOME") or platformdirs.user_data_dir("tunewright", appauthor=False)
    cache = os.environ.get("TUNEWRIGHT_CACHE") or platformdirs.user_cache_dir("tunewright", appauthor=False)
    return Paths(home=Path(home).expanduser().resolve(), cache=Path(cache).expanduser().resolve())


def worker_environment() -> dict[str, str]:
    """For processes that train: threads that wait by spinning take the cores from each other, and what is printed is to
    be in the log at once."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # two threads may write at once
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def require_free_space(folder: Path, needed_bytes: float, what: str) -> None:
    """Raise `RunError` where the disk under `folder` has less than `needed_bytes` free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise RunError(
            f"{what} needs about {needed_bytes / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free at {folder}.",
            hint="Free some space, or point TUNEWRIGHT_HOME and TUNEWRIGHT_CACHE at a larger disk.",
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
