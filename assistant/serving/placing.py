"""Which engine holds what: from the models that are wanted to the servers that it takes, and their memory.

One vLLM holds a base with its LoRA adapters. On a CPU soft prompts get a second one on the same base (see `vllm`), and
a whole model always does, where memory allows it. What vLLM cannot hold goes to the embedded engine, beside the others.
Owns these rules and the estimate. Refuses to start anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from assistant.serving.engine import EngineKind
from assistant.serving.served import ServedModel
from assistant.serving.vllm import takes
from prompts.errors import EngineError
from trainers.models import LocalModel

Mode = Literal["attached", "adapters", "soft", "whole", "embedded"]
Key = tuple[EngineKind, Mode, str]  # the last is the folder of the model that it is started on
_TOLD: dict[Mode, str] = {
    "attached": "that runs elsewhere",
    "adapters": "with LoRA adapters",
    "soft": "with soft prompts",
    "whole": "as a model of its own",
    "embedded": "with adapters and models of their own",
}
# Measured with SmolLM2-135M on a CPU: what the processes take beside weights and cache (`benchmarks/serving.py`).
_VLLM_GB, _EMBEDDED_GB = 2.6, 1.2
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Site:
    """Where engines are to stand: whether vLLM may be started, or runs elsewhere, on a GPU or not; memory in GB.

    `cache_gb` is what vLLM's cache takes on a CPU.
    """

    vllm: bool
    attached: bool
    on_gpu: bool
    dtype: str
    free_gb: float
    cache_gb: float


@dataclass(frozen=True)
class Seat:
    """One server that is needed: on which model, for which kind of others, and for which models now."""

    engine: EngineKind
    mode: Mode
    folder: LocalModel
    models: tuple[ServedModel, ...]
    memory_gb: float
    share: float = 0.85

    @property
    def key(self) -> Key:
        return (self.engine, self.mode, str(self.folder.folder))

    @property
    def rank(self) -> int:
        return max((model.rank for model in self.models), default=0)

    @property
    def told(self) -> str:
        """In words, with the memory that it takes."""
        name = "vLLM" if self.engine == "vLLM" else "the embedded engine"
        what = "" if self.mode == "embedded" and not any(m.artefact for m in self.models) else f" {_TOLD[self.mode]}"
        memory = f", about {self.memory_gb:.1f} GB" if self.memory_gb else ""
        return f"{name} on {self.folder.name}{what}{memory}"


def place(models: Sequence[ServedModel], site: Site, running: Iterable[Key] = ()) -> tuple[Seat, ...]:
    """The servers that it takes to hold all of these at once. A base goes where there is a server on it anyway.

    `running` are the keys of seats that are there already. Raises `EngineError` where the memory is not enough, with
    what each would take.
    """
    seats = _seats(models, site, tuple(running), whole_in_vllm=True)
    if _need(seats) > site.free_gb and any(seat.mode == "whole" for seat in seats):
        seats = _seats(models, site, tuple(running), whole_in_vllm=False)  # without a cache of its own it takes less
    if (need := _need(seats)) > site.free_gb:
        told = "; ".join(seat.told for seat in seats)
        raise EngineError(
            f"These models take about {need:.1f} GB, and {site.free_gb:.1f} GB are free: {told}.",
            hint="Compare fewer at once, or close what uses memory.",
        )
    return seats


def _need(seats: Iterable[Seat]) -> float:
    return sum(seat.memory_gb for seat in seats)


def _seats(
    models: Sequence[ServedModel], site: Site, running: tuple[Key, ...], *, whole_in_vllm: bool
) -> tuple[Seat, ...]:
    groups: dict[Key, list[ServedModel]] = {}
    folders: dict[str, LocalModel] = {}
    for model in sorted(models, key=lambda model: model.artefact is None):  # bases last: they go where others are
        engine, mode, folder = _home(model, site, whole_in_vllm=whole_in_vllm)
        if model.artefact is None:
            engine, mode = _beside((*groups, *running), str(folder.folder)) or (engine, mode)
        folders[str(folder.folder)] = folder
        groups.setdefault((engine, mode, str(folder.folder)), []).append(model)
    seats = [
        Seat(engine, mode, folders[path], tuple(held), _memory(engine, mode, folders[path], held, site))
        for (engine, mode, path), held in groups.items()
    ]
    return _shared(seats, site)


def _home(model: ServedModel, site: Site, *, whole_in_vllm: bool) -> tuple[EngineKind, Mode, LocalModel]:
    if site.attached and (model.artefact is None or takes(model)):
        return "vLLM", "attached", model.base
    if not site.vllm:
        return "embedded", "embedded", model.base
    if model.is_whole:
        assert model.artefact is not None
        own = LocalModel(ref=str(model.artefact), kind="folder", name=model.name, folder=model.artefact)
        return ("vLLM", "whole", own) if whole_in_vllm else ("embedded", "embedded", model.base)
    if model.is_soft:
        return "vLLM", "adapters" if site.on_gpu else "soft", model.base
    return ("vLLM", "adapters", model.base) if takes(model) else ("embedded", "embedded", model.base)


def _beside(keys: Iterable[Key], folder: str) -> tuple[EngineKind, Mode] | None:
    """The server among these whose base this is, vLLM's first."""
    modes: tuple[Mode, ...] = ("attached", "adapters", "soft", "embedded")
    there = {mode: engine for engine, mode, path in keys if path == folder}
    return next(((there[mode], mode) for mode in modes if mode in there), None)


def _memory(engine: EngineKind, mode: Mode, folder: LocalModel, models: Iterable[ServedModel], site: Site) -> float:
    """GB: the process, its weights, its cache; in the embedded engine a model more for what shares none."""
    if mode == "attached":
        return 0.0
    weights = folder.parameters * _BYTES[site.dtype] / 2**30
    if engine == "vLLM":
        return (0.0 if site.on_gpu else _VLLM_GB) + 1.1 * weights + site.cache_gb
    own = sum(model.artefact is not None and not takes(model) for model in models)
    return _EMBEDDED_GB + 1.1 * weights * (1 + own)


def _shared(seats: Sequence[Seat], site: Site) -> tuple[Seat, ...]:
    """On a GPU, vLLM's servers divide what is left of it beside the embedded engine, by what they need."""
    ours = [seat for seat in seats if seat.engine == "vLLM" and seat.mode != "attached"]
    if not site.on_gpu or not ours:
        return tuple(seats)
    left = 0.85 * max(0.0, 1 - _need(seat for seat in seats if seat.engine != "vLLM") / max(site.free_gb, 1e-9))
    total = _need(ours)
    return tuple(
        Seat(s.engine, s.mode, s.folder, s.models, s.memory_gb, round(left * s.memory_gb / total, 2))
        if s in ours
        else s
        for s in seats
    )
