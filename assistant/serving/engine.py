"""A serving engine: one managed server process that holds a base model and its adapters.

Owns the process (start, health, log, stop), loading adapters while it runs, and who answers under which name.
Refuses to know which engine it is: that is a `Launch`, made by `vllm` or `embedded`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from assistant.serving.openai_model import OpenAIModel
from prompts.chat_model import ChatModel
from prompts.errors import EngineError
from prompts.versions import PromptVersion

_LOAD_SECONDS = 120


class ServedModel(BaseModel):
    """Something that can be asked: the base model, or a run's adapter on it, with the prompt it is asked with."""

    model_config = ConfigDict(frozen=True)

    name: str
    adapter: Path | None = None
    prompt: PromptVersion


@dataclass(frozen=True)
class Launch:
    """How an engine is started. `command` gets the port; `seconds` is how long it may take to be healthy."""

    engine: Literal["vLLM", "embedded"]
    title: str
    base_name: str
    command: Callable[[int], list[str]]
    env: dict[str, str]
    seconds: float


@dataclass
class Engine:
    """One running server. Methods block; call them from a thread where a loop must not wait."""

    launch: Launch
    log: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _loaded: dict[str, Path] = field(default_factory=dict, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    @property
    def url(self) -> str:
        """The OpenAI-compatible base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, on_progress: Callable[[str], None] = lambda text: None) -> None:
        """Start the server and wait until it is healthy. Raises `EngineError` with the log's last words."""
        with self._lock:
            if self.running:
                return
            self.port = _free_port()
            self._loaded.clear()
            self.log.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "assistant.serving.supervise", *self.launch.command(self.port)]
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self.launch.env
                )
            try:
                self._wait_until_healthy(on_progress)
            except BaseException:
                self.stop()
                raise

    def _wait_until_healthy(self, on_progress: Callable[[str], None]) -> None:
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < self.launch.seconds:
            if not self.running:
                raise EngineError(
                    f"{self.launch.title} stopped while starting. Its last words: {self.log_tail(3)}",
                    hint=f"The whole log is {self.log}.",
                )
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            on_progress(f"Starting {self.launch.title}: {waited:.0f} s")
            time.sleep(0.5)
        raise EngineError(
            f"{self.launch.title} was not ready after {self.launch.seconds:.0f} s.", hint=f"See {self.log}."
        )

    def load(self, served: ServedModel) -> None:
        """Make sure that a model is there to be asked. Raises `EngineError` where the engine refuses the adapter."""
        if served.adapter is None:
            if served.name != self.launch.base_name:
                raise EngineError(f"This engine's base is {self.launch.base_name}, not {served.name}.")
            return
        with self._lock:
            if self._loaded.get(served.name) == served.adapter:
                return
            body = {"lora_name": served.name, "lora_path": str(served.adapter)}
            self._post("load_lora_adapter", body)
            self._loaded[served.name] = served.adapter

    def unload(self, name: str) -> None:
        """Forget an adapter. Harmless where it is not loaded."""
        with self._lock:
            if self._loaded.pop(name, None):
                self._post("unload_lora_adapter", {"lora_name": name})

    def _post(self, call: str, body: dict[str, Any]) -> None:
        try:
            answer = httpx.post(f"{self.url}/{call}", json=body, timeout=_LOAD_SECONDS)
        except httpx.TransportError as error:
            raise EngineError(f"{self.launch.title} does not answer: {error}.", hint=f"See {self.log}.") from error
        if answer.status_code != 200:
            raise EngineError(f"{self.launch.title} refused {body['lora_name']}: {_reason(answer)}")

    def parents(self) -> dict[str, str | None]:
        """What the server says it holds: model name to the name of its base, None for the base itself."""
        models = httpx.get(f"{self.url}/models", timeout=30).json()["data"]
        return {model["id"]: model.get("parent") for model in models}

    def connect(self, served: ServedModel) -> ChatModel:
        """The live model. It must have been loaded."""
        return OpenAIModel(name=served.name, url=self.url)

    def log_tail(self, lines: int = 20) -> str:
        try:
            text = self.log.read_bytes()[-20_000:].decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def stop(self) -> None:
        """End the server and everything it started."""
        with self._lock:
            process, self._process = self._process, None
            self._loaded.clear()
            if process is None:
                return
            if process.stdin:
                process.stdin.close()  # the supervisor ends the server when its input closes
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reason(answer: httpx.Response) -> str:
    """The server's own words, wherever it put them."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:300]
    error = body.get("error", body)
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
