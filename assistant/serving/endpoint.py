"""A server that holds models: ours in a process that we started, or one that somebody else runs.

Owns what is loaded on it under which name, and the calls for that: OpenAI's protocol with vLLM's two for adapters.
Refuses to know how a server is started (`engine`) and where it stands (`attached`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from assistant.hosts import is_here
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.served import ServedModel
from prompts.errors import EngineError

_LOAD_SECONDS = 180


@dataclass(frozen=True)
class Holds:
    """What a server can hold beside its base, which it calls `base_name`.

    `check` raises `EngineError` for an adapter that it cannot serve, or would serve wrongly; `most_loads` is how often
    it may be given an adapter between two starts; `soft` turns a soft prompt into what a request carries, where the
    server takes soft prompts with each request and not as an adapter.
    """

    base_name: str
    check: Callable[[Path], None] = lambda adapter: None
    most_loads: int | None = None
    soft: Callable[[Path], str] | None = None


class Endpoint(ABC):
    """One server and what is loaded on it. Methods block; call them from a thread where a loop must not wait."""

    def __init__(self, holds: Holds) -> None:
        self.holds = holds
        self._loaded: dict[str, Path] = {}
        self._soft: dict[str, str] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._loads = 0
        self.starts = 0  # how often it came up since it is known here
        self._lock = threading.RLock()

    @property
    @abstractmethod
    def title(self) -> str:
        """The server in words."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The OpenAI-compatible base URL, which ends in /v1."""

    @property
    @abstractmethod
    def running(self) -> bool: ...

    @property
    def api_key(self) -> str:
        return "none"

    @property
    def where(self) -> str:
        """Where to look when something goes wrong."""
        return f"Look at {self.url}."

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of what is there now beside the base."""
        return tuple(self._loaded)

    def load(self, served: ServedModel) -> None:
        """Make sure that a model is there to be asked. Raises `EngineError` where the server refuses the adapter."""
        if served.artefact is None:
            self._check_base(served.name)
            return
        with self._lock:
            if self._loaded.get(served.name) == served.artefact:
                return
            self._check_adapter(served.name, served.artefact)
            if self.holds.soft and served.is_soft:
                self._soft[served.name] = self.holds.soft(served.artefact)
            else:
                self._load(served.name, served.artefact)
            self._loaded[served.name] = served.artefact

    def _load(self, name: str, path: Path) -> None:
        if self.holds.most_loads is not None and self._loads >= self.holds.most_loads:
            raise EngineError(
                f"{self.title} takes {self.holds.most_loads} adapters between two starts.",
                hint="Stop the engine and start it again.",
            )
        self._loads += 1
        self._told[name] = self._post("load_lora_adapter", name, lora_path=str(path))

    def takes(self, models: Sequence[ServedModel]) -> bool:
        """Whether all of these can be loaded without starting the server again."""
        new = {model.name for model in models if model.artefact and self._loaded.get(model.name) != model.artefact}
        return self.holds.most_loads is None or self._loads + len(new) <= self.holds.most_loads

    def _check_base(self, name: str) -> None:
        if name != self.holds.base_name:
            raise EngineError(f"This engine's base is {self.holds.base_name}, not {name}.", hint="Start it on another.")

    def _check_adapter(self, name: str, adapter: Path) -> None:
        if name == self.holds.base_name:
            raise EngineError(f"{name} is the base model's own name.", hint="Give the tuned model another.")
        if name in self._loaded:
            raise EngineError(f"Another model named {name} is loaded.", hint="Unload it first.")
        if not any((adapter / file).is_file() for file in ("adapter_config.json", "config.json")):
            raise EngineError(f"{adapter} holds neither an adapter nor a model.", hint="Was the run finished?")
        if not (self.holds.soft and ServedModel.has_soft(adapter)):
            self.holds.check(adapter)

    def unload(self, name: str) -> None:
        """Forget an adapter. Harmless where it is not loaded."""
        with self._lock:
            known, soft = self._loaded.pop(name, None), self._soft.pop(name, None)
            self._told.pop(name, None)
            if known and not soft and self.running:
                self._post("unload_lora_adapter", name)

    def told(self, name: str) -> Mapping[str, Any]:
        """What the server answered when it loaded a model."""
        return self._told.get(name, {})

    def models(self) -> dict[str, dict[str, Any]]:
        """What the server says it holds: its own record of each model, by name."""
        return {model["id"]: model for model in self._ask("GET", "models").json()["data"]}

    def parents(self) -> dict[str, str | None]:
        """Model name to the name of its base, None for a base itself, as the server has it."""
        return {name: model.get("parent") for name, model in self.models().items()}

    def connect(self, served: ServedModel) -> OpenAIModel:
        """The live model. It must have been loaded."""
        soft = self._soft.get(served.name, "")
        name = self.holds.base_name if soft or served.artefact is None else served.name
        return OpenAIModel(name=name, url=self.url, api_key=self.api_key, soft_prompt=soft)

    def ask(self, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer to one POST. Raises `EngineError` with its own words where it refuses."""
        answer = self._ask("POST", call, json=body)
        if answer.status_code != 200:
            raise EngineError(f"{self.title}: {reason_of(answer)}", hint=self.where)
        return dict(answer.json())

    def _post(self, call: str, name: str, **body: str) -> dict[str, Any]:
        answer = self._ask("POST", call, json={"lora_name": name, **body})
        if answer.status_code != 200:
            raise EngineError(f"{self.title} refused {name}: {reason_of(answer)}", hint=self.where)
        try:  # vLLM answers in plain text, the embedded engine with what its self-test found
            told = answer.json()
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}

    def _ask(self, method: str, call: str, **options: Any) -> httpx.Response:
        if not self.running:
            raise EngineError(f"{self.title} is not running.", hint="Start it again.")
        try:
            return self._call(method, f"{self.url}/{call}", timeout=_LOAD_SECONDS, **options)
        except httpx.TransportError as error:
            raise EngineError(f"{self.title} does not answer: {error}.", hint=self.where) from error

    def _call(self, method: str, url: str, **options: Any) -> httpx.Response:
        # A proxy set in the environment is not for this machine's own ports.
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.request(method, url, trust_env=not is_here(url), headers=headers, **options)


def reason_of(answer: httpx.Response) -> str:
    """The server's own words, wherever it put them."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:300]
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
