"""vLLM, for real: a room with adapters and soft prompts in it, held to the plain libraries' answers.

Runs wherever vLLM is installed. With TUNEWRIGHT_REQUIRE_VLLM=1 it fails, and does not skip, where it is not.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import psutil
import pytest

from assistant.serving.engine import Engine
from assistant.serving.room import EngineRoom
from assistant.serving.served import Connected, ServedModel
from assistant.serving.vllm import VllmUse, vllm_launch, vllm_version
from assistant.settings import Settings
from prompts.chat_model import Sampling, complete_all
from prompts.errors import EngineError
from tests.assistant.serving_kit import (
    COMPUTE,
    SHORT,
    TEN,
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
from trainers.hardware import Hardware
from trainers.paths import Paths

pytestmark = pytest.mark.alone
MACHINE = Hardware(cpu="tests", cores=2, memory_gb=8)  # of so little memory that the cache takes one GB
ADAPTERS = ("lora", "lora2", "lora3")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    if vllm_version() is None:
        if os.environ.get("TUNEWRIGHT_REQUIRE_VLLM") == "1":
            pytest.fail("TUNEWRIGHT_REQUIRE_VLLM=1, but vLLM is not installed")
        pytest.skip("vLLM is not installed")
    home = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assistant.serving.room.choose_compute", lambda cache: COMPUTE)
        patch.setattr("assistant.serving.room.detect", lambda: MACHINE)
        room = EngineRoom(Settings(paths=Paths(home=home, cache=home / "cache"), engine="vllm"))
        yield room
        room.stop()


def on_shelf(shelf: Shelf, *kinds: str) -> list[ServedModel]:
    return [served(kind, None if kind == "tiny" else shelf[kind], shelf.local) for kind in kinds]


@pytest.fixture(scope="module")
def connected(room: EngineRoom, shelf: Shelf) -> dict[str, Connected]:
    """A base, three adapters and a soft prompt, all to be asked at the same time."""
    models = on_shelf(shelf, "tiny", *ADAPTERS, "soft")
    return {who.identity.name: who for who in room.connect(models)}


@pytest.fixture(scope="module")
def engine(room: EngineRoom, connected: dict[str, Connected]) -> Engine:
    """The server of the adapters."""
    return next(engine for engine in room.running if "lora" in engine.loaded)


def test_three_adapters_and_a_soft_prompt_at_the_same_time_answer_as_peft_does(
    room: EngineRoom, connected: dict[str, Connected], shelf: Shelf
) -> None:
    async def everybody() -> dict[str, list[str]]:
        jobs = {
            name: complete_all(who.model, [user(text) for text in TEN], SHORT, at_once=10)
            for name, who in connected.items()
        }
        replies = await asyncio.gather(*jobs.values())
        return {name: [one.text.rstrip("\ufffd") for one in said] for name, said in zip(jobs, replies, strict=True)}

    said = asyncio.run(everybody())
    for name, texts in said.items():
        adapter = None if name == "tiny" else shelf[name]
        assert texts == [reference(shelf.base, adapter, text) for text in TEN], name
    assert len({tuple(texts) for texts in said.values()}) == 5
    assert len(room.running) == 2, "on a CPU soft prompts have a server of their own"


def test_who_answers_is_proved(room: EngineRoom, connected: dict[str, Connected], shelf: Shelf) -> None:
    who = {name: one.identity for name, one in connected.items()}
    assert who["tiny"].digest == "" and who["tiny"].difference is None
    for name in ADAPTERS:
        assert (who[name].served_as, who[name].parent) == (name, "tiny")
    assert (who["soft"].served_as, who["soft"].parent) == ("tiny", "tiny")
    tuned = [who[name] for name in (*ADAPTERS, "soft")]
    assert len({one.digest for one in tuned}) == 4
    assert all(one.difference and one.noise is not None and one.difference > 10 * one.noise for one in tuned)
    with pytest.raises(EngineError, match="zero answers exactly as its base tiny"):
        room.connect(on_shelf(shelf, "tiny", "zero"))
    assert "zero" not in room.served


def test_whole_models_and_what_vllm_refuses_stand_beside_it(room: EngineRoom, engine: Engine, shelf: Shelf) -> None:
    kinds = ("tiny", "lora", "dora", "full")
    found = room.connect(on_shelf(shelf, *kinds))
    for kind, one in zip(kinds, found, strict=True):
        replies = asyncio.run(complete_all(one.model, [user(text) for text in TEN[:3]], SHORT))
        adapter = None if kind == "tiny" else shelf[kind]
        assert [reply.text.rstrip("\ufffd") for reply in replies] == [
            reference(shelf.base, adapter, text) for text in TEN[:3]
        ], kind
    who = {one.identity.name: one.identity for one in found}
    assert who["dora"].engine.startswith("the embedded engine") and who["full"].engine.startswith("vLLM")
    assert who["full"].parent == "" and (who["full"].difference or 0) > 1e-4
    others = [other for other in room.running if other is not engine]
    assert {"full", "tiny"} == {other.holds.base_name for other in others}
    for other in others:  # the next tests ask the server of the adapters alone
        other.stop()


def test_loading_and_unloading_under_traffic_gives_no_wrong_answer(
    engine: Engine, connected: dict[str, Connected], shelf: Shelf
) -> None:
    expected = {name: reference(shelf.base, None if name == "tiny" else shelf[name]) for name in ("tiny", "lora")}
    wrong: list[str] = []
    asked = 0
    done = threading.Event()

    def traffic() -> None:
        nonlocal asked
        while not done.is_set():
            for name, reply in zip(expected, ask_at_once(engine, [(name, "hello") for name in expected]), strict=True):
                asked += 1
                if reply.text.rstrip("\ufffd") != expected[name] or reply.model != name:
                    wrong.append(f"{name}: {reply}")

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        for number in range(3):
            engine.load(served(f"guest{number}", shelf["lora2"]))
            assert ask(engine, f"guest{number}").text.rstrip("\ufffd") == reference(shelf.base, shelf["lora2"])
            engine.unload(f"guest{number}")
    finally:
        done.set()
        thread.join()
    assert asked > 4 and not wrong


def test_an_engine_that_is_killed_in_mid_reply_comes_back_with_its_adapters(engine: Engine, shelf: Shelf) -> None:
    before, loaded = engine.starts, set(engine.loaded)

    killed = False

    async def one() -> None:
        nonlocal killed
        async for chunk in live(engine, "lora").stream(user("hello"), Sampling(max_tokens=800)):
            if chunk.text and not killed:
                killed = True
                engine.kill()

    async def follow() -> None:
        # A tiny model's 800 tokens can all be under way before one of them is read here; hence eight at once, and where
        # even these were whole, the next find nobody there.
        while True:
            await asyncio.gather(*(one() for _ in range(8)))

    with pytest.raises(EngineError, match="an engine that stopped is started again by itself"):
        asyncio.run(follow())
    until = time.monotonic() + 300
    while engine.starts == before and time.monotonic() < until:
        time.sleep(0.5)
    engine.start()  # waits until all is loaded again
    assert engine.starts == before + 1 and set(engine.parents()) == {"tiny", *loaded}
    assert ask(engine, "lora").text.rstrip("\ufffd") == reference(shelf.base, shelf["lora"])


def test_base_and_tuned_stream_at_the_same_time(engine: Engine) -> None:
    seen = follow_both(engine, "tiny", "lora")
    turns = sum(one != other for one, other in pairwise(seen))
    assert turns > 10, f"the two did not take turns: {seen}"


def test_answers_are_held_to_choices_and_schemas(engine: Engine) -> None:
    assert_held(engine, "tiny", "lora")


def test_a_name_is_free_again_after_unloading_and_answers_as_what_was_loaded_last(engine: Engine, shelf: Shelf) -> None:
    name = "run 7, v1.2/final"
    engine.load(served(name, shelf["lora"]))
    engine.load(served(name, shelf["lora"]))  # again the same: nothing to do
    with pytest.raises(EngineError, match="Unload it first"):
        engine.load(served(name, shelf["lora2"]))
    first = ask(engine, name).text
    engine.unload(name)
    with pytest.raises(EngineError, match="does not exist") as caught:
        ask(engine, name)
    assert "Error code" not in str(caught.value)
    engine.load(served(name, shelf["lora2"]))
    second = ask(engine, name).text  # not from the cache of the first one's prompt
    engine.unload(name)
    expected = [reference(shelf.base, shelf["lora"]), reference(shelf.base, shelf["lora2"])]
    assert [first.rstrip("\ufffd"), second.rstrip("\ufffd")] == expected


def test_what_the_check_might_let_through_does_not_kill_the_server(engine: Engine, shelf: Shelf) -> None:
    for kind in ("dora", "soft", "nowhere"):
        body = {"lora_name": kind, "lora_path": str(shelf[kind])}
        answer = httpx.post(f"{engine.url}/load_lora_adapter", json=body, timeout=60, trust_env=False)
        assert answer.status_code >= 400, kind
    assert engine.running and "does not yet support DoRA" in engine.log.read_text("utf-8", errors="replace")
    assert ask(engine, "tiny").text.rstrip("\ufffd") == reference(shelf.base, None)


def test_the_base_stays_the_base_with_as_many_adapters_as_are_taken(engine: Engine, shelf: Shelf) -> None:
    """vLLM's CPU kernels answer for the base with the adapter in the last slot, which must therefore stay empty."""
    names: list[str] = []
    while engine.takes([extra := served(f"extra{len(names)}", shelf["lora2"])]) and len(names) < 20:
        engine.load(extra)
        names.append(extra.name)
    assert names
    with pytest.raises(EngineError, match=r"takes 8 adapters between two starts\. Stop the engine and start it again"):
        engine.load(extra)
    assert engine.takes([served(names[0], shelf["lora2"])]), "what is loaded already needs no place"
    replies = ask_at_once(engine, [(name, "hello") for name in ("lora", *names, "tiny")])
    tuned = [reference(shelf.base, shelf["lora"]), *[reference(shelf.base, shelf["lora2"])] * len(names)]
    assert [reply.text.rstrip("\ufffd") for reply in replies] == [*tuned, reference(shelf.base, None)]
    assert ask(engine, "tiny").text.rstrip("\ufffd") == reference(shelf.base, None)


def test_a_prompt_that_is_too_long_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="maximum context length") as caught:
        ask(engine, "tiny", "word " * 2000)
    assert "Error code" not in str(caught.value)
    assert ask(engine, "tiny", sampling=Sampling(max_tokens=1)).completion_tokens == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dora", r"an adapter with DoRA, which vLLM cannot serve\. Serve it with the embedded engine"),
        ("with_head", r"fully trained modules beside LoRA.*embedded engine"),
        ("soft", r"a PROMPT_TUNING adapter, and vLLM serves LoRA only\. Serve it with the embedded engine"),
        ("full", r"a whole model.*embedded engine"),
        ("rank64", r"has rank 64, and this vLLM was started for 8 at most\. Start the engine again"),
        ("wide", r"_proj is 128 wide there and 192 in the adapter\. Use the base"),
        ("deep", r"it changes model\.layers\.2, which is not there\. Use the base"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_before_it_is_asked(shelf: Shelf, kind: str, words: str) -> None:
    check = vllm_launch(shelf.local, COMPUTE, MACHINE, VllmUse(rank=8)).holds.check
    check(shelf["lora"])
    with pytest.raises(EngineError, match=words):
        check(shelf[kind])


def test_the_command_line(shelf: Shelf) -> None:
    use = VllmUse(rank=9, options=("--tensor-parallel-size", "2"))
    launch = vllm_launch(shelf.local, COMPUTE, MACHINE, use, context=100_000)
    command = launch.command(1234)
    assert command[command.index("--max-lora-rank") + 1] == "16"
    assert command[command.index("--max-model-len") + 1] == "4096"
    assert command[command.index("--port") + 1] == "1234" and "--enable-lora" in command
    assert command[-2:] == ["--tensor-parallel-size", "2"] and "--enable-prompt-embeds" not in command
    assert launch.env["VLLM_CPU_KVCACHE_SPACE"] == "1" and launch.title.startswith("vLLM ")


def test_stop_leaves_no_process_and_keeps_the_log(engine: Engine) -> None:
    """The last one: it ends the module's server."""
    assert engine._process
    supervisor = psutil.Process(engine._process.pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    assert len(processes) >= 4, "vLLM runs an engine and a worker beside its API server"
    engine.stop()
    assert not psutil.wait_procs(processes, timeout=15)[1] and not engine.running
    assert "Application startup complete" in engine.log.read_text("utf-8", errors="replace")
    engine.stop()  # harmless
