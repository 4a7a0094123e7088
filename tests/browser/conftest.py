"""A real app in a process of its own, and a real Chromium to drive it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

expect.set_options(timeout=60_000)  # a busy machine may be slow; a condition that is met ends the wait at once
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def _chromium() -> str:
    named = os.environ.get("TUNEWRIGHT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert named, "No Chromium is here. Run `make test`, which finds or installs one."
    return named


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: while Playwright is open its event loop runs, and other tests want their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test where the page's own code fails or where it asks anybody but us."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: _of_gradio(error) or wrong.append(f"script error: {error}"))
    page.on("request", lambda request: _is_ours(request.url) or wrong.append(f"asked {request.url}"))
    yield page
    page.close()
    assert not wrong, wrong


def _of_gradio(error: Error) -> bool:
    """What Gradio itself trips over on a busy machine: a part that it measures after it has left the page. No script of
    ours asks for that width."""
    return "reading 'offsetWidth'" in error.message


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "data:", "blob:"))


class RunningApp:
    """The app's address, home and process."""

    def __init__(self, url: str, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.home = home
        self.process = process

    def maps(self) -> str:
        """The files that the app's process has mapped into memory: whatever it loaded is among them."""
        return Path(f"/proc/{self.process.pid}/maps").read_text()


@contextmanager
def running_app(home: Path, engine: str, **settings: str) -> Iterator[RunningApp]:
    """`tunewright app` on a free port with its own home and cache, stopped at the end. `settings` go to its
    environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {"TUNEWRIGHT_HOME": str(home / "home"), "TUNEWRIGHT_CACHE": str(home / "cache")}
    ours = {"DATABASE_URL": "", "TUNEWRIGHT_USERS": "", "TUNEWRIGHT_ENGINE": engine}  # never the person's own
    env = {**os.environ, **folders, **ours, **settings}
    command = [sys.executable, "-m", "assistant", "app", "--no-open", "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"app-{engine}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, home / f"app-{engine}.log")
        yield RunningApp(url, home / "home", process)
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the app did not answer: {log.read_text()}")
