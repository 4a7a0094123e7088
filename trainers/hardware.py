"""What this machine is, and which device and number type it computes best with.

Owns detection and the choice of dtype. Never imports torch: the measurement runs in a child process and its result
is kept. Refuses to know what a training needs (that is `estimating`).
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

from prompts.errors import ModelError
from trainers.paths import PYTHON, write_atomically

Dtype = Literal["float32", "bfloat16", "float16"]
_FIGURES = 4  # raised when more is measured, so that what older versions have kept is measured anew


class Gpu(BaseModel):
    """One NVIDIA GPU as its driver describes it."""

    model_config = ConfigDict(frozen=True)

    name: str
    memory_gb: float


class Hardware(BaseModel):
    """A machine: usable cores, memory in GB, GPUs."""

    model_config = ConfigDict(frozen=True)

    cpu: str
    cores: int
    memory_gb: float
    gpus: tuple[Gpu, ...] = ()

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}, {self.memory_gb:.0f} GB"
        if not self.gpus:
            return f"CPU, {cores}"
        first = self.gpus[0]
        count = f"{len(self.gpus)} x " if len(self.gpus) > 1 else ""
        return f"{count}{first.name}, {first.memory_gb:.0f} GB; CPU, {cores}"


class Compute(BaseModel):
    """The device and dtype to use, why, and the speed of a matrix product there in GFLOP/s; `gb_per_second` is that of
    adding up numbers in memory, where it was measured."""

    model_config = ConfigDict(frozen=True)

    device: Literal["cpu", "cuda"]
    dtype: Dtype
    reason: str
    gflops: float
    gb_per_second: float | None = None


@cache
def detect() -> Hardware:
    """Look at the machine. Asks `nvidia-smi` for GPUs, so it works before torch is imported."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return Hardware(cpu=_cpu_name(), cores=cores, memory_gb=_memory_bytes() / 2**30, gpus=_gpus())


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"


def _memory_bytes() -> int:
    """Physical memory, or the container's limit where that is lower."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _gpus() -> tuple[Gpu, ...]:
    ask = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [line.rsplit(",", 1) for line in answer.splitlines() if "," in line]
    return tuple(Gpu(name=name.strip(), memory_gb=_gpu_gb(mib.strip())) for name, mib in rows)


def _gpu_gb(mib: str) -> float:
    """A GPU that shares the machine's memory reports none of its own: "[N/A]"."""
    return float(mib) / 1024 if mib.isdigit() else _memory_bytes() / 2**30


def choose_compute(cache_dir: Path) -> Compute:
    """The device and dtype for this machine, measured once in a child process and kept in `cache_dir`.

    Raises `ModelError` where the measurement cannot run.
    """
    machine = detect()
    kept = cache_dir / "compute.json"
    key = [machine.cpu, machine.cores, [gpu.name for gpu in machine.gpus], version("torch"), _FIGURES]
    try:
        record = json.loads(kept.read_text())
        if record["key"] == key:
            return Compute.model_validate(record["compute"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    compute = _measure()
    write_atomically(kept, json.dumps({"key": key, "compute": compute.model_dump()}, indent=1))
    return compute


def _measure() -> Compute:
    child = [*PYTHON, "trainers.measure"]
    try:
        answer = subprocess.run(child, capture_output=True, text=True, timeout=300, check=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"PyTorch does not run here: {last}.", hint="Run `make run` to repair the set-up.") from error
    except subprocess.TimeoutExpired as error:
        raise ModelError("Measuring this machine took over five minutes.", hint="Try when it is less busy.") from error
    return Compute.model_validate_json(answer.stdout.strip().splitlines()[-1])
