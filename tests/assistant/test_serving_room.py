"""The room, for real on the embedded engine: who answers, what is refused, rest and return, and the one address."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from openai import OpenAI

from assistant.hosting import serve
from assistant.serving.attached import Attached
from assistant.serving.endpoint import Endpoint, Holds
from assistant.serving.gateway import gateway, usage
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.proof import digest, distance, identify
from assistant.serving.room import EngineRoom
from assistant.serving.served import ServedModel
from assistant.settings import Settings
from prompts.allowed import Allowed
from prompts.chat_model import complete
from prompts.errors import EngineError, RunError
from prompts.versions import PromptVersion
from tests.assistant.journey import finished
from tests.assistant.serving_kit import COMPUTE, SHORT, Shelf, reference, served, user
from trainers.models import LocalModel
from trainers.paths import Paths


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    home = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assistant.serving.room.choose_compute", lambda cache: COMPUTE)
        room = EngineRoom(Settings(paths=Paths(home=home, cache=home / "cache"), engine="embedded"))
        yield room
        room.stop()


def on_shelf(shelf: Shelf, *kinds: str) -> list[ServedModel]:
    return [served(kind, None if kind == "tiny" else shelf[kind], shelf.local) for kind in kinds]


def wait_until(true: Callable[[], object], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_every_kind_is_connected_and_known(room: EngineRoom, shelf: Shelf) -> None:
    said: list[str] = []
    models = on_shelf(shelf, "tiny", "lora", "dora", "soft", "full")
    found = room.connect(models, said.append)
    assert any(text.startswith("Starting the embedded engine") for text in said) and said[-1] == "Checking who answers"
    for model, one in zip(models, found, strict=True):
        who = one.identity
        assert (who.name, who.served_as, who.prompt_id) == (model.name, model.name, model.prompt.id)
        assert who.digest == (digest(model.artefact) if model.artefact else "")
        assert who.parent == ("tiny" if model.artefact else "")
        if model.artefact:
            assert who.difference and who.noise is not None and who.difference > max(3 * who.noise, 1e-4)
            assert who.digest in who.told and "apart from the base" in who.told
        text = asyncio.run(complete(one.model, user("hello"), SHORT)).text
        assert text == reference(shelf.base, model.artefact)
    assert set(room.served) == {"tiny", "lora", "dora", "soft", "full"}
    assert room.title().endswith("tiny + 4 variants")


def test_what_answers_as_the_base_is_not_called_tuned(room: EngineRoom, shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="answers exactly as"):
        room.connect(on_shelf(shelf, "tiny", "zero"))
    assert "zero" not in room.served
    [again] = room.connect(on_shelf(shelf, "tiny"))
    assert asyncio.run(complete(again.model, user("hello"), SHORT)).text == reference(shelf.base, None)


def test_a_digest_follows_the_weights_and_not_the_folder(shelf: Shelf, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in shelf["lora"].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert digest(copy) == digest(shelf["lora"]) != digest(shelf["lora2"])
    weights = copy / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert digest(copy) != digest(shelf["lora"])


def test_the_distance_of_two_lists_of_likeliest_tokens() -> None:
    one, other = {"a": -0.1, "b": -3.0}, {"a": -0.4, "b": -3.0}
    assert distance([one], [one]) == 0
    assert distance([one, one], [one, other]) == pytest.approx(0.3)
    assert distance([{"a": -0.1, "b": -3.0}], [{"a": -0.1, "c": -2.0}]) == pytest.approx(1.0)  # at most that far down


class Claims(Endpoint):
    """A server that lists what it is told to."""

    title, url, running = "a server", "http://127.0.0.1:9/v1", True  # type: ignore[assignment]


def test_a_server_that_does_not_list_what_it_was_given_is_not_believed(shelf: Shelf) -> None:
    [model] = on_shelf(shelf, "lora")
    with pytest.raises(EngineError, match="does not list lora"):
        identify(model, Claims(Holds("tiny")), {"tiny": None}, None)


def test_it_rests_and_comes_back_with_what_was_served(room: EngineRoom, shelf: Shelf) -> None:
    room.connect(on_shelf(shelf, "tiny", "lora"))
    before = set(room.served)
    room.rest()
    assert not room.running and not room.served
    room.rest()  # again, as for a second training in the queue: nothing is forgotten
    assert room.resume()
    assert wait_until(lambda: set(room.served) == before and not room.progress)
    assert not room.resume(), "there is nothing to go back to any more"


# One address


@pytest.fixture
def client(room: EngineRoom, shelf: Shelf) -> TestClient:
    room.connect(on_shelf(shelf, "tiny", "lora", "soft"))
    app = FastAPI()
    app.include_router(gateway("/v1", lambda: room.served, room.find))
    return TestClient(app)


def test_the_address_lists_and_answers(client: TestClient, shelf: Shelf) -> None:
    listed = {model["id"]: model["parent"] for model in client.get("/v1/models").json()["data"]}
    assert listed["tiny"] is None and listed["lora"] == listed["soft"] == "tiny"
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 24, "temperature": 0}
    for name in ("tiny", "lora", "soft"):
        reply = client.post("/v1/chat/completions", json={"model": name, **body}).json()
        assert reply["model"] == name
        assert reply["choices"][0]["message"]["content"] == reference(
            shelf.base, None if name == "tiny" else shelf[name]
        )
    with client.stream("POST", "/v1/chat/completions", json={"model": "lora", "stream": True, **body}) as events:
        lines = [line for line in events.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    pieces = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"])
    assert text == reference(shelf.base, shelf["lora"])


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"no json", 400, "The body is no JSON request"),
        (b"[1]", 400, "it is no object"),
        (b'{"model": "nobody", "messages": []}', 404, "There is no model named nobody here. Served are: "),
        (b'{"model": "lora", "messages": []}', 400, ""),
    ],
)
def test_the_address_says_what_is_wrong(client: TestClient, body: bytes, code: int, words: str) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == code and words in answer.text


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The URL of a server for an app, on a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(10)


def in_front_of(url: str) -> FastAPI:
    app = FastAPI()
    app.include_router(gateway("/v1", dict, lambda name: OpenAIModel(name=name, url=url)))
    return app


def test_a_client_that_leaves_in_mid_stream_ends_the_reply_behind_the_address() -> None:
    behind, gone = FastAPI(), threading.Event()

    @behind.post("/v1/chat/completions")
    async def endless() -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            try:
                while True:
                    yield 'data: {"model": "m"}\n\n'
                    await asyncio.sleep(0.05)
            finally:
                gone.set()

        return StreamingResponse(words(), media_type="text/event-stream")

    with listening(behind) as engine, listening(in_front_of(engine)) as url:
        body = {"model": "m", "messages": [], "stream": True}
        with httpx.stream("POST", f"{url}/chat/completions", json=body, trust_env=False) as reply:
            lines = reply.iter_lines()  # kept: where it is let go, the connection is closed
            assert next(lines).startswith("data: ")
            assert not gone.is_set()
        assert gone.wait(10)


def test_an_engine_that_is_away_is_an_answer_too() -> None:
    answer = TestClient(in_front_of("http://127.0.0.1:9/v1")).post("/v1/chat/completions", json={"model": "m"})
    assert answer.status_code == 503 and "started again by itself" in answer.json()["error"]["message"]


def test_the_lines_to_copy_run_as_they_are(room: EngineRoom, shelf: Shelf, tmp_path: Path) -> None:
    prompt = PromptVersion(system='It\'s "quoted"; $HOME `x`', allowed=Allowed(choices=("yes", "it's no")))
    [one] = room.connect([ServedModel(name="lora", base=shelf.local, artefact=shelf["lora"], prompt=prompt)])
    assert one.identity.prompt_id == prompt.id
    url = room.running[0].url
    curl, python = usage(url, room.served["lora"], "is it 'so'?\nReally?")
    assert "curl" in curl and "OpenAI" in python
    script = tmp_path / "ask.py"
    script.write_text(python)
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout.strip() in ("yes", "it's no"), said.stderr
    ran = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(ran.stdout)["choices"][0]["message"]["content"] == said.stdout.strip()


# A server that somebody else runs


def test_an_engine_of_somebody_else_is_used_by_its_url(room: EngineRoom, shelf: Shelf, tmp_path: Path) -> None:
    room.connect(on_shelf(shelf, "tiny"))
    theirs = room.running[0]
    paths = Paths(home=tmp_path / "home", cache=tmp_path / "cache")
    guest = EngineRoom(Settings(paths=paths, engine="embedded", vllm_url=theirs.url))
    model = ServedModel(name="from-outside", base=shelf.local, artefact=shelf["lora3"], prompt=PromptVersion())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assistant.serving.room.choose_compute", lambda cache: COMPUTE)
        base, tuned = guest.connect([*on_shelf(shelf, "tiny"), model])
    assert not guest.running and guest.title().startswith(f"vLLM at {theirs.url}")
    assert asyncio.run(complete(tuned.model, user("hello"), SHORT)).text == reference(shelf.base, shelf["lora3"])
    assert asyncio.run(complete(base.model, user("hello"), SHORT)).text == reference(shelf.base, None)
    assert "from-outside" in theirs.parents()
    guest.stop()
    assert "from-outside" not in theirs.parents() and theirs.running


def test_a_server_with_another_base_is_refused(room: EngineRoom, shelf: Shelf) -> None:
    room.connect(on_shelf(shelf, "tiny"))
    other = LocalModel(ref="x/y", kind="hub", name="y", folder=Path("/nowhere"))
    with pytest.raises(EngineError, match=r"serves tiny.*, and not y\. Choose that base model"):
        Attached(room.running[0].url, "none", other)
    with pytest.raises(EngineError, match="does not answer"):
        Attached("http://127.0.0.1:9/v1", "none", shelf.local)


# The command line


def test_serve_from_the_command_line_refuses_a_port_that_is_taken(
    room: EngineRoom, shelf: Shelf, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=re.escape(f"Port {port} is in use.")):
            serve(["none"], Settings(paths=Paths(home=tmp_path, cache=tmp_path)), port, print)


def test_serve_from_the_command_line_answers_and_ends_with_all_it_started(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = finished(tmp_path_factory.getbasetemp(), tiny_model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "TUNEWRIGHT_HOME": str(done.paths.home), "TUNEWRIGHT_CACHE": str(done.paths.cache)}
    env["TUNEWRIGHT_ENGINE"] = "embedded"
    command = [sys.executable, "-m", "assistant", "serve", done.run_id, "--port", str(port)]
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout
    said: list[str] = []
    try:
        for line in server.stdout:
            said.append(line)
            if line.startswith("Serving on"):
                break
        assert f"Serving on http://127.0.0.1:{port}/v1" in said[-1], said
        assert any("apart from the base by" in line for line in said), said
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        assert wait_until(lambda: done.run_id in {model.id for model in client.models.list()})
        chat = [{"role": "user", "content": "hello"}]
        reply = client.chat.completions.create(model=done.run_id, messages=chat, max_tokens=4)  # type: ignore[call-overload]
        assert reply.model == done.run_id and 0 < reply.usage.completion_tokens <= 4
        below = psutil.Process(server.pid).children(recursive=True)
        assert below
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        server.stdout.close()
    assert not psutil.wait_procs(below, timeout=15)[1], "an engine outlived its server"
