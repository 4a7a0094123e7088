"""Work in a thread that can be watched, stopped, and that tells those who asked when it ends.

Owns that life. Refuses to know what the work is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from prompts.errors import TunewrightError


class Stopped(Exception):
    """The person asked to stop."""


@dataclass
class Background:
    """One job as it goes on: `message` says what it does now, `error` what ended it, `running` whether it goes on."""

    running: bool = field(default=True, kw_only=True)
    message: str = field(default="", kw_only=True)
    error: str = field(default="", kw_only=True)
    _stop: threading.Event = field(default_factory=threading.Event, kw_only=True)
    _listeners: list[Callable[[Any], None]] = field(default_factory=list, kw_only=True)
    _lock: threading.Lock = field(default_factory=threading.Lock, kw_only=True)

    def stop(self) -> None:
        """End soon. What is done stays."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def tell(self, text: str) -> None:
        """Say what goes on. Raises `Stopped` where somebody asked for that."""
        self.message = text
        if self.stopped:
            raise Stopped

    def wait(self) -> None:
        """Return once it has ended and all who asked have been told. Not for those who are told."""
        while self.running:
            time.sleep(0.02)

    def when_done(self, listener: Callable[[Self], None]) -> None:
        """Call `listener` once when it ends, however it ends; now if it has ended already."""
        with self._lock:
            if self.running:
                self._listeners.append(listener)
                return
        listener(self)

    def start(
        self, work: Callable[[], None], what: str, fruit: str, when_stopped: Callable[[], str] = lambda: "Stopped."
    ) -> None:
        """Do `work` in a thread. `what` ("Measuring") and `fruit` ("The score") begin what is said of errors."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                if self.stopped:  # an engine that was ended meanwhile is no error
                    self.message = when_stopped()
                else:
                    self.error = str(error) if isinstance(error, TunewrightError) else f"{what} stopped: {error}"
            finally:
                self._end(fruit)

        threading.Thread(target=run, daemon=True).start()

    def _end(self, fruit: str) -> None:
        """Tell the listeners. `running` only turns false when all of them know."""
        while True:
            with self._lock:
                if not self._listeners:
                    self.running = False
                    return
                listener = self._listeners.pop(0)
            try:
                listener(self)
            except Exception as error:
                self.error = f"{fruit} could not be kept: {error}"
