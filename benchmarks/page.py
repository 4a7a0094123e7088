"""The way through the page against vLLM alone: when the first text comes, and how fast all of it is there.

A part of `benchmarks.serving`. Two models on one message: the base, and the base with four solved examples.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
from playwright.sync_api import Page, sync_playwright

from assistant.arena.asking import Arm, ask_all
from assistant.comparebench import BASE, FEW_SHOT
from assistant.pipeline import Pipeline
from assistant.settings import settings_from_environment
from benchmarks.startup import free_port
from prompts.chat_model import Message, Sampling

_CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
Times = tuple[float, float, int]  # seconds to the first text, seconds to the end, tokens
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# Resolves to the milliseconds from the click until both panes have text, and until nothing more comes.
_TIMED = """
() => new Promise(resolve => {
  const panes = () => [...document.querySelectorAll('#compare-now .tw-pane')];
  document.querySelectorAll('#compare-now .tw-pane').forEach(pane => pane.remove());
  const begun = performance.now();
  let first = 0;
  const look = () => {
    const now = panes();
    const texts = now.map(pane => pane.querySelector('.tw-answer')?.innerText.replace('▍', '').trim() || '');
    if (!first && now.length == 2 && texts.every(Boolean)) first = performance.now() - begun;
    const ended = now.length == 2 && now.every(pane => / token/.test(pane.querySelector('.tw-foot')?.innerText || ''))
      && !document.querySelector('#compare-now .tw-cursor');
    if (ended) {
      clearInterval(timer);
      resolve([first, performance.now() - begun, now.map(pane => pane.querySelector('.tw-foot').innerText)]);
    }
  };
  const timer = setInterval(look, 5);
  document.querySelector('#compare-send').click();
})
"""


def prepare(home: Path, base_model: str) -> tuple[str, list[list[Message]], list[str]]:
    """A project whose base is compared with itself few-shot; what each is asked, for some inputs."""
    os.environ["TUNEWRIGHT_HOME"] = str(home)
    pipeline = Pipeline(settings_from_environment())
    id = pipeline.store.create_project("serving").id
    pipeline.start_sample(id)
    pipeline.edit_spec(id, {"base_model": base_model})
    project = pipeline.choose_arms(id, [BASE, FEW_SHOT])
    inputs = pipeline.arena_inputs(project)
    prompts = [one.prompt for one in pipeline.chosen(project)]
    pipeline.close()
    return id, [prompt.messages(text) for text in inputs for prompt in prompts], inputs


async def straight(url: str, model: str, chats: Sequence[Sequence[Message]], tokens: int) -> Times:
    """Seconds until all have text, seconds until all have ended, and tokens, from vLLM itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=600) as client:
        begun = time.perf_counter()

        async def one(chat: Sequence[Message]) -> Times:
            messages = [turn.model_dump() for turn in chat]
            body = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True}
            first, made = 0.0, 0
            asked = {**body, "stream_options": {"include_usage": True}}
            async with client.stream("POST", f"{url}/chat/completions", json=asked) as events:
                async for line in events.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    event = json.loads(line.removeprefix("data: "))
                    if any((choice["delta"].get("content") or "").strip() for choice in event["choices"]):
                        first = first or time.perf_counter() - begun
                    made = event["usage"]["completion_tokens"] if event.get("usage") else made
            return first, time.perf_counter() - begun, made

        found = await asyncio.gather(*(one(chat) for chat in chats))
    return max(first for first, *_ in found), max(end for _, end, _ in found), sum(made for *_, made in found)


async def through_the_app(arms: Sequence[Arm], message: str, tokens: int) -> Times:
    """The same by the app's own way of asking, without the browser."""
    begun, first, panes = time.perf_counter(), 0.0, []
    async for panes in ask_all(arms, message, Sampling(max_tokens=tokens)):
        if not first and all(pane.text.strip() for pane in panes):
            first = time.perf_counter() - begun
    return first, time.perf_counter() - begun, sum(pane.tokens for pane in panes)


def compare_asking(base_model: str, name: str, pairs: int, tokens: int) -> dict[str, Any]:
    """The app's way of asking against vLLM itself, in pairs that take turns."""
    with tempfile.TemporaryDirectory() as folder:
        id, chats, inputs = prepare(Path(folder), base_model)
        settings = settings_from_environment()
        pipeline = Pipeline(settings)
        try:
            arms = pipeline.arms(pipeline.project(id))
            url = pipeline.engines.running[0].url
            return in_turns(
                "by the app",
                pairs,
                lambda place: asyncio.run(straight(url, name, _of(chats, place, inputs), tokens)),
                lambda place: asyncio.run(through_the_app(arms, inputs[place % len(inputs)], tokens)),
            )
        finally:
            pipeline.close()


def through_the_page(page: Page, message: str) -> Times:
    """The same in the browser, from the click."""
    page.locator("#compare-message textarea").fill(message)
    page.wait_for_timeout(300)  # what typing sets off is not the answer's
    first, end, feet = page.evaluate(_TIMED)
    made = sum(int(foot.split(" + ")[1].split(" token")[0].replace(",", "")) for foot in feet)
    return first / 1000, end / 1000, made


def engine_url(app: subprocess.Popen[bytes]) -> str:
    """Where the vLLM of an app listens."""
    for process in psutil.Process(app.pid).children(recursive=True):
        line = process.cmdline()
        if any("api_server" in word for word in line) and "--port" in line:
            return f"http://127.0.0.1:{line[line.index('--port') + 1]}/v1"
    raise SystemExit("the app has started no vLLM")


def compare_paths(base_model: str, name: str, pairs: int, tokens: int) -> dict[str, Any]:
    """Pairs that take turns; prints each. Medians of the differences and of the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        id, chats, inputs = prepare(Path(folder), base_model)
        port = free_port()
        command = [sys.executable, "-m", "assistant", "app", "--no-open", "--port", str(port)]
        env = {**os.environ, "TUNEWRIGHT_ENGINE": "vllm", "HF_HUB_DISABLE_TELEMETRY": "1"}
        app = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
                page = opened(browser.new_page(), f"http://127.0.0.1:{port}/?project={id}", tokens)
                return pairwise(page, app, name, chats, inputs, pairs, tokens)
        finally:
            app.terminate()
            app.wait(60)


def opened(page: Page, url: str, tokens: int) -> Page:
    """The Compare panel, with this many tokens at most."""
    page.set_default_timeout(600_000)
    for _ in range(120):
        try:
            page.goto(url)
            break
        except Exception:
            time.sleep(0.5)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-message textarea").wait_for()
    page.get_by_text("How answers are drawn").click()
    page.get_by_label("Most tokens").fill(str(tokens))
    page.wait_for_timeout(6000)  # the page's first draw
    return page


def pairwise(
    page: Page,
    app: subprocess.Popen[bytes],
    name: str,
    chats: Sequence[Sequence[Message]],
    inputs: Sequence[str],
    pairs: int,
    tokens: int,
) -> dict[str, Any]:
    through_the_page(page, inputs[0])  # starts the engine
    url, beside = engine_url(app), ThreadPoolExecutor(1)  # not in this thread: Playwright has a loop of its own in it
    return in_turns(
        "in the page",
        pairs,
        lambda place: beside.submit(asyncio.run, straight(url, name, _of(chats, place, inputs), tokens)).result(),
        lambda place: through_the_page(page, inputs[place % len(inputs)]),
    )


def _of(chats: Sequence[Sequence[Message]], place: int, inputs: Sequence[str]) -> Sequence[Sequence[Message]]:
    """What the two models are asked for one input."""
    start = 2 * (place % len(inputs))
    return chats[start : start + 2]


def in_turns(way: str, pairs: int, alone: Callable[[int], Times], ours: Callable[[int], Times]) -> dict[str, Any]:
    """vLLM alone and our way on the same input, pair by pair; prints each. Medians of differences and of ratios."""
    later, ratios = [], []
    for number in range(-2, pairs):  # the first two warm up and are not counted
        (first, end, made), (our_first, our_end, our_made) = alone(number), ours(number)
        if number < 0:
            continue
        later.append(our_first - first)
        ratios.append((our_made / our_end) / (made / end))
        print(
            f"  {number + 1}: first text {first:.2f} s, {way} {our_first:.2f} s; "
            f"{made / end:.1f} tokens/s, {way} {our_made / our_end:.1f}",
            flush=True,
        )
    return {"later": statistics.median(later), "ratio": statistics.median(ratios), "pairs": pairs}
