"""One training at a time on each device: who comes first has it, and the others wait. A training in several processes
waits until it has as many GPUs.

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

from prompts.errors import PlanError
from trainers.hardware import detect
from trainers.paths import Paths
from trainers.status import RunFolder

_LOOK_SECONDS = 0.5


@contextmanager
def device(run: RunFolder, paths: Paths) -> Iterator[str]:
    """Wait for a device and hold it: "cpu", or a GPU by its number, which this process then sees alone.

    Says in the run's status what it waits for.
    """
    with devices(run, paths) as [name]:
        yield name


@contextmanager
def devices(run: RunFolder, paths: Paths, count: int = 1, *, tell: bool = True) -> Iterator[list[str]]:
    """Wait for so many GPUs and hold them; the CPU is one device, however many processes share it.

    Says in the run's status what it waits for, unless `tell` is off. Raises `PlanError` for more GPUs than there are.
    """
    folder = paths.home / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    there = _devices()
    if there == ["cpu"]:
        count = 1
    elif count > len(there):
        told = f"{count} processes need as many GPUs, and there are {len(there)} here"
        raise PlanError(f"{told}.", hint="Use fewer processes, or more machines.")
    ticket = _take_ticket(folder, run)
    try:
        locks, names = _wait(folder, ticket, run, count, tell)
    finally:
        ticket.unlink(missing_ok=True)
    if names != ["cpu"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    try:
        yield names
    finally:
        for lock in locks:
            lock.release()


def _take_ticket(folder: Path, run: RunFolder) -> Path:
    """A file whose name sorts by the time of asking."""
    me = psutil.Process()
    ticket = folder / f"{time.time_ns():020}-{run.id}.ticket"
    ticket.write_text(f"{me.pid} {me.create_time()}")
    return ticket


def _wait(folder: Path, ticket: Path, run: RunFolder, count: int, tell: bool) -> tuple[list[FileLock], list[str]]:
    told = ""
    while True:
        ahead = [other for other in sorted(folder.glob("*.ticket")) if other.name < ticket.name and _is_alive(other)]
        if not ahead and (found := _free_devices(folder, count)):
            return found
        message = f"Waiting: {len(ahead)} before it." if ahead else "Waiting for the training that runs."
        if tell and message != told:
            run.write_status(run.written_status().model_copy(update={"state": "queued", "message": message}))
            told = message
        time.sleep(_LOOK_SECONDS)


def _free_devices(folder: Path, count: int) -> tuple[list[FileLock], list[str]] | None:
    """So many devices, all or none: two that each hold one and wait for another would wait for ever."""
    locks, names = [], []
    for name in _devices():
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        locks.append(lock)
        names.append(name)
        if len(names) == count:
            return locks, names
    for lock in locks:
        lock.release()
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
