"""`tunewright watch`, `serve --log`, and the box in the app, on a tiny model that was really trained and is served."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
import typer
from typer.testing import CliRunner

from assistant import cli_runs, cli_watch
from assistant.serving.served import ServedModel
from assistant.ui.panel import Desk
from assistant.ui.watch_box import WatchBox
from assistant.watching.log import RequestLog, WatchSettings
from prompts.errors import DataError, RunError
from tests.assistant.journey import Finished, finished, open_pipeline
from tests.assistant.serving_kit import TINY
from tests.assistant.test_serving_room import wait_until
from tests.trainers.test_on_ray import free_port
from trainers.jobs import find_run
from trainers.paths import Paths
from trainers.status import RunFolder

cli = typer.Typer()
cli_watch.add_commands(cli)
cli_runs.add_commands(cli)


@pytest.fixture
def done(tiny_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.getbasetemp(), tiny_model).copy(tmp_path)


@pytest.fixture
def run(done: Finished, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(done.paths.home))
    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(done.paths.cache))
    return find_run(done.run_id, done.paths)


def watch(run: RunFolder, *options: str | Path) -> str:
    """What is printed; an error is raised as itself."""
    ran = CliRunner().invoke(cli, ["watch", run.id, *map(str, options)], catch_exceptions=False, standalone_mode=False)
    return ran.stdout


@contextmanager
def serving(run: RunFolder, *options: str) -> Iterator[tuple[str, list[str]]]:
    """The address of `tunewright serve` in a process of its own, and the lines that it printed until then."""
    port = free_port()
    code = "from assistant.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", run.id, "--port", str(port), *options]
    env = {**os.environ, "TUNEWRIGHT_ENGINE": "embedded", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("Serving on"):
                break
        assert said and said[-1].startswith("Serving on"), "".join(said)
        url = f"http://127.0.0.1:{port}/v1"
        assert wait_until(lambda: _answers(url))
        yield url, said
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_run_is_served_logged_watched_and_scored(run: RunFolder, tmp_path: Path) -> None:
    assert "requests are not logged" in watch(run)
    tests, prompt = run.split("test"), run.result_prompt()
    with serving(run, "--log") as (url, said):
        assert any(re.fullmatch(rf"Requests to {run.id} are logged in .*, personal data masked\.\n", s) for s in said)
        for row in tests:
            chat = [message.model_dump() for message in prompt.messages(row.input)]
            body = {"model": run.id, "messages": chat, "temperature": 0, "max_tokens": 24}
            assert httpx.post(f"{url}/chat/completions", json=body, trust_env=False, timeout=60).is_success
        # A request is logged once its answer has gone out.
        assert wait_until(lambda: len(list(RequestLog(run).requests())) == len(tests))
        labelled = tmp_path / "labelled.csv"
        rows = "".join(f"{row.input},{row.output}\n" for row in tests)
        labelled.write_text(f"text,label\n{rows}was never asked,billing\n")
        out = json.loads(watch(run, "--json", "--labelled", labelled, "--at", url))
    assert out["traffic"]["requests"] == len(tests), "what was asked to measure is no request"
    assert out["traffic"]["otherwise"] == 0 and out["traffic"]["failed"]["value"] == 0
    assert out["inputs"]["waiting"] <= len(tests) and not out["inputs"]["looks"]
    scored = out["labelled"]
    assert (scored["logged"], scored["asked"]) == (len(tests), 1)
    # The same rows as in the report, greedy and asked the same way: the same answers, so the same hits.
    report = run.report()
    assert report is not None
    hits = round(report.tuned.value * report.tuned.n)
    assert round(scored["now"]["value"] * scored["now"]["n"]) in (hits, hits + 1)
    assert not RequestLog(run).settings().log, "an option of one server leaves the run's own switch alone"
    assert "requests are not logged" in watch(run) and scored["metric"] in watch(run)


def test_the_switch_and_the_end_of_the_log(run: RunFolder) -> None:
    assert "requests are logged, personal data masked." in watch(run, "--log")
    assert RequestLog(run).settings() == WatchSettings(log=True)
    assert "personal data not masked" in watch(run, "--no-mask")
    assert "requests are not logged" in watch(run, "--no-log", "--mask")
    assert "0 requests of" in watch(run, "--delete")


def test_what_cannot_be_done_is_said(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="about a file of labelled rows"):
        watch(run, "--at", "http://127.0.0.1:9/v1")
    with pytest.raises(RunError):
        CliRunner().invoke(cli, ["watch", "nobody"], catch_exceptions=False, standalone_mode=False)
    file = tmp_path / "new.csv"
    file.write_text("a,b\nx,billing\n")
    with pytest.raises(DataError, match="no column 'nope'"):
        watch(run, "--labelled", file, "--input", "nope")


# In the app


@pytest.fixture
def box(done: Finished) -> Iterator[tuple[WatchBox, Desk]]:
    pipeline, _ = open_pipeline(done.paths)
    with gr.Blocks():
        desk = Desk(pipeline, gr.State(done.id))
        yield WatchBox(desk), desk
    pipeline.close()


def drawn(box: WatchBox, desk: Desk, id: str) -> dict[str, Any]:
    names = ("head", "log", "mask", "plot", "found", "look", "labelled", "delete", "sure")
    return dict(zip(names, box.draw(desk.pipeline.project(id)), strict=True))


def test_the_box_switches_shows_scores_and_deletes(
    box: tuple[WatchBox, Desk], done: Finished, run: RunFolder, tmp_path: Path
) -> None:
    made, desk = box
    assert len(made.outputs) == 9
    first = drawn(made, desk, done.id)
    assert "Requests are not logged." in first["head"] and first["log"]["value"] is False
    assert first["mask"]["value"] is True and not first["plot"]["visible"] and not first["delete"]["visible"]
    before = made.signature(desk.pipeline.project(done.id))
    made._set(done.id, True, True)
    assert made.signature(desk.pipeline.project(done.id)) != before
    assert "personal data masked by its form" in drawn(made, desk, done.id)["head"]
    _pretend(run)
    made._look_now(done.id)
    file = tmp_path / "new.csv"
    file.write_text("text,label\n<b>hello</b> 3,billing\n")
    made._score(done.id, str(file))
    shown = drawn(made, desk, done.id)
    assert "<b>hello" not in shown["found"]
    assert "requests logged" in shown["found"] and "Newly labelled" in shown["found"] and "nan" not in shown["found"]
    days = shown["plot"]["value"]
    assert days["requests"].sum() == 60 and len(days) == 2 * 3, "a day without requests is there too"
    made._forget(done.id)
    assert "requests logged" not in drawn(made, desk, done.id)["found"]


def test_the_box_of_a_project_without_a_result(paths: Paths) -> None:
    pipeline, _ = open_pipeline(paths)
    with gr.Blocks():
        made = WatchBox(desk := Desk(pipeline, gr.State("")))
    project = pipeline.store.create_project("new")
    assert made.signature(project) is None and len(made.draw(project)) == len(made.outputs)
    assert "Once a training has left a result" in drawn(made, desk, project.id)["head"]
    with pytest.raises(RunError, match="no result to watch"):
        made._run(project.id)
    pipeline.close()


def test_the_app_knows_which_run_a_served_model_is_of(run: RunFolder) -> None:
    from assistant.watching.recorder import Recorder

    model = ServedModel(name="any name", base=TINY, artefact=run.artefact, prompt=run.result_prompt())
    found = Recorder(dict).run_of(model)
    assert found is not None and found.path == run.path


def _pretend(run: RunFolder) -> None:
    """Sixty requests on two days with one between them."""
    log = RequestLog(run)
    rows = [
        {"time": f"2026-11-0{1 + 2 * (n % 2)}T10:00:{n % 60:02}Z", "model": "m", "input": f"<b>hello</b> {n}",
         "output": "billing", "prompt_id": run.result_prompt().id, "error": "" if n % 9 else "too long"}
        for n in range(60)
    ]  # fmt: skip
    file = log.folder / "requests-2026-11.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
