"""A serving engine: one managed server process that holds a base model and its adapters.

Owns the process (start, health, log, stop), loading adapters while it runs, and who answers under which name.
Refuses to know which engine it is: that is a `Launch`, made by `vllm` or `embedded`.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from assistant.serving.openai_model import OpenAIModel
from prompts.chat_model import ChatModel
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from trainers.paths import PYTHON

_LOAD_SECONDS = 120
# A line that names an error. vLLM ends with one that only points at another above it.
_ERROR_LINE = re.compile(r"[A-Za-z_.]*(?:Error|Exception): .*")
_POINTS_ABOVE = "See root cause above"


class ServedModel(BaseModel):
    """Something that can be asked: the base model, or a run's adapter on it, with the prompt it is asked with."""

    model_config = ConfigDict(frozen=True)

    name: str
    adapter: Path | None = None
    prompt: PromptVersion


@dataclass(frozen=True)
class Launch:
    """How an engine is started and what it can hold.

    `command` gets the port; `seconds` is how long it may take to be healthy; `check` raises `EngineError` for an
    adapter that the engine cannot serve, or would serve wrongly; `most_loads` is how often it may be given an adapter
    between two starts.
    """

    engine: Literal["vLLM", "embedded"]
    title: str
    base_name: str
    command: Callable[[int], list[str]]
    env: dict[str, str]
    seconds: float
    check: Callable[[Path], None] = lambda adapter: None
    most_loads: int | None = None


@dataclass
class Engine:
    """One running server. Methods block; call them from a thread where a loop must not wait."""

    launch: Launch
    log: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _loaded: dict[str, Path] = field(default_factory=dict, init=False)
    _loads: int = field(default=0, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    @property
    def url(self) -> str:
        """The OpenAI-compatible base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of the adapters that are there now."""
        return tuple(self._loaded)

    def start(self, on_progress: Callable[[str], None] = lambda text: None) -> None:
        """Start the server and wait until it is healthy. Raises `EngineError` with the log's last words.

        `stop` from another thread ends the wait, with an `EngineError` too.
        """
        with self._lock:
            if self.running:
                return
            self.stop()  # what is left of a server that died
            self.port, self._loads = _free_port(), 0
            self.log.parent.mkdir(parents=True, exist_ok=True)
            command = [*PYTHON, "assistant.serving.supervise", *self.launch.command(self.port)]
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
            if self._process is None:
                raise EngineError(f"{self.launch.title} was stopped before it was ready.")
            if not self.running:
                raise EngineError(
                    f"{self.launch.title} stopped while starting. Its last words: {self._last_words()}",
                    hint=f"The whole log is {self.log}.",
                )
            if self._is_healthy():
                return
            on_progress(f"Starting {self.launch.title}: {waited:.0f} s")
            time.sleep(0.25)
        raise EngineError(
            f"{self.launch.title} was not ready after {self.launch.seconds:.0f} s.", hint=f"See {self.log}."
        )

    def _is_healthy(self) -> bool:
        try:
            return self._call("GET", f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _last_words(self) -> str:
        """The line of the log that names the error, else its last lines."""
        lines = self.log_tail(200).splitlines()
        found = [i for i, line in enumerate(lines) if _ERROR_LINE.search(line) and _POINTS_ABOVE not in line]
        if not found:
            return " ".join(line.strip() for line in lines[-3:])[:500]
        first = _ERROR_LINE.search(lines[found[-1]])
        # Pydantic's errors, and others of many lines, have the reason in the next one.
        more = lines[found[-1] + 1].strip() if found[-1] + 1 < len(lines) else ""
        return f"{first.group() if first else ''} {more}".strip()[:500]

    def load(self, served: ServedModel) -> None:
        """Make sure that a model is there to be asked. Raises `EngineError` where the engine refuses the adapter."""
        if served.adapter is None:
            self._check_base(served.name)
            return
        with self._lock:
            if self._loaded.get(served.name) == served.adapter:
                return
            self._check_adapter(served.name, served.adapter)
            if not self.takes([served]):
                raise EngineError(
                    f"{self.launch.title} takes {self.launch.most_loads} adapters between two starts.",
                    hint="Stop the engine and start it again.",
                )
            self._loads += 1
            self._post("load_lora_adapter", served.name, lora_path=str(served.adapter))
            self._loaded[served.name] = served.adapter

    def takes(self, models: Sequence[ServedModel]) -> bool:
        """Whether all of these can be loaded without starting the engine again."""
        new = {model.name for model in models if model.adapter and self._loaded.get(model.name) != model.adapter}
        return self.launch.most_loads is None or self._loads + len(new) <= self.launch.most_loads

    def _check_base(self, name: str) -> None:
        if name != self.launch.base_name:
            raise EngineError(
                f"This engine's base is {self.launch.base_name}, not {name}.", hint="Start it on another."
            )

    def _check_adapter(self, name: str, adapter: Path) -> None:
        if name == self.launch.base_name:
            raise EngineError(f"{name} is the base model's own name.", hint="Give the tuned model another.")
        if name in self._loaded:
            raise EngineError(f"Another model named {name} is loaded.", hint="Unload it first.")
        if not any((adapter / file).is_file() for file in ("adapter_config.json", "config.json")):
            raise EngineError(f"{adapter} holds neither an adapter nor a model.", hint="Was the run finished?")
        self.launch.check(adapter)

    def unload(self, name: str) -> None:
        """Forget an adapter. Harmless where it is not loaded."""
        with self._lock:
            if self._loaded.pop(name, None) and self.running:
                self._post("unload_lora_adapter", name)

    def parents(self) -> dict[str, str | None]:
        """What the server says it holds: model name to the name of its base, None for the base itself."""
        models = self._ask("GET", "models").json()["data"]
        return {model["id"]: model.get("parent") for model in models}

    def _post(self, call: str, name: str, **body: str) -> None:
        answer = self._ask("POST", call, json={"lora_name": name, **body})
        if answer.status_code != 200:
            raise EngineError(f"{self.launch.title} refused {name}: {_reason(answer)}", hint=f"See {self.log}.")

    def _ask(self, method: str, call: str, **options: Any) -> httpx.Response:
        if not self.running:
            raise EngineError(f"{self.launch.title} is not running.", hint="Start it again.")
        try:
            return self._call(method, f"{self.url}/{call}", timeout=_LOAD_SECONDS, **options)
        except httpx.TransportError as error:
            raise EngineError(f"{self.launch.title} does not answer: {error}.", hint=f"See {self.log}.") from error

    @staticmethod
    def _call(method: str, url: str, **options: Any) -> httpx.Response:
        # A proxy set in the environment is not for this machine's own ports.
        return httpx.request(method, url, trust_env=False, **options)

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
        """End the server and everything it started. Takes no lock, so that it also ends a start or a load under way."""
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
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
