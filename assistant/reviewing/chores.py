"""Work in a thread that lasts as long as there is some. Owns the thread; refuses to know the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Step = Callable[[], None]


class Chores:
    """Takes step after step from `next_step`, asked under `lock`, until it gives None."""

    def __init__(self, lock: threading.RLock, next_step: Callable[[], Step | None]) -> None:
        self._lock, self._next_step = lock, next_step
        self._working = False

    def begin(self) -> None:
        """See to it that somebody works."""
        with self._lock:
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="reviewing", daemon=True).start()

    def settle(self, seconds: float) -> None:
        """Wait until nothing is left to do."""
        until = time.monotonic() + seconds
        while self._working and time.monotonic() < until:
            time.sleep(0.02)

    def _work(self) -> None:
        try:
            while step := self._step():
                step()
        finally:
            self._working = False

    def _step(self) -> Step | None:
        with self._lock:
            step = self._next_step()
            self._working = step is not None
            return step
