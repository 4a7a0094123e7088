"""A run on a node of a Ray cluster: `python -m trainers.ray_there RUN_ID`, the entrypoint that `on_ray` submits.

Owns where the run lies there, and the list of its files once it has ended. The run lies below the node's log folder:
Ray's dashboard hands out whatever is below it, so that the near side needs no other port, no shared disk and no
connection back. Refuses to train (that is `worker`). Imports neither ray nor torch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from trainers.launching import command
from trainers.paths import ON_RAY, worker_environment, write_atomically
from trainers.status import RunFolder

FILES = "files.json"  # path: [bytes, sha256] of all that the run has made; there once it has ended
_SHIPPED_ALONE = ("plan.yaml", "data/", "parent/", "imported/", "pool/", "launch.json", "trial.json", FILES)


def place(run_id: str) -> str:
    """Where a run lies, seen from the log folder of its node."""
    return f"tunewright-{run_id}"


def main(arguments: Sequence[str]) -> int:
    """Run what was shipped into this folder; the worker's exit code."""
    folder = _log_folder() / place(arguments[0])
    shutil.copytree(Path.cwd(), folder, dirs_exist_ok=True)  # what is there from before is gone on with
    (folder / FILES).unlink(missing_ok=True)
    environment = {**worker_environment(), ON_RAY: "1"}
    worker = subprocess.Popen(command(RunFolder(folder)), stdin=subprocess.DEVNULL, env=environment)
    signal.signal(signal.SIGTERM, _wait_on)
    code = worker.wait()
    write_atomically(folder / FILES, json.dumps(made(folder)))
    return code


def _wait_on(signum: int, frame: FrameType | None) -> None:
    """Ray asks the worker itself to stop, too: what is left to do here is to wait for it."""


def made(folder: Path) -> dict[str, tuple[int, str]]:
    """All files of a run but those that were shipped and checkpoints: path, size and hash."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith((*_SHIPPED_ALONE, "checkpoints/", "begun/", ".")):
            with path.open("rb") as file:
                found[name] = (path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _log_folder() -> Path:
    """The node's log folder: Ray writes what an entrypoint prints into a file there."""
    return Path("/proc/self/fd/1").readlink().parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
