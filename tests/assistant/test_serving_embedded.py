"""The embedded engine, for real: a server process, adapters of every kind, and answers equal to the libraries' own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from assistant.serving.embedded import embedded_launch
from assistant.serving.engine import Engine
from prompts.chat_model import Sampling, complete
from prompts.errors import EngineError
from tests.assistant.serving_kit import (
    COMPUTE,
    SHORT,
    Shelf,
    ask,
    ask_at_once,
    assert_held,
    follow_both,
    live,
    reference,
    served,
    user,
)
from trainers.models import LocalModel

KINDS = ("lora", "lora2", "dora", "with_head", "soft", "full")


@pytest.fixture(scope="module")
def engine(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server with every kind of adapter on it. Tests add their own and take them away again."""
    engine = Engine(embedded_launch(shelf.local, COMPUTE), tmp_path_factory.mktemp("logs") / "engine.log")
    said: list[str] = []
    engine.start(said.append)
    assert said and said[0].startswith("Starting the embedded engine (cpu, float32): 0 s")
    for kind in KINDS:
        engine.load(served(kind, shelf[kind]))
    yield engine
    engine.stop()


@pytest.fixture
def new_engine(shelf: Shelf, tmp_path: Path) -> Iterator[Engine]:
    """An engine of a test's own, not started."""
    engine = Engine(embedded_launch(shelf.local, COMPUTE), tmp_path / "engine.log")
    yield engine
    engine.stop()


def tree(engine: Engine) -> list[psutil.Process]:
    assert engine._process
    supervisor = psutil.Process(engine._process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def ended(processes: list[psutil.Process], seconds: float = 15) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_base_and_tuned_stream_at_the_same_time(engine: Engine) -> None:
    seen = follow_both(engine, "tiny", "lora")
    assert seen.count("tiny") > 10 and seen.count("lora") > 10
    turns = sum(one != other for one, other in pairwise(seen))
    assert turns > 10, f"the two did not take turns: {seen}"


def test_a_short_reply_ends_before_its_longer_neighbour(engine: Engine) -> None:
    ends: list[str] = []

    async def follow(name: str, tokens: int) -> None:
        await complete(live(engine, name), user("hello"), Sampling(max_tokens=tokens))
        ends.append(name)

    async def both() -> None:
        await asyncio.gather(follow("tiny", 600), follow("lora", 2))

    asyncio.run(both())
    assert ends == ["lora", "tiny"]


def test_every_kind_answers_as_the_plain_libraries_do(engine: Engine, shelf: Shelf) -> None:
    asked = [(name, text) for name in ("tiny", *KINDS) for text in ("hello", "the ticket is about billing and returns")]
    replies = ask_at_once(engine, asked)
    expected = [reference(shelf.base, None if name == "tiny" else shelf[name], text) for name, text in asked]
    assert [reply.text for reply in replies] == expected
    assert [reply.model for reply in replies] == [name for name, _ in asked]
    assert {reply.finish_reason for reply in replies} <= {"stop", "length"}
    assert len({reply.text for reply in replies}) == len(asked), "two models gave the same answer"


def test_the_server_says_who_is_whose(engine: Engine) -> None:
    assert engine.parents() == {"tiny": None} | dict.fromkeys(KINDS, "tiny")
    assert set(engine.loaded) == set(KINDS)


def test_a_reply_that_is_not_streamed(engine: Engine, shelf: Shelf) -> None:
    body = {"model": "lora", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 24, "temperature": 0}
    answer = httpx.post(f"{engine.url}/chat/completions", json=body, timeout=60).json()
    assert answer["model"] == "lora" and answer["usage"]["completion_tokens"] == 24
    assert answer["choices"][0]["message"]["content"] == reference(shelf.base, shelf["lora"])


def test_sampling_rows_and_greedy_rows_share_a_batch(engine: Engine, shelf: Shelf) -> None:
    async def both() -> tuple[str, str]:
        warm = complete(live(engine, "tiny"), user("hello"), Sampling(max_tokens=24, temperature=2.0))
        cold = complete(live(engine, "lora"), user("hello"), SHORT)
        one, other = await asyncio.gather(warm, cold)
        return one.text, other.text

    warm, cold = asyncio.run(both())
    assert cold == reference(shelf.base, shelf["lora"])
    assert warm != reference(shelf.base, None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nowhere", "holds neither an adapter nor a model"),
        ("wide", "cannot be loaded"),
        ("wide_soft", "192 wide and this base model 128"),
        ("deep", "not trained on this base model"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_refused_and_changes_nothing(
    engine: Engine, shelf: Shelf, kind: str, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        engine.load(served("bad", shelf[kind]))
    assert "bad" not in engine.parents()
    assert ask(engine, "tiny").text == reference(shelf.base, None)
    assert ask(engine, "lora").text == reference(shelf.base, shelf["lora"])


def test_an_unknown_model_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="no model named nobody"):
        ask(engine, "nobody")
    with pytest.raises(EngineError, match="base is tiny, not other"):
        engine.load(served("other"))
    engine.load(served("tiny"))


def test_a_prompt_that_is_too_long_is_an_error_and_does_not_harm_its_neighbour(engine: Engine, shelf: Shelf) -> None:
    async def both() -> list[object]:
        asked = [("tiny", "word " * 2000), ("lora", "hello")]
        jobs = [complete(live(engine, name), user(text), SHORT) for name, text in asked]
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    error, reply = asyncio.run(both())
    assert isinstance(error, EngineError)
    assert "the model takes 1024 in all. Shorten the prompt" in str(error) and "Error code" not in str(error)
    assert getattr(reply, "text", None) == reference(shelf.base, shelf["lora"])


def test_answers_are_held_to_choices_and_schemas(engine: Engine) -> None:
    assert_held(engine, "tiny", "lora")


@pytest.mark.parametrize(
    "wrong",
    [
        {"structured_outputs": {"choice": ["a"], "json": {"type": "object"}}},
        {"structured_outputs": {"json": {"type": "nonsense"}}},
        {"structured_outputs": {"regex": "a+"}},
        {"response_format": {"type": "grammar"}},
    ],
)
def test_what_an_answer_cannot_be_held_to_is_an_error(engine: Engine, wrong: dict[str, Any]) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **wrong}
    answer = httpx.post(f"{engine.url}/chat/completions", json=body, trust_env=False, timeout=60)
    assert answer.status_code in (400, 422)
    assert ask(engine, "tiny").text


def test_openais_own_words_hold_an_answer_to_a_schema(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    held = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, **held}
    answer = httpx.post(f"{engine.url}/chat/completions", json=body, trust_env=False, timeout=60).json()
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"a"}


def test_who_stops_listening_frees_the_lane(engine: Engine) -> None:
    long = Sampling(max_tokens=900, temperature=1.0)
    begun = time.monotonic()
    tokens = ask(engine, "tiny", sampling=long).completion_tokens or 0
    per_token = (time.monotonic() - begun) / tokens

    async def leave() -> None:
        stream = live(engine, "tiny").stream(user("hello"), Sampling(max_tokens=900))
        async for chunk in stream:
            if chunk.text:
                break
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    begun = time.monotonic()
    ask(engine, "tiny", sampling=Sampling(max_tokens=1))
    assert time.monotonic() - begun < per_token * 300 + 1


def test_a_name_is_free_again_after_unloading_and_answers_as_what_was_loaded_last(engine: Engine, shelf: Shelf) -> None:
    name = "run 7, v1.2/final"
    engine.load(served(name, shelf["lora"]))
    engine.load(served(name, shelf["lora"]))  # again the same: nothing to do
    with pytest.raises(EngineError, match=r"Another model named run 7, v1\.2/final is loaded\. Unload it first\."):
        engine.load(served(name, shelf["lora2"]))
    first = ask(engine, name).text
    engine.unload(name)
    engine.unload(name)  # harmless
    with pytest.raises(EngineError, match="no model named"):
        ask(engine, name)
    engine.load(served(name, shelf["lora2"]))
    second = ask(engine, name).text
    engine.unload(name)
    assert (first, second) == (reference(shelf.base, shelf["lora"]), reference(shelf.base, shelf["lora2"]))


@pytest.mark.parametrize("kind", ["dora", "soft", "full"])
def test_a_lane_of_its_own_can_be_unloaded(engine: Engine, shelf: Shelf, kind: str) -> None:
    engine.load(served("guest", shelf[kind]))
    engine.unload("guest")
    assert "guest" not in engine.parents()
    assert ask(engine, kind).text == reference(shelf.base, shelf[kind])


def test_the_base_keeps_its_name(engine: Engine, shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="the base model's own name"):
        engine.load(served("tiny", shelf["lora"]))
    answer = httpx.post(f"{engine.url}/unload_lora_adapter", json={"lora_name": "tiny"})
    assert answer.status_code == 400
    assert ask(engine, "tiny").text == reference(shelf.base, None)


def test_the_base_within_the_shared_lane_is_the_base_to_the_last_bit(shelf: Shelf) -> None:
    """The fault to fear most: a base that answers as the adapter. Checked on the server's own model."""
    import torch

    from assistant.serving.embedded_lanes import Server
    from trainers.generate import BASE
    from trainers.modeling import load_base

    ids = torch.tensor([[5, 6, 7, 8]] * 2)
    server = Server(shelf.base, "tiny", COMPUTE)
    lane, _ = server.lane("tiny")

    def logits(*adapters: str) -> torch.Tensor:
        with torch.inference_mode():
            named = {"adapter_names": list(adapters)} if hasattr(lane.model, "peft_config") else {}
            return lane.model(input_ids=ids, **named).logits

    fresh = load_base(shelf.base, COMPUTE)
    with torch.inference_mode():
        base = fresh(input_ids=ids).logits
    assert torch.equal(logits(BASE, BASE), base)
    server.load("one", shelf["lora"])
    _, one = server.lane("one")
    with pytest.raises(EngineError):
        server.load("misfit", shelf["deep"])
    server.load("two", shelf["lora2"])
    _, two = server.lane("two")
    mixed = logits(BASE, one)
    assert torch.equal(logits(BASE, BASE), base)
    assert torch.allclose(mixed[0], base[0], atol=1e-6) and not torch.allclose(mixed[1], base[1], atol=1e-2)
    assert not torch.allclose(logits(one, two)[0], logits(one, two)[1], atol=1e-2)
    server.unload("one")
    assert torch.equal(logits(BASE, BASE), base)
    assert torch.allclose(logits(BASE, two)[0], base[0], atol=1e-6)
    server.unload("two")
    assert not hasattr(lane.model, "peft_config")
    assert torch.equal(logits(BASE, BASE), base)


def test_an_engine_can_be_stopped_killed_and_started_again(new_engine: Engine, shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="is not running"):
        new_engine.parents()
    new_engine.start()
    port = new_engine.port
    new_engine.start()  # it runs already
    assert new_engine.port == port
    processes = tree(new_engine)
    assert len(processes) == 2
    new_engine.stop()
    assert ended(processes, 1) and not new_engine.running

    new_engine.start()
    new_engine.load(served("lora", shelf["lora"]))
    port = new_engine.port
    _kill_in_mid_reply(new_engine)
    # Nobody has to do anything: it comes back on the same port, with what was loaded.
    assert wait_until(lambda: new_engine.starts == 3, 60)
    new_engine.start()
    assert new_engine.port == port and new_engine.parents() == {"tiny": None, "lora": "tiny"}
    assert ask(new_engine, "lora").text == reference(shelf.base, shelf["lora"])


def test_an_engine_that_keeps_dying_is_left_alone_and_says_so(new_engine: Engine) -> None:
    new_engine.start()
    for crash in range(4):
        assert wait_until(lambda crash=crash: new_engine.starts == crash + 1 and not new_engine.progress, 60)
        tree(new_engine)[1].kill()
    assert wait_until(lambda: bool(new_engine.trouble))
    assert "stopped 4 times; it is left alone now" in new_engine.trouble and not new_engine.running


def _kill_in_mid_reply(engine: Engine) -> None:
    server = tree(engine)[1]

    async def follow() -> None:
        async for chunk in live(engine, "tiny").stream(user("hello"), Sampling(max_tokens=900)):
            if chunk.text:
                server.kill()

    with pytest.raises(EngineError, match="an engine that stopped is started again by itself"):
        asyncio.run(follow())
    assert ended([server])


def test_an_app_that_is_killed_takes_its_server_along(shelf: Shelf, tmp_path: Path) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", _APP, shelf.local.model_dump_json(), COMPUTE.model_dump_json(), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert app.stdout and app.stdout.readline() == "up\n", (tmp_path / "log").read_text()
    processes = psutil.Process(app.pid).children(recursive=True)
    assert len(processes) == 2
    os.kill(app.pid, signal.SIGKILL)
    app.wait()
    app.stdout.close()
    assert ended(processes)


_APP = """
import sys, time
from pathlib import Path
from assistant.serving.embedded import embedded_launch
from assistant.serving.engine import Engine
from trainers.hardware import Compute
from trainers.models import LocalModel
base, compute, log = sys.argv[1:]
launch = embedded_launch(LocalModel.model_validate_json(base), Compute.model_validate_json(compute))
engine = Engine(launch, Path(log))
engine.start()
print("up", flush=True)
time.sleep(600)
"""


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    empty = LocalModel(ref="x", kind="folder", name="empty", folder=tmp_path)
    engine = Engine(embedded_launch(empty, COMPUTE), tmp_path / "logs" / "engine.log")
    with pytest.raises(
        EngineError, match=r"stopped while starting\. Its last words: ModelError: The .* cannot be loaded"
    ):
        engine.start()
    assert not engine.running and "ModelError" in engine.log_tail()


def test_stop_ends_a_start_under_way(new_engine: Engine) -> None:
    caught: list[EngineError] = []

    def start() -> None:
        try:
            new_engine.start()
        except EngineError as error:
            caught.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    assert wait_until(lambda: new_engine.running)
    processes = tree(new_engine)
    new_engine.stop()
    starting.join(10)
    assert caught and "was stopped before it was ready" in str(caught[0])
    assert ended(processes)


def wait_until(true: object, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False
