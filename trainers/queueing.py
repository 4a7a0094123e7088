"""One training at a time on each device: who comes first has it, and the others wait.

Owns the tickets and the locks in `home/queue`. A waiting run is a process of its own, as a running one is: it needs no
app to go on, and a ticket whose process is gone counts no more. Never imports torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from trainers.hardware import detect
from trainers.paths import Paths
from trainers.status import RunFolder

_LOOK_SECONDS = 0.5


@contextmanager
def device(run: RunFolder, paths: Paths) -> Iterator[str]:
    """Wait for a device and hold it: "cpu", or a GPU by its number, which this process then sees alone.

    Says in the run's status what it waits for.
    """
    folder = paths.home / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    ticket = _take_ticket(folder, run)
    try:
        lock, name = _wait(folder, ticket, run)
    finally:
        ticket.unlink(missing_ok=True)
    if name != "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        yield name
    finally:
        lock.release()


def _take_ticket(folder: Path, run: RunFolder) -> Path:
    """A file whose name sorts by the time of asking."""
    me = psutil.Process()
    ticket = folder / f"{time.time_ns():020}-{run.id}.ticket"
    ticket.write_text(f"{me.pid} {me.create_time()}")
    return ticket


def _wait(folder: Path, ticket: Path, run: RunFolder) -> tuple[FileLock, str]:
    told = ""
    while True:
        ahead = [other for other in sorted(folder.glob("*.ticket")) if other.name < ticket.name and _is_alive(other)]
        if not ahead and (found := _free_device(folder)):
            return found
        message = f"Waiting: {len(ahead)} before it." if ahead else "Waiting for the training that runs."
        if message != told:
            run.write_status(run.written_status().model_copy(update={"state": "queued", "message": message}))
            told = message
        time.sleep(_LOOK_SECONDS)


def _free_device(folder: Path) -> tuple[FileLock, str] | None:
    for name in _devices():
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return lock, name
    return None


def _devices() -> list[str]:
    """What trainings can have: each GPU that this process may see, else the CPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip()] or ["cpu"]
    return [str(number) for number in range(len(detect().gpus))] or ["cpu"]


def _is_alive(ticket: Path) -> bool:
    """Whether the process that holds a ticket is still there; the ticket of one that is gone is removed."""
    try:
        pid, born = ticket.read_text().split()
        if abs(psutil.Process(int(pid)).create_time() - float(born)) < 1:
            return True
    except (OSError, ValueError, psutil.Error):
        if not ticket.exists():
            return False
    ticket.unlink(missing_ok=True)
    return False
