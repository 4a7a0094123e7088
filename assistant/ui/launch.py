"""Starts the web server for the app and ends what belongs to it. Owns the process' life; refuses to draw."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from assistant.hosts import require_free
from prompts.errors import RunError

_PAGE_FIRST = 3.0  # seconds that the page gets to itself before the chat's mind is made ready


def run_app(port: int, open_browser: bool) -> None:
    """Serve the app on 127.0.0.1 until it is stopped. Raises `RunError` where the port is taken."""
    require_free(port)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from assistant.pipeline import Pipeline
    from assistant.projects import Projects
    from assistant.serving.gateway import gateway
    from assistant.settings import settings_from_environment
    from assistant.watching.recorder import Recorder

    settings = settings_from_environment()
    pipeline = Pipeline(settings)  # refuses wrong settings before gradio is loaded, which takes long
    login = login_options(settings.users_file)
    Projects(pipeline).purge()
    from assistant.ui.app import build_app, launch_options

    atexit.register(pipeline.close)

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        sys.exit(0)  # runs atexit, so that the engine ends too

    signal.signal(signal.SIGTERM, on_terminate)
    from assistant.minds import warm_up

    ready = threading.Timer(_PAGE_FIRST, warm_up)
    ready.daemon = True
    ready.start()
    recorder = Recorder(lambda: pipeline.engines.served)
    atexit.register(recorder.close)
    # Who has to log in must not be passed by; `tunewright serve` gives programs an address of their own.
    engines = pipeline.engines
    routes = [] if login else gateway("/v1", lambda: engines.served, engines.find, recorder.listener).routes
    build_app(pipeline).queue(default_concurrency_limit=8).launch(
        server_name="127.0.0.1",
        server_port=port,
        inbrowser=open_browser,
        app_kwargs={"routes": routes},
        **login,
        **launch_options(),
    )


def login_options(users_file: Path | None) -> dict[str, Any]:
    """What Gradio needs to ask for a name and a password; nothing where everybody is the local user."""
    if users_file is None:
        return {}
    from assistant.users import Users

    users = Users(users_file)
    if not users.names():
        raise RunError(f"Nobody may log in: {users_file} names no user.", hint="Add one: tunewright user add NAME.")
    return {"auth": users.admits, "auth_message": "Tunewright"}
