"""vLLM, for real: one server with adapters on it, held to the plain libraries' answers.

Runs wherever vLLM is installed. With TUNEWRIGHT_REQUIRE_VLLM=1 it fails, and does not skip, where it is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from assistant.serving.engine import Engine
from assistant.serving.vllm import vllm_launch, vllm_version
from prompts.chat_model import Sampling
from prompts.errors import EngineError
from tests.assistant.serving_kit import COMPUTE, Shelf, ask, ask_at_once, assert_held, follow_both, reference, served
from trainers.hardware import Hardware

MACHINE = Hardware(cpu="tests", cores=2, memory_gb=8)  # of so little memory that the cache takes one GB


def launched(shelf: Shelf, log: Path) -> Engine:
    return Engine(vllm_launch(shelf.local, COMPUTE, MACHINE, rank=8, context=1024), log)


@pytest.fixture(scope="module")
def engine(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if vllm_version() is None:
        if os.environ.get("TUNEWRIGHT_REQUIRE_VLLM") == "1":
            pytest.fail("TUNEWRIGHT_REQUIRE_VLLM=1, but vLLM is not installed")
        pytest.skip("vLLM is not installed")
    engine = launched(shelf, tmp_path_factory.mktemp("logs") / "vllm.log")
    engine.start()
    engine.load(served("lora", shelf["lora"]))
    yield engine
    engine.stop()


@pytest.mark.vllm
def test_base_and_tuned_stream_at_the_same_time(engine: Engine) -> None:
    seen = follow_both(engine, "tiny", "lora")
    turns = sum(one != other for one, other in pairwise(seen))
    assert turns > 10, f"the two did not take turns: {seen}"


@pytest.mark.vllm
def test_base_and_adapters_answer_as_the_plain_libraries_do(engine: Engine, shelf: Shelf) -> None:
    engine.load(served("lora2", shelf["lora2"]))
    texts = ("hello", "the ticket is about billing and returns", "label this")
    asked = [(name, text) for text in texts for name in ("tiny", "lora", "lora2")]
    replies = ask_at_once(engine, asked)
    expected = [reference(shelf.base, None if name == "tiny" else shelf[name], text) for name, text in asked]
    assert [reply.text.rstrip("\ufffd") for reply in replies] == expected
    assert [reply.model for reply in replies] == [name for name, _ in asked]
    assert len({reply.text for reply in replies}) == len(asked), "two models gave the same answer"
    assert engine.parents() == {"tiny": None, "lora": "tiny", "lora2": "tiny"}
    engine.unload("lora2")


@pytest.mark.vllm
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


@pytest.mark.vllm
def test_what_the_check_might_let_through_does_not_kill_the_server(engine: Engine, shelf: Shelf) -> None:
    for kind in ("dora", "soft", "nowhere"):
        body = {"lora_name": kind, "lora_path": str(shelf[kind])}
        answer = httpx.post(f"{engine.url}/load_lora_adapter", json=body, timeout=60, trust_env=False)
        assert answer.status_code >= 400, kind
    assert engine.running and "does not yet support DoRA" in engine.log.read_text("utf-8", errors="replace")
    assert ask(engine, "tiny").text.rstrip("\ufffd") == reference(shelf.base, None)


@pytest.mark.vllm
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


@pytest.mark.vllm
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
    check = vllm_launch(shelf.local, COMPUTE, MACHINE, rank=8).check
    check(shelf["lora"])
    with pytest.raises(EngineError, match=words):
        check(shelf[kind])


def test_the_command_line(shelf: Shelf) -> None:
    launch = vllm_launch(shelf.local, COMPUTE, MACHINE, rank=9, context=100_000)
    command = launch.command(1234)
    assert command[command.index("--max-lora-rank") + 1] == "16"
    assert command[command.index("--max-model-len") + 1] == "4096"
    assert command[command.index("--port") + 1] == "1234" and "--enable-lora" in command
    assert launch.env["VLLM_CPU_KVCACHE_SPACE"] == "1" and launch.title.startswith("vLLM ")


@pytest.mark.vllm
def test_stop_leaves_no_process_and_keeps_the_log(engine: Engine) -> None:
    """The last one: it ends the module's server."""
    assert engine._process
    supervisor = psutil.Process(engine._process.pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    assert len(processes) >= 4, "vLLM runs an engine and a worker beside its API server"
    engine.stop()
    assert not psutil.wait_procs(processes, timeout=15)[1]
    assert "Application startup complete" in engine.log.read_text("utf-8", errors="replace")
    engine.stop()  # harmless
