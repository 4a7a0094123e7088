"""Helpers for tests that start real runs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.jobs import status
from trainers.paths import Paths
from trainers.status import ENDED, RunFolder, RunStatus

# A process that starts a run and is gone at once.
HOSTS = """
import sys
from pathlib import Path
from trainers.jobs import create_run, start
from trainers.paths import default_paths
from trainers.plan import read_plan
start(create_run(read_plan(Path(sys.argv[1])), default_paths()))
"""


@dataclass(frozen=True)
class Started:
    """A run, and what its base model's files were before it."""

    run: RunFolder
    paths: Paths
    base: Path
    base_before: dict[str, str]


def write_tickets(path: Path, rows: int = 80) -> Path:
    lines = [f"Ticket {i} about {label},{label}" for i in range(rows) for label in [("billing", "returns")[i % 2]]]
    path.write_text("text,label\n" + "\n".join(lines) + "\n", "utf-8")
    return path


def file_hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def wait_for(look: Callable[[], bool], what: str, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while not look():
        if time.monotonic() > until:
            raise TimeoutError(f"no {what} after {seconds:.0f} s")
        time.sleep(0.1)


def wait_until_ended(run: RunFolder, seconds: float = 180) -> RunStatus:
    wait_for(lambda: status(run).state in ENDED, "end of the run", seconds)
    return status(run)
