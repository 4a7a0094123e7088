"""`tunewright serve`: runs behind one OpenAI-compatible address, without the app.

Owns the server's life: engines first, then the address, and everything ended together. Refuses to know what engines
there are (that is `serving`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from assistant.hosts import require_free
from assistant.serving.gateway import gateway, usage
from assistant.serving.room import EngineRoom
from assistant.serving.served import ServedModel
from assistant.settings import Settings
from assistant.watching.log import WatchSettings
from assistant.watching.recorder import Recorder
from prompts.errors import RunError
from trainers import jobs
from trainers.models import resolve
from trainers.status import RunFolder

Say = Callable[[str], None]
_PACE_SECONDS = 5.0


def serve(
    runs: Sequence[str],
    settings: Settings,
    port: int,
    say: Say,
    *,
    log: bool | None = None,
    mask: bool | None = None,
) -> None:
    """Serve runs and their base models until the process is told to end.

    `log` says whether requests to the runs are logged, and `mask` whether personal data is masked in that; None for
    what each run's own switch says, which they leave as it is. `say` gets what goes on, and a line for curl and one
    for Python a model. Raises a `TunewrightError` where a run has no result, an engine cannot start, or the port is
    taken.
    """
    require_free(port)
    models = served_runs(runs, settings)
    room = EngineRoom(settings)
    recorder = Recorder(lambda: room.served, _chosen(log, mask), _prompts_alone(runs, settings))

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, on_terminate)  # so that the engines end too
    try:
        for seat in room.plan(models):
            say(f"starts {seat.told}")
        for connected in room.connect(models, _now_and_then(say)):
            say(f"{connected.identity.name}: {connected.identity.told}")
        url = f"http://127.0.0.1:{port}/v1"
        for model in models:
            curl, python = usage(url, model)
            say(f"\n# {model.name}\n{curl}\n\n{python}")
        for told in recorder.told(models):
            say(told)
        say(f"\nServing on {url}. Ctrl-C ends it, with all engines.")
        app = FastAPI(title="Tunewright")
        app.include_router(gateway("/v1", lambda: room.served, room.find, recorder.listener))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
    finally:
        recorder.close()
        room.stop()


def _chosen(log: bool | None, mask: bool | None) -> Callable[[WatchSettings], WatchSettings]:
    given = {name: value for name, value in (("log", log), ("mask", mask)) if value is not None}
    return lambda settings: settings.model_copy(update=given)


def _prompts_alone(runs: Sequence[str], settings: Settings) -> dict[str, RunFolder]:
    """Runs that are only a prompt, by the name of the base that answers for them; not where it does for several."""
    found: dict[str, list[RunFolder]] = {}
    for run in (jobs.find_run(name, settings.paths) for name in runs):
        if run.artefact is None:
            plan = run.plan()
            base = resolve(plan.base_model, settings.paths, trust_remote_code=plan.trust_remote_code)
            found.setdefault(base.name, []).append(run)
    return {name: alone[0] for name, alone in found.items() if len(alone) == 1}


def _now_and_then(say: Say) -> Say:
    """Progress that changes several times a second, every few seconds."""
    last = -_PACE_SECONDS

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PACE_SECONDS:
            last = time.monotonic()
            say(text)

    return tell


def served_runs(runs: Sequence[str], settings: Settings) -> list[ServedModel]:
    """The base models of these runs, each once, and what the runs made. Raises `RunError` for one without a result."""
    bases: dict[str, ServedModel] = {}
    tuned = []
    for run in (jobs.find_run(name, settings.paths) for name in runs):
        plan = run.plan()
        base = resolve(plan.base_model, settings.paths, trust_remote_code=plan.trust_remote_code)
        alone = base.name not in bases or run.artefact is None  # a result that is a prompt answers by the base's name
        if alone:
            prompt = plan.prompt if run.artefact else run.result_prompt()
            bases[base.name] = ServedModel(name=base.name, base=base, prompt=prompt)
        if run.artefact:
            tuned.append(ServedModel(name=run.id, base=base, artefact=run.artefact, prompt=run.result_prompt()))
        elif not run.has_result:
            raise _without_result(run)
    return [*bases.values(), *tuned]


def _without_result(run: RunFolder) -> RunError:
    return RunError(
        f"{run.name} has nothing to serve; it is {jobs.status(run).state}.", hint="Choose one that is done."
    )
