"""A serving engine: one managed server process that holds a base model and its adapters.

Owns the process: start, health, log, stop, and starting again after a crash with everything that was loaded. Refuses to
know which engine it is: that is a `Launch`, made by `vllm` or `embedded`.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil

from assistant.serving.endpoint import Endpoint, Holds
from prompts.errors import EngineError
from trainers.paths import PYTHON

EngineKind = Literal["vLLM", "embedded"]
# A line that names an error. vLLM ends with one that only points at another above it.
_ERROR_LINE = re.compile(r"[A-Za-z_.]*(?:Error|Exception): .*")
_POINTS_ABOVE = "See root cause above"
# As vLLM, PyTorch and the system say it; the last is a process that the kernel ended, by its exit code.
_NO_MEMORY = re.compile(
    r"out of memory|OutOfMemory|No available memory for the cache|MemoryError|can't allocate memory|"
    r"larger than the available KV cache|less than desired .* memory utilization|Cannot allocate memory",
    re.IGNORECASE,
)
_KILLED = 256 - 9
_MOST_CRASHES, _WITHIN_SECONDS = 3, 600


@dataclass(frozen=True)
class Launch:
    """How an engine is started and what it can hold.

    `command` gets the port; `seconds` is how long it may take to be healthy.
    """

    engine: EngineKind
    title: str
    holds: Holds
    command: Callable[[int], list[str]]
    env: dict[str, str]
    seconds: float


class Engine(Endpoint):
    """One server in a process of ours. It is started again when it dies, unless it was stopped.

    `progress` says what it is busy with where that is starting again, `trouble` why it is not there any more where
    nobody asked for that.
    """

    def __init__(self, launch: Launch, log: Path) -> None:
        super().__init__(launch.holds)
        self.launch, self.log = launch, log
        self.port = 0
        self.progress, self.trouble = "", ""
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._crashes: list[float] = []

    @property
    def title(self) -> str:
        return self.launch.title

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def where(self) -> str:
        return f"See {self.log}."

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, on_progress: Callable[[str], None] = lambda text: None) -> None:
        """Start the server and wait until it is healthy. Raises `EngineError` with the log's last words.

        Where it is being started again after a crash, wait for that. `stop` from another thread ends the wait, with an
        `EngineError` too.
        """
        self._wanted = True
        with self._lock:
            if not self.running:
                self._begin(on_progress)

    def _begin(self, on_progress: Callable[[str], None]) -> None:
        self._end()  # what is left of a server that died
        self.port, self._loads, self.trouble = _free_port(self.port), 0, ""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [*PYTHON, "assistant.serving.supervise", *self.launch.command(self.port)]
        with self.log.open("wb") as log:
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self.launch.env
            )
        try:
            self._wait_until_healthy(on_progress)
        except BaseException:
            self._end()
            raise
        self.starts += 1
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _wait_until_healthy(self, on_progress: Callable[[str], None]) -> None:
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < self.launch.seconds:
            if self._process is None or not self._wanted:
                raise EngineError(f"{self.title} was stopped before it was ready.")
            if not self.running:
                raise self._failed()
            if self._is_healthy():
                return
            on_progress(f"Starting {self.title}: {waited:.0f} s{self._doing()}")
            time.sleep(0.25)
        raise EngineError(f"{self.title} was not ready after {self.launch.seconds:.0f} s.", hint=f"See {self.log}.")

    def _failed(self) -> EngineError:
        words = self.last_words()
        code = self._process.poll() if self._process else None
        if _NO_MEMORY.search(words) or code == _KILLED:
            return EngineError(
                f"{self.title} does not fit into memory: {words or 'it was killed while starting'}.",
                hint="Close what uses memory, compare fewer models at once, or choose a smaller base model. "
                f"The whole log is {self.log}.",
            )
        return EngineError(
            f"{self.title} stopped while starting. Its last words: {words}", hint=f"The whole log is {self.log}."
        )

    def _is_healthy(self) -> bool:
        try:
            return self._call("GET", f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Start the server again when it dies, with what was loaded on it; not for ever."""
        process.wait()
        with self._lock:
            if self._process is not process or not self._wanted:
                return
            now = time.monotonic()
            self._crashes = [*(then for then in self._crashes if now - then < _WITHIN_SECONDS), now]
            if len(self._crashes) > _MOST_CRASHES:
                self.trouble = f"{self.title} stopped {len(self._crashes)} times; it is left alone now. {self.where}"
                return
            try:
                self._begin(self._say_again)
                self._restore()
            except EngineError as error:
                self.trouble = str(error)
            finally:
                self.progress = ""

    def _say_again(self, text: str) -> None:
        self.progress = f"The engine stopped. {text}"

    def _restore(self) -> None:
        """Load again what was there; a soft prompt is with each request and needs nothing."""
        for name, path in self._loaded.items():
            if name not in self._soft:
                self._load(name, path)

    def last_words(self) -> str:
        """The line of the log that names the error, else its last lines."""
        lines = self.log_tail(200).splitlines()
        found = [i for i, line in enumerate(lines) if _ERROR_LINE.search(line) and _POINTS_ABOVE not in line]
        if not found:
            return " ".join(line.strip() for line in lines[-3:])[:500]
        first = _ERROR_LINE.search(lines[found[-1]])
        # Pydantic's errors, and others of many lines, have the reason in the next one.
        more = lines[found[-1] + 1].strip() if found[-1] + 1 < len(lines) else ""
        return f"{first.group() if first else ''} {more}".strip()[:500]

    def _doing(self) -> str:
        """The last line of the log without its head, as a sign of life."""
        last = self.log_tail(1).rpartition("] ")[2].strip()
        return f" ({last[:80]})" if last else ""

    def memory_gb(self) -> float:
        """What its processes hold in memory of their own, in GB."""
        if self._process is None:
            return 0.0
        try:
            supervisor = psutil.Process(self._process.pid)
            return sum(p.memory_info().rss for p in (supervisor, *supervisor.children(recursive=True))) / 2**30
        except psutil.Error:  # one of them ended meanwhile
            return 0.0

    def log_tail(self, lines: int = 20) -> str:
        try:
            text = self.log.read_bytes()[-20_000:].decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def kill(self) -> None:
        """End the server's process as a crash would, to see that it comes back."""
        if self._process is not None:
            psutil.Process(self._process.pid).children()[0].kill()

    def stop(self) -> None:
        """End the server and everything it started. Takes no lock, so that it also ends a start or a load under way."""
        self._wanted = False
        self._end()
        for kept in (self._loaded, self._soft, self._told):
            kept.clear()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            with suppress(BrokenPipeError):
                process.stdin.close()  # the supervisor ends the server when its input closes
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port(wanted: int) -> int:
    """The port that is wanted, so that who knows the address need not learn another, else any that is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise EngineError("This machine has no free port.", hint="Close some programs.")
