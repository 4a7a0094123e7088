"""Starts the web server for the app and ends what belongs to it. Owns the process' life; refuses to draw."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from types import FrameType

from prompts.errors import RunError


def run_app(port: int, open_browser: bool) -> None:
    """Serve the app on 127.0.0.1 until it is stopped. Raises `RunError` where the port is taken."""
    _require_free(port)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from assistant.pipeline import Pipeline
    from assistant.settings import settings_from_environment

    pipeline = Pipeline(settings_from_environment())  # refuses wrong settings before gradio is loaded, which takes long
    from assistant.ui.app import build_app, launch_options

    atexit.register(pipeline.close)

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        sys.exit(0)  # runs atexit, so that the engine ends too

    signal.signal(signal.SIGTERM, on_terminate)
    build_app(pipeline).queue(default_concurrency_limit=8).launch(
        server_name="127.0.0.1", server_port=port, inbrowser=open_browser, **launch_options()
    )


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RunError(
                f"Port {port} is in use.",
                hint=f"Close what uses it, or choose another: tunewright app --port {port + 1}.",
            ) from error
