"""Hears requests at the address for programs, and has them logged where their run says so.

Owns which run a model's requests belong to, and the one thread that writes: an answer never waits for the disk, and
what goes wrong with the log is a warning and never an error. Refuses to keep anything by default.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from assistant.serving.exchange import Exchange, Listener
from assistant.serving.served import ServedModel
from assistant.watching.asked import asked
from assistant.watching.log import Logged, RequestLog, WatchSettings
from prompts.versions import PromptVersion
from trainers.status import RunFolder

_LOG = logging.getLogger(__name__)
_WAITING = 2000  # requests that wait to be written; beyond that they are dropped, and counted
_TOLD_SECONDS = 60.0  # a trouble that goes on is told once a minute


class Recorder:
    """Logs requests to tuned models into their runs.

    `served` tells what there is now. `choose` may overrule the switch in a run's folder, as an option of the command
    line does. `others` are runs by the name of a model that is no artefact of theirs: of one that is only a prompt.
    """

    def __init__(
        self,
        served: Callable[[], Mapping[str, ServedModel]],
        choose: Callable[[WatchSettings], WatchSettings] = lambda settings: settings,
        others: Mapping[str, RunFolder] | None = None,
    ) -> None:
        self._served, self._choose, self._others = served, choose, others or {}
        self._queue: queue.Queue[tuple[RunFolder, ServedModel, Exchange] | None] = queue.Queue(_WAITING)
        self._told = -_TOLD_SECONDS
        self._dropped = 0
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def run_of(self, model: ServedModel) -> RunFolder | None:
        """The run that made it; None for a base model."""
        if model.artefact is None:
            return self._others.get(model.name)
        run = RunFolder(model.artefact.parent)
        return run if (run.path / "plan.yaml").is_file() else None

    def listener(self, name: str) -> Listener | None:
        """Who wants to hear of a request to this model; None where nobody does. Never raises."""
        try:
            model = self._served().get(name)
            run = self.run_of(model) if model else None
            if model is None or run is None or not self._settings(run).log:
                return None
        except Exception as error:
            self._warn(f"Whether requests to {name} are logged cannot be told: {error}")
            return None
        return lambda exchange: self._take(run, model, exchange)

    def told(self, models: Iterable[ServedModel]) -> list[str]:
        """A sentence for each of these whose requests are logged."""
        found = []
        for model in models:
            run = self.run_of(model)
            if run and (settings := self._settings(run)).log:
                how = "personal data masked" if settings.mask else "personal data NOT masked"
                found.append(f"Requests to {model.name} are logged in {RequestLog(run).folder}, {how}.")
        return found

    def _settings(self, run: RunFolder) -> WatchSettings:
        return self._choose(RequestLog(run).settings())

    def _take(self, run: RunFolder, model: ServedModel, exchange: Exchange) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="request log", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait((run, model, exchange))
        except queue.Full:
            self._dropped += 1
            self._warn(f"{self._dropped} requests were not logged: they come faster than the disk takes them.")

    def close(self, seconds: float = 10.0) -> None:
        """Write what still waits, and end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)
            self._thread = None

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            run, model, exchange = item
            try:
                request = logged(model.name, exchange, run.result_prompt())
                settings = self._settings(run)
                # Not where the run was deleted, or somebody switched it off in the meantime.
                if request and settings.log and run.path.is_dir():
                    RequestLog(run).append(request, settings)
            except Exception as error:
                self._warn(f"A request to {model.name} was not logged: {error}")

    def _warn(self, text: str) -> None:
        if time.monotonic() - self._told >= _TOLD_SECONDS:
            self._told = time.monotonic()
            _LOG.warning("%s", text)


def logged(name: str, exchange: Exchange, prompt: PromptVersion) -> Logged | None:
    """What is kept of an exchange with a model, not masked yet; None where nobody asked anything in it.

    `prompt` is the one that the model was trained with, by which the input is found again.
    """
    found = asked(exchange.messages, prompt)
    if found is None:
        return None
    return Logged(
        time=exchange.time,
        model=name,
        prompt_id=found.prompt_id,
        input=found.input,
        whole_turn=found.whole_turn,
        output=exchange.text,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        seconds=round(exchange.seconds, 3),
        error=exchange.error,
    )
