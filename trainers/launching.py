"""One training in several processes: the same plan through `accelerate launch`, on several GPUs and machines.

Owns how such a run is started, how its processes share a step's rows, and which of them speaks for the run. Keeps the
settings as `launch.json` in the run folder, so that a resumed run is started the same way. Refuses to train, and never
imports torch.

    python -m trainers.launching RUN_DIR [MACHINE_RANK]

is the process that `jobs` starts: it waits for the devices, launches the workers, and launches them once more where
they ended to go on otherwise (smaller batches, a lower rate). On several machines it runs on each, on a run folder that
all of them see at that path.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prompts.errors import PlanError, TunewrightError
from trainers.hardware import choose_compute, detect
from trainers.paths import PYTHON, Paths, default_paths, write_atomically
from trainers.plan import Optimization
from trainers.queueing import devices
from trainers.status import ENDED, RunFolder

_FILE = "launch.json"
_TROUBLE = "trouble.json"  # what ended a process that does not speak for the run
_PR_SET_PDEATHSIG = 1
_LAUNCHED = "TUNEWRIGHT_LAUNCHED"
_DIED = "One of the training processes ended without a word; it was killed, often because memory ran out."


class Launch(BaseModel):
    """How many processes, on how many machines, and how these find each other. `processes` are those of all machines.

    `config_file` is what `accelerate config` wrote, for DeepSpeed or FSDP; what is named here goes before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(1, ge=1, le=4096)
    machines: int = Field(1, ge=1, le=1024)
    machine_rank: int = Field(0, ge=0)
    main_address: str = Field("", description="Where machine 0 is reached by the others")
    main_port: int | None = Field(None, ge=1, le=65535)
    config_file: Path | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Launch:
        if self.processes % self.machines:
            raise ValueError(f"{self.processes} processes cannot be divided evenly among {self.machines} machines")
        if self.machine_rank >= self.machines:
            raise ValueError(f"machine_rank is {self.machine_rank}, but the {self.machines} machines count from 0")
        if self.machines > 1 and not (self.main_address and self.main_port):
            raise ValueError("several machines need main_address and main_port, where machine 0 is reached")
        return self

    @property
    def here(self) -> int:
        """The processes of this machine."""
        return self.processes // self.machines

    @property
    def plain(self) -> bool:
        """Whether there is nothing to launch: one process, as ever."""
        return self.processes == 1 and self.config_file is None


def read_launch(processes: int, machines: int = 1, main: str = "", config_file: Path | None = None) -> Launch:
    """What a person typed; `main` is HOST:PORT. Raises `PlanError`."""
    address, _, port = main.rpartition(":")
    values = {"processes": processes, "machines": machines, "config_file": config_file and config_file.resolve()}
    try:
        return Launch.model_validate({**values, "main_address": address, "main_port": port or None})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise PlanError(f"launch: {reason}.", hint="Give processes, machines and main=HOST:PORT that fit.") from error


def keep(run: RunFolder, launch: Launch) -> None:
    """Have a run started like this from now on."""
    write_atomically(run.path / _FILE, launch.model_dump_json(indent=1))


def kept(run: RunFolder) -> Launch:
    """How a run is to be started; one process where nothing else was asked."""
    try:
        return Launch.model_validate_json((run.path / _FILE).read_text("utf-8"))
    except FileNotFoundError:
        return Launch()


def command(run: RunFolder) -> list[str]:
    """What starts a run on this machine: its worker, or what launches and watches several."""
    return [*PYTHON, "trainers.worker" if kept(run).plain else "trainers.launching", str(run.path)]


def accelerate_command(launch: Launch, run: RunFolder) -> list[str]:
    """`accelerate launch` for this machine's share of the processes."""
    told = ["--num_processes", str(launch.processes), "--num_machines", str(launch.machines)]
    told += ["--machine_rank", str(launch.machine_rank)]
    if launch.main_address:
        told += ["--main_process_ip", launch.main_address]
    # 0: any free port. Accelerate's own choice would keep a second run on the machine from starting.
    told += ["--main_process_port", str(launch.main_port or 0)]
    if launch.config_file:
        told += ["--config_file", str(launch.config_file)]
    else:
        # The trainers' arguments decide precision. `multi_gpu` is the launcher that starts processes by torchrun; it
        # does so for CPUs too, for which accelerate's own way would need MPI.
        several = ["--multi_gpu"] if launch.processes > 1 else []
        told += ["--mixed_precision", "no", "--dynamo_backend", "no", *several]
    return [*PYTHON, "accelerate.commands.launch", *told, "-m", "trainers.worker", str(run.path)]


def environment(launch: Launch) -> dict[str, str]:
    """For the launched processes, which `-P` does not reach: a folder named `trainers` is not to be taken for ours."""
    threads = max(1, detect().cores // launch.here)  # torchrun's own choice is one, however many cores there are
    return {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        _LAUNCHED: "1",
    }


# Inside the launched processes


class Again(Exception):
    """The processes that train together are to be launched once more: what is to be otherwise is kept in the run."""


def launched() -> bool:
    """Whether this process was started by a launcher, which holds the devices and says how it ended."""
    return _LAUNCHED in os.environ


def lost_another(error: Exception) -> bool:
    """Whether an error says no more than that another process is gone."""
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or "gloo" in str(error).lower()


def write_trouble(run: RunFolder, error: TunewrightError) -> None:
    """Leave the cause for the launcher, where this process does not speak for the run."""
    write_atomically(run.path / _TROUBLE, json.dumps({"message": error.message, "hint": error.hint}))


def world_size() -> int:
    """How many processes train together; 1 outside a launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Which of this machine's processes this is, and so which of the devices is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Whether this process speaks for the run: status, metrics, artefact and report are its alone."""
    return int(os.environ.get("RANK", "0")) == 0


def shared(how: Optimization, processes: int) -> tuple[int, int]:
    """Batch size and accumulated batches of each process, so that a step has as many rows as in a single one.

    Raises `PlanError` where the rows of a step cannot be divided evenly.
    """
    if how.gradient_accumulation % processes == 0:
        return how.batch_size, how.gradient_accumulation // processes
    if how.effective_batch % processes == 0:
        rows = how.effective_batch // processes
        size = max(size for size in range(1, how.batch_size + 1) if rows % size == 0)
        return size, rows // size
    raise PlanError(
        f"training.batch_size: a step's {how.effective_batch} rows cannot be divided among {processes} processes.",
        hint=f"Make batch_size x gradient_accumulation a multiple of {processes}.",
    )


# The process that launches and watches


def main(arguments: Sequence[str]) -> int:
    """Hold the devices, launch, and launch once more where the run is to go on otherwise. The last exit code."""
    run, paths = RunFolder(Path(arguments[0])), default_paths()
    launch = kept(run)
    if len(arguments) > 1:
        launch = Launch.model_validate({**launch.model_dump(), "machine_rank": int(arguments[1])})
    leads = launch.machine_rank == 0
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with devices(run, paths, launch.here, tell=leads):
            code = _launch_until_settled(launch, run, paths)
    except _Terminated:
        code = 3
    except TunewrightError as error:
        write_trouble(run, error)
        code = 1
    if leads:
        _conclude(run, code)
    return code


class _Terminated(BaseException):
    """Somebody asked to stop."""


def _terminated(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _launch_until_settled(launch: Launch, run: RunFolder, paths: Paths) -> int:
    choose_compute(paths.cache)  # once, rather than in each process
    while True:
        before = _adjusted(run)
        (run.path / _TROUBLE).unlink(missing_ok=True)
        child = subprocess.Popen(accelerate_command(launch, run), env=environment(launch), preexec_fn=_end_with_parent)
        try:
            code = child.wait()
        except _Terminated:
            child.terminate()  # it ends the workers in its turn; the main one writes down how it ended
            child.wait()
            raise
        if code == 0 or run.written_status().state in ENDED or _adjusted(run) == before:
            return code


def _end_with_parent() -> None:
    """Of a launcher that is killed no worker is to be left, which would train beside those of a resumed run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _adjusted(run: RunFolder) -> str:
    """How the plan is followed now; it changes where the processes ended to go on otherwise."""
    try:
        return (run.path / "adjusted.json").read_text("utf-8")
    except FileNotFoundError:
        return ""


def _trouble(run: RunFolder) -> dict[str, str]:
    try:
        return dict(json.loads((run.path / _TROUBLE).read_text("utf-8")))
    except FileNotFoundError:
        return {}


def _conclude(run: RunFolder, code: int) -> None:
    """Where the main worker could not say how it ended, say so."""
    now = run.written_status()
    if code == 0 or now.state in ENDED:
        return
    end = {"state": "cancelled", "message": "Cancelled."}
    if code != 3:
        hint = f"Resume goes on from the last checkpoint. What they said last is in {run.log}."
        end = {"state": "failed", "message": _DIED, "hint": hint, **_trouble(run)}
    run.write_status(now.model_copy(update={**end, "seconds_left": None}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
