"""Measuring a prompt on dev rows in the background, with progress and a way to stop.

Owns one measurement's life. Refuses to know projects and storage: whoever starts it says what to do with the score.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prompts.chat_model import ChatModel, Reply, Sampling, complete_all
from prompts.errors import TunewrightError
from prompts.metrics import METRICS, Score, summarize
from prompts.versions import PromptVersion
from trainers.data import Example


class _Stopped(Exception):
    """The person asked to stop."""


@dataclass
class Measurement:
    """A measurement as it goes on. `answers` are (example, answer, score in [0, 1]) once it is done."""

    prompt_id: str
    metric: str
    total: int
    done: int = 0
    running: bool = True
    message: str = ""
    error: str = ""
    score: Score | None = None
    answers: list[tuple[Example, str, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _listeners: list[Callable[[Measurement], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        self._stop.set()

    def when_done(self, listener: Callable[[Measurement], None]) -> None:
        """Call `listener` once when it ends, with a score, an error or neither; now if it has ended already."""
        with self._lock:
            if self.running:
                self._listeners.append(listener)
                return
        listener(self)

    def end(self) -> None:
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
                self.error = f"The score could not be kept: {error}"

    def count(self, done: int) -> None:
        self.done = done
        self.message = f"{done} of {self.total} rows answered"
        if self._stop.is_set():
            raise _Stopped


def measure(
    prompt: PromptVersion,
    rows: Sequence[Example],
    metric: str,
    sampling: Sampling,
    connect: Callable[[Callable[[str], None]], ChatModel],
) -> Measurement:
    """Start measuring in a thread. `connect` may block while an engine starts; it gets a function to report with."""
    measurement = Measurement(prompt_id=prompt.id, metric=metric, total=len(rows))

    def tell(text: str) -> None:
        measurement.message = text
        if measurement._stop.is_set():
            raise _Stopped

    def work() -> None:
        try:
            model = connect(tell)
            asked = [prompt.messages(row.input) for row in rows]
            replies = asyncio.run(complete_all(model, asked, sampling, on_done=measurement.count))
            _score(measurement, rows, replies)
        except Exception as error:
            if measurement._stop.is_set():  # an engine that was ended meanwhile is no error
                measurement.message = "Stopped."
            else:
                measurement.error = str(error) if isinstance(error, TunewrightError) else f"Measuring stopped: {error}"
        finally:
            measurement.end()

    threading.Thread(target=work, daemon=True).start()
    return measurement


def _score(measurement: Measurement, rows: Sequence[Example], replies: Sequence[Reply]) -> None:
    metric = METRICS[measurement.metric]
    scored = [(row, reply.text, metric(reply.text, row.output)) for row, reply in zip(rows, replies, strict=True)]
    measurement.answers = scored
    measurement.score = summarize([score for _, _, score in scored])
