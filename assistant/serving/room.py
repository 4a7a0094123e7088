"""Which engine serves, and when it lives. Owns the one running engine; refuses to know what is asked of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from importlib.util import find_spec

from assistant.serving.embedded import embedded_launch
from assistant.serving.engine import Engine, Launch, ServedModel
from assistant.serving.vllm import check_kind, vllm_launch, vllm_version
from assistant.settings import Settings
from prompts.chat_model import ChatModel
from prompts.errors import EngineError
from trainers.hardware import choose_compute, detect
from trainers.models import LocalModel


class EngineRoom:
    """Starts the engine on first use, keeps it, and puts another in its place when the base model changes, or when
    something is asked for that vLLM cannot hold and the embedded engine can.

    Raises `EngineError` at once where vLLM was asked for and is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vllm = _takes_vllm(settings)
        self._engine: Engine | None = None
        self._base: LocalModel | None = None
        self._rank = 0
        self._lock = threading.RLock()
        self.progress = ""

    def title(self) -> str:
        """The engine in words, for the status bar."""
        if self.progress:
            return self.progress
        if self._engine and self._engine.running and self._base:
            variants = len(self._engine.loaded)
            return f"{self._engine.launch.title}: {self._base.name} + {variants} variant{'s' if variants != 1 else ''}"
        kind = f"vLLM {vllm_version()}" if self._vllm else "embedded engine"
        return f"{kind}, not started"

    @property
    def running(self) -> Engine | None:
        """The engine, where one runs."""
        return self._engine if self._engine and self._engine.running else None

    def key(self, base: LocalModel) -> str:
        """What the base model's answers depend on beside prompt and input: engine, dtype, weights. Starts nothing."""
        compute = choose_compute(self._settings.paths.cache)
        return f"{'vLLM' if self._vllm else 'embedded'} {compute.device} {compute.dtype} {base.folder}"

    def connect(
        self, base: LocalModel, models: list[ServedModel], on_progress: Callable[[str], None] = lambda text: None
    ) -> list[ChatModel]:
        """Live models for all of these, the engine started and adapters loaded where they are not yet.

        Blocks while the engine starts. Raises `EngineError`.
        """
        with self._lock:
            try:
                engine = self._ready(base, models, on_progress)
                for model in models:
                    engine.load(model)
            finally:
                self.progress = ""
        return [engine.connect(model) for model in models]

    def _ready(self, base: LocalModel, models: list[ServedModel], on_progress: Callable[[str], None]) -> Engine:
        rank = max((_rank(model) for model in models), default=0)
        kind = "vLLM" if self._vllm and all(map(_vllm_takes, models)) else "embedded"
        if (
            self.running
            and self._base == base
            and rank <= self._rank
            and self.running.launch.engine == kind
            and self.running.takes(models)
        ):
            return self.running
        self.stop()
        self._rank = max(rank, 16)
        self._base = base
        log = self._settings.paths.logs / "engine.log"
        self._engine = Engine(self._launch(base, kind), log)

        def tell(text: str) -> None:
            self.progress = text
            on_progress(text)

        self._engine.start(tell)
        return self._engine

    def _launch(self, base: LocalModel, kind: str) -> Launch:
        compute = choose_compute(self._settings.paths.cache)
        if kind == "embedded":
            return embedded_launch(base, compute)
        config = json.loads((base.folder / "config.json").read_text("utf-8"))
        context = int(config.get("max_position_embeddings", 0))
        return vllm_launch(base, compute, detect(), rank=self._rank, context=context)

    def stop(self) -> None:
        """End the engine, so that training has the machine to itself. Also ends a start under way."""
        if engine := self._engine:
            engine.stop()
        with self._lock:
            if self._engine is engine:
                self._engine = None


def _takes_vllm(settings: Settings) -> bool:
    installed = find_spec("vllm") is not None
    if settings.engine == "vllm" and not installed:
        hint = "Install it with `make run ENGINE=vllm`, or set TUNEWRIGHT_ENGINE=embedded."
        raise EngineError("vLLM is not installed.", hint=hint)
    return installed and settings.engine != "embedded"


def _vllm_takes(model: ServedModel) -> bool:
    """Whether vLLM can hold it; the embedded engine takes the base's place where one of those asked for is not."""
    try:
        if model.adapter is not None:
            check_kind(model.adapter)
    except EngineError:
        return False
    return True


def _rank(model: ServedModel) -> int:
    if model.adapter is None:
        return 0
    try:
        return int(json.loads((model.adapter / "adapter_config.json").read_text("utf-8")).get("r", 0))
    except (OSError, ValueError):
        return 0
