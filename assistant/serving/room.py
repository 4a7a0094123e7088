"""Which engines serve, and when they live. Owns the running ones; refuses to know what is asked of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import psutil

from assistant.serving.attached import Attached
from assistant.serving.embedded import embedded_launch
from assistant.serving.endpoint import Endpoint
from assistant.serving.engine import Engine, Launch
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.placing import Key, Seat, Site, place
from assistant.serving.proof import identify
from assistant.serving.served import Connected, Identity, ServedModel
from assistant.serving.soft import soft_template
from assistant.serving.vllm import VllmUse, cache_gb, vllm_launch, vllm_version
from assistant.settings import Settings
from prompts.errors import EngineError
from trainers.hardware import choose_compute, detect
from trainers.models import LocalModel

Say = Callable[[str], None]


class EngineRoom:
    """Starts engines on first use, keeps them while memory allows, and finds who answers under a name.

    Raises `EngineError` at once where vLLM was asked for and is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vllm = _takes_vllm(settings)
        self._engines: dict[Key, Engine] = {}
        self._attached: dict[str, Attached] = {}
        self._seats: dict[Key, Seat] = {}
        self._served: dict[str, tuple[ServedModel, Endpoint]] = {}
        self._identities: dict[tuple[ServedModel, Endpoint, int], Identity] = {}
        self._resting: tuple[ServedModel, ...] = ()
        self._lock = threading.RLock()
        self._progress = ""

    # What there is

    @property
    def progress(self) -> str:
        """What an engine is busy with before it can answer, or nothing."""
        again = (engine.progress for engine in list(self._engines.values()) if engine.progress)
        return self._progress or next(again, "")

    @property
    def running(self) -> tuple[Engine, ...]:
        """The engines of ours that run."""
        return tuple(engine for engine in list(self._engines.values()) if engine.running)

    def title(self) -> str:
        """The engines in words, for the status bar."""
        if self.progress:
            return self.progress
        told = [f"{at.title}: {_beside(at)}" for at in (*self.running, *list(self._attached.values()))]
        troubles = [engine.trouble for engine in list(self._engines.values()) if engine.trouble and not engine.running]
        if told or troubles:
            return "; ".join((*told, *troubles))
        kind = f"vLLM {vllm_version()}" if self._vllm else "embedded engine"
        return f"{self._settings.vllm_url or kind}, not started"

    def key(self, base: LocalModel) -> str:
        """What the base model's answers depend on beside prompt and input: engine, dtype, weights. Starts nothing."""
        compute = choose_compute(self._settings.paths.cache)
        engine = self._settings.vllm_url or ("vLLM" if self._vllm else "embedded")
        return f"{engine} {compute.device} {compute.dtype} {base.folder}"

    def find(self, name: str) -> OpenAIModel:
        """What answers under a name now. Raises `EngineError` where nothing does."""
        known = self._served.get(name)
        if known is None:
            names = ", ".join(self._served) or "nothing yet"
            raise EngineError(f"There is no model named {name} here.", hint=f"Served are: {names}.")
        served, at = known
        return at.connect(served)

    @property
    def served(self) -> dict[str, ServedModel]:
        """All that can be asked now, by name."""
        return {name: served for name, (served, _) in list(self._served.items())}

    # Life

    def plan(self, models: Sequence[ServedModel]) -> tuple[Seat, ...]:
        """The servers that these would take. Raises `EngineError` where the memory is not enough. Starts nothing."""
        return place(models, self._site(), self._running_keys())

    def connect(self, models: Sequence[ServedModel], on_progress: Say = lambda text: None) -> list[Connected]:
        """Live models for all of these, engines started and adapters loaded where they are not yet.

        Blocks while an engine starts. Raises `EngineError`, also for a tuned model that answers exactly as its base.
        """
        with self._lock:
            try:
                seats = self.plan(models)
                self._make_room(seats)
                for seat in seats:
                    at = self._ready(seat, self._teller(on_progress))
                    for model in seat.models:
                        if seat.mode != "whole":  # it is what that server was started on
                            at.load(model)
                        self._served[model.name] = (model, at)
                self._teller(on_progress)("Checking who answers")
                return [self._connected(model) for model in models]
            finally:
                self._progress = ""

    def _teller(self, on_progress: Say) -> Say:
        def tell(text: str) -> None:
            self._progress = text
            on_progress(text)

        return tell

    def _connected(self, model: ServedModel) -> Connected:
        at = self._served[model.name][1]
        known = (model, at, at.starts)  # what was started again is asked again
        if known not in self._identities:
            base_at = next((other for held, other in self._served.values() if _is_base_of(held, model)), None)
            try:
                self._identities[known] = identify(model, at, at.parents(), base_at if model.is_whole else at)
            except EngineError:
                self._served.pop(model.name, None)
                at.unload(model.name)
                raise
        return Connected(at.connect(model), self._identities[known])

    def _ready(self, seat: Seat, say: Say) -> Endpoint:
        if seat.mode == "attached":
            return self._attach(seat.folder)
        engine, before = self._engines.get(seat.key), self._seats.get(seat.key)
        fits = before is not None and seat.rank <= max(before.rank, 16) and seat.share == before.share
        if engine is None or not fits or not engine.takes(seat.models):
            self._stop(seat.key)
            log = self._settings.paths.logs / f"engine-{seat.engine}-{seat.mode}.log"
            engine = self._engines[seat.key] = Engine(self._launch(seat), log)
            self._seats[seat.key] = seat
        engine.start(say)
        return engine

    def _attach(self, base: LocalModel) -> Attached:
        key = str(base.folder)
        if key not in self._attached:
            self._attached[key] = Attached(self._settings.vllm_url, self._settings.vllm_key, base)
        return self._attached[key]

    def _launch(self, seat: Seat) -> Launch:
        compute = choose_compute(self._settings.paths.cache)
        if seat.engine == "embedded":
            return embedded_launch(seat.folder, compute)
        soft = seat.mode == "soft" or (seat.mode == "adapters" and compute.device == "cuda")
        use = VllmUse(
            rank=max(seat.rank, 16) if seat.mode == "adapters" else 0,
            soft_template=soft_template(seat.folder.folder, self._settings.paths.cache / "templates") if soft else None,
            share=seat.share,
            options=self._settings.vllm_options,
        )
        context = int(seat.folder.shape.config.get("max_position_embeddings", 0))
        return vllm_launch(seat.folder, compute, detect(), use, context=context)

    # Memory

    def _site(self) -> Site:
        compute, machine = choose_compute(self._settings.paths.cache), detect()
        on_gpu = compute.device == "cuda"
        return Site(
            vllm=self._vllm and not self._settings.vllm_url,
            attached=bool(self._settings.vllm_url),
            on_gpu=on_gpu,
            dtype=compute.dtype,
            free_gb=0.95 * sum(gpu.memory_gb for gpu in machine.gpus[:1]) if on_gpu else _free_gb(self.running),
            cache_gb=1.0 if on_gpu else float(cache_gb(machine)),
        )

    def _running_keys(self) -> list[Key]:
        return [key for key, engine in list(self._engines.items()) if engine.running]

    def _make_room(self, seats: Sequence[Seat]) -> None:
        """Stop engines that are not wanted now where they would be in the way: of another base, or of memory."""
        wanted = {seat.key for seat in seats}
        others = [key for key in self._engines if key not in wanted]
        need = sum(seat.memory_gb for seat in seats) + sum(self._seats[key].memory_gb for key in others)
        bases = {str(model.base.folder) for seat in seats for model in seat.models}
        for key in others:
            of_another = not {str(model.base.folder) for model in self._seats[key].models} & bases
            if of_another or need > self._site().free_gb:
                self._stop(key)

    def rest(self) -> bool:
        """Stop everything, so that a training has the machine to itself. Whether anything was served, to come back."""
        served = tuple(self.served.values())
        self._resting = served or self._resting
        self.stop()
        return bool(served)

    def resume(self) -> bool:
        """Serve again what was served before `rest`, in the background. Whether there was anything."""
        models, self._resting = self._resting, ()
        if not models or self._served:
            return False

        def again() -> None:
            try:
                self.connect(models)
            except EngineError:  # what is gone or does not fit any more is told when somebody asks for it
                return

        threading.Thread(target=again, daemon=True).start()
        return True

    def _stop(self, key: Key) -> None:
        engine = self._engines.pop(key, None)
        self._seats.pop(key, None)
        if engine:
            engine.stop()
            self._served = {name: held for name, held in self._served.items() if held[1] is not engine}
            self._identities = {who: found for who, found in self._identities.items() if who[1] is not engine}

    def stop(self) -> None:
        """End all engines, also a start under way; of a server that somebody else runs, take our adapters away."""
        for engine in list(self._engines.values()):
            engine.stop()
        with self._lock:
            for key in list(self._engines):
                self._stop(key)
            for at in self._attached.values():
                at.stop()
            self._attached.clear()
            self._served.clear()


def _is_base_of(held: ServedModel, model: ServedModel) -> bool:
    return held.artefact is None and held.base.folder == model.base.folder


def _beside(at: Endpoint) -> str:
    """What a server holds, in words."""
    count = len(at.loaded)
    return f"{at.holds.base_name} + {count} variant{'s' if count != 1 else ''}" if count else at.holds.base_name


def _free_gb(ours: Sequence[Engine]) -> float:
    """Memory that nobody uses, and what our own engines use: they are counted again in a plan."""
    held = sum(engine.memory_gb() for engine in ours)
    return psutil.virtual_memory().available / 2**30 + held


def _takes_vllm(settings: Settings) -> bool:
    installed = find_spec("vllm") is not None
    if settings.engine == "vllm" and not installed and not settings.vllm_url:
        hint = "Install it with `make run ENGINE=vllm`, or set TUNEWRIGHT_ENGINE=embedded."
        raise EngineError("vLLM is not installed.", hint=hint)
    return installed and settings.engine != "embedded"
