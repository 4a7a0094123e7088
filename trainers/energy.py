"""What a training took of electricity, as the machine's own counters say, and what follows from it.

Owns reading the counters: NVML's total energy of NVIDIA GPUs, and RAPL's of the processor and its memory on Linux.
Refuses to estimate: where a machine has no counter, there is no figure, and the record says why.
"""

# Not codecarbon (3.3.2 looked at): where it finds no counter it takes a table of processors' rated power, it asks
# get.geojs.io or ipinfo.io where the machine is, and it brings 15 requirements, authlib and pandas among them. What is
# read here are the same two counters.

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from prompts.errors import RunError
from trainers.paths import write_atomically

_POWERCAP = Path("/sys/class/powercap")
# A package's counter goes round after some 260 kJ: at 200 W within 22 minutes. It is looked at much more often.
_SECONDS_BETWEEN = 60.0
_JOULES_PER_KWH = 3.6e6


class Energy(BaseModel):
    """Energy by counters in kWh, with what was counted, over so many seconds; `kwh` is None where `why` says why."""

    model_config = ConfigDict(frozen=True)

    kwh: float | None = None
    source: str = ""
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Rates:
    """What the person says of their electricity and machine: grams of CO2 for a kWh, and what an hour costs."""

    grams_per_kwh: float | None = None
    cost_per_hour: float | None = None


NOTHING_SAID = Rates()
_GRAMS, _COST = "TUNEWRIGHT_GRID_G_PER_KWH", "TUNEWRIGHT_COST_PER_HOUR"


def rates_from(environment: Mapping[str, str]) -> Rates:
    """What the person set there. Raises `RunError` for what is no figure of 0 or more."""
    return Rates(_said(environment, _GRAMS), _said(environment, _COST))


def _said(environment: Mapping[str, str], name: str) -> float | None:
    said = environment.get(name, "").strip()
    if not said:
        return None
    try:
        value = float(said)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise RunError(f"{name} cannot be {said!r}.", hint="Give a figure, such as 380 or 0.5, or leave it out.")
    return value


class Counter(Protocol):
    """Something that counts energy, upwards from anywhere."""

    name: str

    def joules(self) -> float: ...


@dataclass
class RaplCounter:
    """One domain of the processor's counter; rounds are added up as long as it is read once in each.

    Raises OSError where it cannot be read.
    """

    folder: Path
    name: str = "the processor's counter (RAPL)"
    _rounds: int = 0
    _last: int = -1

    def joules(self) -> float:
        now = int((self.folder / "energy_uj").read_text())
        if now < self._last:
            self._rounds += 1
        self._last = now
        most = int((self.folder / "max_energy_range_uj").read_text()) if self._rounds else 0
        return (now + self._rounds * most) / 1e6


@dataclass
class NvmlCounter:
    """One NVIDIA GPU's counter since its driver was loaded."""

    nvml: Any
    handle: Any
    name: str = "the GPU's counter (NVML)"

    def joules(self) -> float:
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3


def counters(*, gpu: bool, powercap: Path = _POWERCAP, nvml: Any = None) -> tuple[list[Counter], str]:
    """The counters of this machine that can be read, and why there are not more. `gpu`: whether a GPU is used.

    A GPU's without the processor's would be no whole figure, but one that says what it counts.
    """
    found, missing = _rapl(powercap)
    if gpu:
        gpus, lacks = _nvml(nvml)
        found, missing = [*gpus, *found], " ".join(filter(None, (lacks, missing)))
    return found, missing


def _rapl(powercap: Path) -> tuple[list[Counter], str]:
    """Packages, and the memory beside them. `intel-rapl-mmio:*` counts the same packages once more; AMD's stand under
    intel-rapl too."""
    domains = sorted(powercap.glob("intel-rapl:*"))
    wanted = [d for d in domains if _text(d / "name").startswith("package") or _text(d / "name") == "dram"]
    if not wanted:
        return [], "This machine shows no energy counter of its processor (RAPL)."
    found: list[Counter] = [RaplCounter(domain) for domain in wanted]
    try:
        for counter in found:
            counter.joules()
    except (OSError, ValueError):
        return [], "Only the administrator may read the processor's energy counter (RAPL) on this machine."
    return found, ""


def _nvml(nvml: Any) -> tuple[list[Counter], str]:
    if nvml is None:
        try:
            nvml = import_module("pynvml")
        except ImportError:
            return [], "The GPU's energy counter needs the package nvidia-ml-py."
    try:
        nvml.nvmlInit()
        found: list[Counter] = [NvmlCounter(nvml, handle) for handle in _handles(nvml)]
        for counter in found:
            counter.joules()
    except nvml.NVMLError as error:
        return [], f"The GPU's energy counter cannot be read: {error}."
    return found, "" if found else "No GPU is visible to the energy counter."


def _handles(nvml: Any) -> list[Any]:
    """The GPUs that this process may use: NVML itself shows all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    parts = [part.strip() for part in named.split(",") if part.strip()]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(part)) if part.isdigit() else nvml.nvmlDeviceGetHandleByUUID(part)
        for part in parts
    ]


@dataclass
class _Meter:
    """Adds up what counters say, and keeps it in a file: a killed process leaves what it had counted."""

    path: Path
    counters: Sequence[Counter]
    missing: str
    earlier: Energy | None
    begun: float = field(default_factory=time.monotonic)
    first: list[float] = field(default_factory=list)
    broken: str = ""

    def look(self) -> None:
        try:
            now = [counter.joules() for counter in self.counters]
        except Exception as error:  # a driver that goes away must not end a training
            self.broken = f"A counter could not be read to the end: {error}."
            now = []
        self.first = self.first or now
        kwh = sum(b - a for a, b in zip(self.first, now, strict=True)) / _JOULES_PER_KWH if now else None
        self._keep(kwh)

    def _keep(self, kwh: float | None) -> None:
        seconds = time.monotonic() - self.begun
        why = self.broken or ("" if self.counters else self.missing)
        if self.earlier is not None:  # the run was cut off and goes on
            seconds += self.earlier.seconds
            if kwh is not None and self.earlier.kwh is None:
                kwh, why = None, f"An earlier part of this training was not counted. {self.earlier.why}".strip()
            elif kwh is not None and self.earlier.kwh is not None:
                kwh += self.earlier.kwh
        names = list(dict.fromkeys(counter.name for counter in self.counters))
        source = f"{' and '.join(names)}, all that ran on the machine meanwhile included" if names else ""
        whole = Energy(kwh=kwh, source=source if kwh is not None else "", seconds=seconds, why=why)
        write_atomically(self.path, whole.model_dump_json(indent=1))


@contextmanager
def measured(path: Path, *, gpu: bool = False, known: tuple[Sequence[Counter], str] | None = None) -> Iterator[None]:
    """Count the energy of what is done inside, and keep it at `path` as `Energy`; a run that goes on adds to it.

    Counts this machine alone. `known` are counters to read instead of the machine's own, and what is missing.
    """
    found, missing = known or counters(gpu=gpu)
    meter = _Meter(path, found, missing, read_energy(path))
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN):
            meter.look()

    meter.look()
    thread = threading.Thread(target=watch, name="energy", daemon=True)
    if found:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if found:
            thread.join(5)
        meter.look()


def read_energy(path: Path) -> Energy | None:
    """What was counted, or None where nobody counted."""
    try:
        return Energy.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""
