"""A process of its own that outlives who started it: started, found again by its file, ended with all it started.

Owns that life, for trainings and for trials alike. Refuses to know what the process does.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from trainers.paths import worker_environment, write_atomically

_PATIENCE = 20  # seconds between SIGTERM and SIGKILL


def launch(command: Sequence[str], log: Path, file: Path, **environment: str) -> None:
    """Start a process in a session of its own, so that neither a closed terminal nor the app's end stops it. What it
    prints is added to `log`; `file` gets its id and when it was born."""
    with log.open("ab") as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**worker_environment(), **environment},
        )
    born = psutil.Process(process.pid).create_time()
    write_atomically(file, json.dumps({"pid": process.pid, "born": born}))


def living(file: Path) -> psutil.Process | None:
    """The process that a file names, while it lives. The time of its birth tells it from a later one with its id."""
    try:
        record = json.loads(file.read_text())
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["born"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def terminate(process: psutil.Process) -> None:
    """Ask a process to end, and end it with everything it started where it does not. Returns at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
    threading.Thread(target=_insist, args=(process,), daemon=True).start()


def _insist(process: psutil.Process) -> None:
    try:
        process.wait(_PATIENCE)
    except psutil.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (*process.children(recursive=True), process):  # a launcher's lead groups of their own
                one.kill()
