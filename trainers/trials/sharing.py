"""One loaded base for all that is tried on it, and what was used meanwhile. Imports torch.

Owns lending: whoever is lent the base gets modules of their own around the very same weights, so that adapters, hooks
and patched methods go with them and nothing of it has to be undone. Refuses to lend to what would move the weights:
full tuning, initialisations that take their first values out of the base, and quantized bases load their own.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainers.hardware import Compute, choose_compute, detect
from trainers.memory import peak_memory_gb
from trainers.modeling import load_base, load_tokenizer
from trainers.models import LocalModel
from trainers.parents import base_of
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.strategies import QloraStrategy


@dataclass
class Shared:
    """A base model, loaded when it is first needed and then held, with its tokenizer."""

    base: LocalModel
    compute: Compute
    trust_remote_code: bool = False
    seconds: float = field(default=0.0, init=False)  # that loading took
    _loaded: tuple[Any, Any] | None = field(default=None, init=False)

    def pair(self) -> tuple[Any, Any]:
        """The base and its tokenizer, to be asked and not to be changed. Raises `ModelError`."""
        if self._loaded is None:
            begun = time.monotonic()
            remote = {"trust_remote_code": self.trust_remote_code}
            # As a training loads it: where only float16 is fast, that holds float32, and so is asked in float32 too.
            model = load_base(self.base.folder, self.compute, training=True, **remote)
            self._loaded = model.eval().requires_grad_(False), load_tokenizer(self.base.folder, **remote)
            self.seconds = time.monotonic() - begun
        return self._loaded

    def lend(self, plan: TrainingPlan) -> tuple[Any, Any] | None:
        """Modules of one's own around the shared weights, to put an adapter on; None for a plan that moves these."""
        if not shares(plan):
            return None
        return self.model(), self.pair()[1]

    def model(self) -> Any:
        """The same, for whoever puts on an adapter that is trained already."""
        model, _ = self.pair()
        weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        return copy.deepcopy(model, weights)

    @property
    def fingerprint(self) -> str:
        """A hash of every weight's bits, to tell that nothing has moved them."""
        digest = hashlib.sha256()
        for name, value in sorted(self.pair()[0].state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def shares(plan: TrainingPlan) -> bool:
    """Whether a plan leaves the base's weights as they are and takes them as others do."""
    strategy = plan.strategy
    return strategy.keeps_base and strategy.form != "model" and not isinstance(strategy, QloraStrategy)


def compute_for(device: str, paths: Paths) -> Compute:
    """What the trials compute with: what this machine does best, or the CPU where that was asked and there is more.

    Kept beside the machine's own figures. Whoever asks for the CPU has hidden the GPUs from this process (`life`).
    """
    return choose_compute(paths.cache / "cpu" if device == "cpu" and detect().gpus else paths.cache)


def open_shared(plan: TrainingPlan, paths: Paths, device: str = "") -> Shared:
    """The base of a plan on this machine, not loaded yet. Raises `ModelError` where it is not there."""
    return Shared(base_of(plan, paths), compute_for(device, paths), plan.trust_remote_code)


@dataclass
class Usage:
    """What something took: seconds by the clock and of all threads, and the most memory meanwhile in GB."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_gb: float = 0.0


@contextmanager
def used() -> Iterator[Usage]:
    """Measures what is done inside; the figures are there afterwards, also where it failed."""
    found = Usage()
    forget_peak()
    begun, worked = time.monotonic(), time.process_time()
    try:
        yield found
    finally:
        found.seconds = time.monotonic() - begun
        found.cpu_seconds = time.process_time() - worked
        found.memory_gb = peak()


_PEAK_OF = Path("/proc/self/status")


def forget_peak() -> None:
    """From now on the peak counts, not what was held before. Without Linux' word for it the process' own peak stays."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most memory since `forget_peak`, in GB: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return peak_memory_gb()
    with suppress(OSError):
        for line in _PEAK_OF.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20
    return peak_memory_gb()
