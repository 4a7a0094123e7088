"""A run on a Ray cluster, followed from here: `python -m trainers.on_ray RUN_DIR`, which `jobs` starts like a worker.

Owns bringing status, metrics and log here while a run goes on there, and its artefact and report when it is done; and
passing on a cancel or a stop. Refuses to train, and to submit (that is `ray_cluster`). Imports ray inside functions
alone.

Everything passes through the address of the dashboard, as job and as log files: a cluster behind one forwarded port
will do, its Python and Ray need not be ours, and no disk is shared. Ray's own client would need a second port and the
very same versions of both; an actor for the files would have to outlive its job.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from prompts.errors import RunError, TunewrightError
from trainers import ray_there
from trainers.paths import write_atomically
from trainers.ray_cluster import Cluster, NotThere, connect, get, keep, kept, submit
from trainers.status import ENDED, RunFolder, RunStatus
from trainers.worker import explain

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 12  # `jobs` kills who takes more than 20
_PATIENCE = 600  # seconds in which the cluster may not answer
_LOG_LINES = 1000  # of the log, while it runs
_FILE_SECONDS = 3600
_LAST = ("evaluation.json",)  # comes after all that it speaks of
_OVER = ("SUCCEEDED", "FAILED", "STOPPED")


__all__ = ["Cluster", "follow", "keep", "kept", "main"]


class _Cancelled(BaseException):
    """Somebody asked to stop."""


class Followed:
    """A run's job on the cluster, and the run's folder here."""

    def __init__(self, run: RunFolder, client: Any, cluster: Cluster) -> None:
        self.run, self.client, self.cluster, self.name = run, client, cluster, cluster.submission
        self._node = ""
        self._seen = 0.0  # when the status that was brought last was written, by the cluster's clock
        self._stop_passed_on = False

    def until_ended(self) -> None:
        """Bring what there is until the job has ended, then the rest. Raises `RunError` where it did not end well."""
        answered = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                if self._look():
                    self._conclude()
                    return
                answered = time.monotonic()
            except _silence() as error:
                self._say("The Ray cluster does not answer; the job may go on there. Trying again.")
                if time.monotonic() - answered > _PATIENCE:
                    hint = "The job may go on there. Resume looks for it again."
                    raise RunError("The Ray cluster does not answer any more.", hint=hint) from error
            # Looking is to take a tenth of the time at most, however long files and wires are.
            time.sleep(max(_LOOK_SECONDS, 10 * (time.monotonic() - began)))

    def stop(self) -> None:
        """Stop the job, and bring what it has logged so far."""
        self.client.stop_job(self.name)
        until = time.monotonic() + _STOP_SECONDS
        while self._state() not in _OVER and time.monotonic() < until:
            time.sleep(0.1)
        self._mirror(whole=True)

    def _state(self) -> str:
        try:
            return str(self.client.get_job_status(self.name).value)
        except RuntimeError as error:
            hint = "It may have been started anew. Resume submits the run once more."
            raise RunError("The Ray cluster knows nothing of this run any more.", hint=hint) from error

    def _look(self) -> bool:
        """Bring what is new; whether the job has ended."""
        state = self._state()
        if state == "PENDING":
            self._say("Waiting for the Ray cluster.")
        elif state == "RUNNING":
            self._mirror()
            self._pass_on_stop()
        return state in _OVER

    def _mirror(self, *, whole: bool = False) -> RunStatus | None:
        """Status, metrics and log as they are there; the status, None where the run has not begun."""
        try:
            status = RunStatus.model_validate_json(self._read("status.json"))
        except (NotThere, ValidationError):
            return None
        if whole or status.updated != self._seen:
            self._seen = status.updated
            self._bring_text("metrics.jsonl")
            log = self._fetch(f"job-driver-{self.name}.log", lines=-1 if whole else _LOG_LINES)
            write_atomically(self.run.log, b"".join(log).decode("utf-8", errors="replace"))
            if status.state not in ENDED:
                self.run.write_status(status)
        return status

    def _bring_text(self, name: str) -> None:
        try:
            write_atomically(self.run.path / name, self._read(name).decode("utf-8"))
        except NotThere:
            return

    def _conclude(self) -> None:
        status = self._mirror(whole=True)
        if status is None or status.state not in ENDED:
            raise self._died(self.client.get_job_info(self.name), status)
        if status.state == "done":
            self._bring_result()
        elif status.state == "failed":
            status = status.model_copy(update={"message": f"On the Ray cluster: {status.message}"})
        self.run.write_status(status)
        if status.state == "done":
            self._clean_up()  # what did not get that far is kept: a resumed run goes on from its checkpoint

    def _died(self, info: Any, status: RunStatus | None) -> RunError:
        """The error for a job that ended and left no word of its own. Raises `_Cancelled` where it was stopped."""
        if str(info.status.value) == "STOPPED":
            raise _Cancelled
        hint = f"What it said last is in {self.run.log}."
        if status is not None:
            return RunError(
                "The training process on the Ray cluster was killed, often because memory ran out.", hint=hint
            )
        said = (info.message or "").strip()
        write_atomically(self.run.log, said + "\n")
        lines = [line.strip() for line in said.splitlines() if not line.startswith("Running entrypoint for job")]
        last = lines[-1].rstrip(".") if lines else "it gave no reason"
        return RunError(f"The job on the Ray cluster failed: {last}.", hint=hint)

    def _bring_result(self) -> None:
        """All that the run has made, each file with the size and hash that it has there; folders last and at once."""
        try:
            listed: dict[str, tuple[int, str]] = json.loads(self._read(ray_there.FILES))
        except NotThere as error:
            told = "The run's files on the Ray cluster are gone, or were cut off."
            raise RunError(told, hint="Resume submits the run once more.") from error
        if strange := [name for name in listed if not _is_inside(name)]:
            raise RunError(f"The cluster names a file outside the run: {strange[0]}.", hint="Look at what runs there.")
        skipped = {"status.json", "metrics.jsonl", self.run.log.name}
        names = sorted(listed.keys() - skipped, key=lambda name: (name in _LAST, name))
        folders = sorted({name.partition("/")[0] for name in names if "/" in name})
        self._say("Bringing the result here.", phase="evaluating")
        for folder in folders:
            shutil.rmtree(self.run.path / f".{folder}.tmp", ignore_errors=True)
        for name in (name for name in names if "/" in name):
            folder, _, rest = name.partition("/")
            self._download(name, self.run.path / f".{folder}.tmp" / rest, *listed[name])
        for folder in folders:
            shutil.rmtree(self.run.path / folder, ignore_errors=True)
            (self.run.path / f".{folder}.tmp").rename(self.run.path / folder)
        for name in (name for name in names if "/" not in name):
            self._download(name, self.run.path / name, *listed[name])

    def _download(self, name: str, target: Path, size: int, digest: str) -> None:
        """One file, beside its place until it is whole. Raises `RunError` where it is not what it is there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        draft, seen = target.with_name(f".{target.name}.tmp"), hashlib.sha256()
        with draft.open("wb") as file:
            for part in self._fetch(f"{ray_there.place(self.run.id)}/{name}") if size else ():
                file.write(part)
                seen.update(part)
        if seen.hexdigest() != digest:
            draft.unlink()
            told = f"{name} came from the cluster damaged: {draft.name} is not what it is there."
            raise RunError(told, hint="Resume brings it once more.")
        draft.replace(target)

    def _read(self, name: str) -> bytes:
        return b"".join(self._fetch(f"{ray_there.place(self.run.id)}/{name}"))

    def _fetch(self, file: str, lines: int = -1) -> Iterator[bytes]:
        """A file below the node's log folder, in parts. Raises `NotThere`."""
        asked = {"node_id": self._node_id(), "filename": file, "lines": lines, "timeout": _FILE_SECONDS}
        with get(self.client, f"/api/v0/logs/file?{urlencode(asked)}", stream=True) as answer:
            yield from answer.iter_content(chunk_size=1 << 20)

    def _node_id(self) -> str:
        self._node = self._node or self.client.get_job_info(self.name).driver_node_id or ""
        if not self._node:
            raise NotThere("the job has no node yet")
        return self._node

    def _pass_on_stop(self) -> None:
        if self.run.stop_file.exists() and not self._stop_passed_on:
            self._there("(folder / 'stop').touch()")
            self._stop_passed_on = True

    def _clean_up(self) -> None:
        """The run's folder there is not needed any more, and may be large."""
        with suppress(RuntimeError, *_silence()):
            self._there("import shutil; shutil.rmtree(folder)")

    def _there(self, code: str) -> None:
        """A line of Python on the run's node, with its `folder`, as a job of its own: Ray lets nothing else in."""
        logs = "pathlib.Path(os.readlink('/proc/self/fd/1')).parent"
        find = f"import os, pathlib; folder = {logs} / '{ray_there.place(self.run.id)}'"
        self.client.submit_job(
            entrypoint=f'{self.cluster.python} -c "{find}; {code}"',
            entrypoint_label_selector={"ray.io/node-id": self._node_id()},
        )

    def _say(self, message: str, **more: Any) -> None:
        now = self.run.written_status()
        if now.message != message:
            self.run.write_status(now.model_copy(update={"message": message, **more}))


def _is_inside(name: str) -> bool:
    """Whether a path stays below the folder that it is joined to; whoever is on the cluster may have written it."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") for part in parts)


def _silence() -> tuple[type[Exception], ...]:
    """What is raised where the cluster does not answer, rather than answers that it will not. A disk that is full here
    is neither."""
    from requests import RequestException

    return (RequestException, ConnectionError)


def follow(run: RunFolder) -> None:
    """Submit a run, or find its job again, and follow it to its end. Raises `RunError`."""
    cluster = kept(run)
    if cluster is None:
        raise RunError(f"{run.name} is not meant for a cluster.", hint="Start it with `--on ray://HOST:10001`.")
    client = connect(cluster)
    try:
        if not _goes_on(client, cluster):
            run.write_status(run.written_status().model_copy(update={"message": "Sending it to the Ray cluster."}))
            cluster = submit(run, client, cluster)
        Followed(run, client, cluster).until_ended()
    except _Cancelled:
        now = kept(run)
        if now is not None and _goes_on(client, now):
            Followed(run, client, now).stop()
        raise


def _goes_on(client: Any, cluster: Cluster) -> bool:
    """Whether the job of an earlier start is still there, or done and not yet brought here."""
    if not cluster.submission:
        return False
    try:
        return str(client.get_job_status(cluster.submission).value) in ("PENDING", "RUNNING", "SUCCEEDED")
    except RuntimeError:  # the cluster was started anew and knows no such job
        return False


def main(path: Path) -> int:
    """Follow and report, as the worker does. Exit code 0 when done, 1 when failed, 3 when cancelled."""

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # stopping takes a while, and once is enough
        raise _Cancelled

    signal.signal(signal.SIGTERM, on_terminate)
    run = RunFolder(path)
    try:
        follow(run)
    except _Cancelled:
        end: dict[str, Any] = {"state": "cancelled", "message": "Cancelled."}
    except TunewrightError as error:
        end = {"state": "failed", "message": error.message, "hint": error.hint}
    except Exception as error:
        with run.log.open("a", encoding="utf-8") as log:  # what this process prints may be gone: the log is replaced
            traceback.print_exc(file=log)
        found = explain(error)
        end = {"state": "failed", "message": found.message, "hint": found.hint}
    else:
        return {"done": 0, "cancelled": 3}.get(run.written_status().state, 1)
    run.write_status(run.written_status().model_copy(update={**end, "seconds_left": None}))
    return 3 if end["state"] == "cancelled" else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
