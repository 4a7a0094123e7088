"""Two minds behind one interface: the first reads, and where it fails, the offline one takes the turn.

Owns when the first is asked and when the person is told. Refuses to know what either of them is.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from assistant.dialogue.mind import Context, Mind, Reading
from prompts.errors import EngineError

PAUSE_SECONDS = 60.0


@dataclass
class TwoMinds:
    """One chat's mind. After a failure the first mind rests, so that not every turn waits for the same timeout.

    The person is told once for each spell of failure: again only after the first mind has answered in between.
    """

    first: Mind | None
    offline: Mind
    clock: Callable[[], float] = time.monotonic
    pause: float = PAUSE_SECONDS
    _rests_until: float = field(default=-math.inf, init=False)
    _told: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def read(self, text: str, context: Context) -> Reading:
        """What a message says. Raises only what the offline mind raises."""
        if self.first is None or self.clock() < self._rests_until:
            return self.offline.read(text, context)
        try:
            reading = self.first.read(text, context)
        except EngineError as error:
            notice = self._rest(error)
            reading = self.offline.read(text, context)
            return reading.model_copy(update={"notice": f"{notice} {reading.notice}".strip()})
        with self._lock:
            self._told = False
        return reading

    def _rest(self, error: EngineError) -> str:
        """What to tell about a failure; empty where this spell was told already."""
        with self._lock:
            told, self._told = self._told, True
            self._rests_until = self.clock() + self.pause
        return "" if told else f"{error} Until it answers again, I read your messages by rules, without it."
