"""What the embedded engine says to any client of OpenAI's protocol, and how it tells a tuned model from its base.

One server process, asked over HTTP and by the `openai` client, and servers in this process where memory is looked at.
References are the plain libraries' own.
"""

from __future__ import annotations

import gc
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from openai import BadRequestError, NotFoundError, OpenAI
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from assistant.serving.embedded_lanes import Lane, Server
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from tests.assistant.serving_kit import COMPUTE, Shelf, reference
from trainers.generate import Request, generate

HELLO = [{"role": "user", "content": "hello"}]
SHORT: dict[str, Any] = {"messages": HELLO, "max_tokens": 24, "temperature": 0}
DRAWN: dict[str, Any] = {"messages": HELLO, "max_tokens": 24, "temperature": 1.5}
PROBES = [[{"role": "user", "content": text}] for text in ("hello", "the ticket is about billing and returns")]


class Live:
    """A server process and the ways to ask it."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.client = OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def get(self, call: str) -> dict[str, Any]:
        return dict(httpx.get(f"{self.url}{call}", timeout=60, trust_env=False).json())

    def post(self, call: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/{call}", json=body, timeout=300, trust_env=False)

    def chat(self, model: str = "tiny", **body: Any) -> dict[str, Any]:
        answer = self.post("chat/completions", model=model, **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def text(self, model: str = "tiny", **body: Any) -> str:
        return str(self.chat(model, **(SHORT | body))["choices"][0]["message"]["content"])

    def stream(self, model: str = "tiny", **body: Any) -> list[dict[str, Any]]:
        answer = self.post("chat/completions", model=model, stream=True, **body)
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        assert answer.status_code == 200 and lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]

    def load(self, name: str, path: Path, **more: Any) -> httpx.Response:
        return self.post("load_lora_adapter", lora_name=name, lora_path=str(path), **more)

    def unload(self, name: str) -> None:
        assert self.post("unload_lora_adapter", lora_name=name).status_code == 200

    def names(self) -> list[str]:
        return [model["id"] for model in self.get("/v1/models")["data"]]

    def seconds(self, **body: Any) -> float:
        begun = time.monotonic()
        self.chat(**body)
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def live(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with a LoRA on it. Tests add their own and take them away again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    module = [sys.executable, "-m", "assistant.serving.embedded_server"]
    log = tmp_path_factory.mktemp("logs") / "server.log"
    with log.open("wb") as out:
        command = [*module, str(shelf.base), "tiny", str(port), COMPUTE.model_dump_json()]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    server = Live(port)
    try:
        until = time.monotonic() + 120
        while not _healthy(server):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        assert server.load("lora", shelf["lora"]).status_code == 200
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _healthy(server: Live) -> bool:
    try:
        return server.get("/health") == {"status": "ok"}
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def server(shelf: Shelf) -> Server:
    """A server in this process. Tests take away what they load."""
    return Server(shelf.base, "tiny", COMPUTE)


def saved(base: Path, target: Path, config: Any) -> Path:
    """An adapter as it is before any training."""
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, config).save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def untrained(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What answers exactly as its base: adapters that were not trained, and a copy."""
    root = tmp_path_factory.mktemp("untrained")
    lora: dict[str, Any] = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    found = {
        "lora": LoraConfig(**lora),
        "dora": LoraConfig(**lora, use_dora=True),
        "ia3": IA3Config(
            task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
    }
    shutil.copytree(shelf.base, root / "copy")
    return {kind: saved(shelf.base, root / kind, config) for kind, config in found.items()} | {"copy": root / "copy"}


def first_logits(base: Path, adapter: Path | None) -> torch.Tensor:
    """The plain libraries' logits after each probe."""
    whole = adapter is not None and (adapter / "config.json").is_file()
    model: Any = AutoModelForCausalLM.from_pretrained(adapter if whole else base)
    if adapter is not None and not whole:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.inference_mode():
        rows = [model.eval()(input_ids=torch.tensor([ids])).logits[0, -1] for ids in probe_ids(base)]
    return torch.stack(rows)


def probe_ids(base: Path) -> list[list[int]]:
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    how = {"add_generation_prompt": True, "return_dict": False}
    return [list(tokenizer.apply_chat_template(chat, **how)) for chat in PROBES]


# One reply, in every way it can be asked for.


def test_a_streamed_reply_is_the_whole_one(live: Live, shelf: Shelf) -> None:
    for asked in (SHORT, DRAWN | {"seed": 3}, SHORT | {"stop": ["e", "zz"]}):
        asked = asked | {"logprobs": True, "top_logprobs": 2}
        whole = live.client.chat.completions.create(model="lora", **asked)
        chunks = list(
            live.client.chat.completions.create(
                model="lora", stream=True, stream_options={"include_usage": True}, **asked
            )
        )
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        [choice] = whole.choices
        assert "".join(c.delta.content or "" for c in choices) == choice.message.content
        assert [c.finish_reason for c in choices if c.finish_reason] == [choice.finish_reason]
        assert choice.logprobs and choice.logprobs.content
        streamed = [token for c in choices if c.logprobs for token in c.logprobs.content or []]
        assert streamed == choice.logprobs.content
        assert chunks[-1].usage == whole.usage and chunks[-1].choices == []
        assert {chunk.model for chunk in chunks} == {whole.model} == {"lora"}
        assert len({chunk.id for chunk in chunks}) == 1
        assert choices[0].delta.role == "assistant"
    assert live.text("lora") == reference(shelf.base, shelf["lora"])


def test_usage_counts_the_prompt_by_the_tokenizer(live: Live, shelf: Shelf) -> None:
    read = len(probe_ids(shelf.base)[0])
    assert live.chat(**SHORT)["usage"] == {"prompt_tokens": read, "completion_tokens": 24, "total_tokens": read + 24}
    live.load("soft", shelf["soft"])
    assert live.chat("soft", **SHORT)["usage"]["prompt_tokens"] == read + 4, "the adapter's four virtual tokens too"
    live.unload("soft")


def test_a_stream_tells_its_usage_where_it_is_asked_to(live: Live) -> None:
    plain = live.stream(**SHORT)
    assert not any("usage" in chunk for chunk in plain) and plain[-1]["choices"][0]["finish_reason"] == "length"
    told = live.stream(**SHORT, stream_options={"include_usage": True})
    assert [chunk["usage"]["completion_tokens"] for chunk in told if "usage" in chunk] == [24]


def test_a_seed_draws_the_same_reply_alone_and_in_company(live: Live) -> None:
    alone = live.text(**DRAWN, seed=7)
    assert live.text(**DRAWN, seed=7) == alone
    assert len({live.text(**DRAWN, seed=seed) for seed in (1, 2, 3)} | {alone}) == 4
    with ThreadPoolExecutor(8) as pool:
        company = [pool.submit(live.text, "lora", **DRAWN) for _ in range(3)]
        seeded = [pool.submit(live.text, **DRAWN, seed=seed) for seed in (7, 8, 7)]
        found = [reply.result() for reply in seeded]
    assert found[0] == found[2] == alone != found[1]
    assert len({reply.result() for reply in company}) == 3, "without a seed no two replies are drawn alike"


def test_top_k_is_understood(live: Live) -> None:
    greedy = live.text()
    assert live.text(temperature=5.0, top_k=1) == greedy
    assert live.text(temperature=5.0, top_k=-1, seed=1) == live.text(temperature=5.0, top_k=0, seed=1) != greedy


def test_a_stop_text_ends_the_reply(live: Live) -> None:
    whole = live.text()
    stop = whole[7:10]
    [choice] = live.chat(**SHORT, stop=stop)["choices"]
    assert choice["message"]["content"] == whole[: whole.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    [choice] = live.chat(**SHORT, stop=["never said", "nor this"])["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (whole, "length")


def test_log_probabilities_have_openais_shape_and_the_plain_models_values(live: Live, shelf: Shelf) -> None:
    expected = first_logits(shelf.base, shelf["lora"])[0].log_softmax(-1).topk(5).values.tolist()
    reply = live.client.chat.completions.create(model="lora", logprobs=True, top_logprobs=5, **(DRAWN | {"seed": 1}))
    assert reply.choices[0].logprobs and reply.usage
    content = reply.choices[0].logprobs.content
    assert content and len(content) == reply.usage.completion_tokens
    assert [token.logprob for token in content[0].top_logprobs] == pytest.approx(expected, abs=1e-4)
    for entry in content:
        assert entry.bytes == list(entry.token.encode())
        assert len(entry.top_logprobs) == 5
        assert entry.logprob <= entry.top_logprobs[0].logprob
    [plain] = live.chat("lora", **SHORT, logprobs=True)["choices"]
    assert len(plain["logprobs"]["content"]) == 24 and plain["logprobs"]["content"][0]["top_logprobs"] == []
    assert live.chat("lora", **SHORT)["choices"][0]["logprobs"] is None


def test_without_a_limit_a_reply_takes_what_the_context_leaves(live: Live) -> None:
    """And it is drawn at temperature 1, as everywhere."""
    told = live.chat(messages=HELLO, seed=1)
    [choice], used = told["choices"], told["usage"]
    assert choice["finish_reason"] == "stop" or used["total_tokens"] == 1024
    limit = 1024 - used["prompt_tokens"]
    assert choice["message"]["content"] == live.text(max_tokens=limit, temperature=1.0, seed=1)


def test_a_turn_may_come_in_parts(live: Live) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]
    assert live.text(messages=[{"role": "user", "content": parts}]) == live.text(
        messages=[{"role": "user", "content": "hello\nthere"}]
    )


# What is refused.


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"n": 2}, "n is not understood here"),
        ({"logit_bias": {"5": 100}}, "logit_bias is not understood here"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not understood here"),
        ({"tool_choice": "required"}, "tool_choice is not"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not"),
        ({"repetition_penalty": 1.1}, "repetition_penalty is not"),
        ({"min_p": 0.1}, "min_p is not"),
        ({"skip_special_tokens": False}, "skip_special_tokens is not"),
        ({"guided_choice": ["a"]}, "guided_choice is not"),
        ({"temperature": -1}, "temperature: Input should be greater"),
        ({"top_p": 0}, "top_p: Input should be greater"),
        ({"top_k": -2}, "top_k: Input should be greater"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop: List should have at most 4"),
        ({"stop": ""}, "stop.0: String should have at least 1"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs: Input should be less"),
        ({"top_logprobs": 3}, "top_logprobs asks for logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options is for streams"),
        ({"messages": []}, "messages: List should have at least 1"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "should be a valid string"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, "but the model takes 1024 in all"),
        ({"max_tokens": 1020}, "and the reply may have 1020"),
    ],
)
def test_what_cannot_be_answered_as_asked_is_refused(live: Live, field: dict[str, Any], words: str) -> None:
    for streamed in ({}, {"stream": True}):
        if "stream_options" in field and streamed:
            continue
        answer = live.post("chat/completions", model="tiny", **(SHORT | field | streamed))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (400, 400, "invalid_request_error")
        assert words in error["message"], error["message"]


def test_a_client_gets_the_reason_as_an_error_of_its_own(live: Live) -> None:
    with pytest.raises(BadRequestError, match=r"The prompt has \d+ tokens and the reply may have 1020"):
        live.client.chat.completions.create(model="tiny", stream=True, **(SHORT | {"max_tokens": 1020}))
    with pytest.raises(NotFoundError, match="There is no model named nobody here"):
        live.client.chat.completions.create(model="nobody", **SHORT)


def test_what_changes_nothing_is_ignored(live: Live) -> None:
    neutral = {
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "logit_bias": None,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "user": "me",
        "store": False,
        "priority": 3,
        "a field of tomorrow": True,
        "stop": None,
        "seed": None,
        "top_p": None,
        "logprobs": False,
    }
    assert live.text(**neutral) == live.text()


# Who is there.


def test_models_are_listed_as_vllm_lists_them(live: Live, shelf: Shelf) -> None:
    base, lora = (next(m for m in live.get("/v1/models")["data"] if m["id"] == name) for name in ("tiny", "lora"))
    for card in (base, lora):
        assert card["object"] == "model" and card["owned_by"] == "tunewright" and card["max_model_len"] == 1024
        assert abs(card["created"] - time.time()) < 3600
    assert (base["parent"], base["root"], base["difference"]) == (None, str(shelf.base), None)
    assert (lora["parent"], lora["root"]) == ("tiny", str(shelf["lora"]))
    assert lora["difference"] > 0.1 > lora["noise"]
    assert [model.id for model in live.client.models.list()] == live.names()
    assert live.get("/version")["version"]


@pytest.mark.parametrize("kind", ["lora2", "dora", "full"])
def test_the_difference_from_the_base_is_that_of_the_plain_models(live: Live, shelf: Shelf, kind: str) -> None:
    expected = (first_logits(shelf.base, None) - first_logits(shelf.base, shelf[kind])).abs().max()
    told = live.load("guest", shelf[kind], probes=PROBES).json()
    assert told["status"] == "ok" and told["difference"] == pytest.approx(float(expected), abs=1e-3)
    assert told["noise"] < 1e-4
    listed = next(model for model in live.get("/v1/models")["data"] if model["id"] == "guest")
    assert (listed["difference"], listed["noise"]) == (told["difference"], told["noise"])
    live.unload("guest")


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "copy"])
def test_what_answers_exactly_as_its_base_is_not_loaded(
    live: Live, shelf: Shelf, untrained: dict[str, Path], kind: str
) -> None:
    answer = live.load("idle", untrained[kind])
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("idle answers exactly as the base tiny: on 3 probes no logit differs by more than")
    assert "It is not loaded." in message
    assert live.names() == ["tiny", "lora"]
    assert live.text() == reference(shelf.base, None)
    assert live.text("lora") == reference(shelf.base, shelf["lora"])
    assert live.load("idle", shelf["lora2"]).status_code == 200, "its name is free"
    assert live.text("idle") == reference(shelf.base, shelf["lora2"])
    live.unload("idle")


def test_a_refusal_leaves_nothing_behind(server: Server, untrained: dict[str, Path]) -> None:
    """Where there was no adapter before, the shared model is the plain base again."""
    for path in untrained.values():
        threads = lanes()
        with pytest.raises(EngineError, match="answers exactly as the base"):
            server.load("idle", path)
        lane, _ = server.lane("tiny")
        assert not hasattr(lane.model, "peft_config")
        assert not any("lora" in name for name, _ in lane.model.named_modules())
        assert wait_until(lambda threads=threads: lanes() <= threads)


def test_an_adapter_of_no_numbers_is_not_loaded(server: Server, shelf: Shelf, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(shelf["lora"], tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "adapter_model.safetensors")
    weights[next(iter(weights))].fill_(torch.nan)
    save_file(weights, tmp_path / "broken" / "adapter_model.safetensors")
    with pytest.raises(EngineError, match="broken answers with no numbers: it is not loaded"):
        server.load("broken", tmp_path / "broken")
    assert list(server.models()) == ["tiny"]


def test_probes_that_do_not_fit_load_nothing(live: Live, shelf: Shelf) -> None:
    answer = live.load("guest", shelf["lora2"], probes=[[{"role": "user", "content": "word " * 2000}]])
    assert answer.status_code == 400 and "the model takes 1024 in all" in answer.text
    assert live.load("guest", shelf["lora2"], probes=[[]]).status_code == 400
    assert "guest" not in live.names()


@pytest.mark.parametrize("kind", ["prefix", "ia3"])
def test_other_kinds_of_adapters_are_served_as_peft_has_them(shelf: Shelf, tmp_path: Path, kind: str) -> None:
    """On a base with fewer key heads than heads, as most have: there a prefix is narrower than the model."""
    torch.manual_seed(1)
    base = tmp_path / "grouped"
    LlamaForCausalLM(LlamaConfig.from_pretrained(shelf.base, num_key_value_heads=1)).save_pretrained(base)
    AutoTokenizer.from_pretrained(shelf.base).save_pretrained(base)
    found: dict[str, Any] = {
        "prefix": PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        "ia3": IA3Config(task_type="CAUSAL_LM", target_modules=["v_proj"], feedforward_modules=[]),
    }
    found["ia3"].init_ia3_weights = False
    path = saved(base, tmp_path / kind, found[kind])
    server = Server(base, "grouped", COMPUTE)
    proof = server.load(kind, path, [[Message(role="user", content=turn["content"]) for turn in p] for p in PROBES])
    expected = (first_logits(base, None) - first_logits(base, path)).abs().max()
    assert proof.difference == pytest.approx(float(expected), abs=1e-3)


# Who leaves.


def test_a_client_that_closes_its_socket_stops_its_reply(live: Live) -> None:
    long = {"messages": HELLO, "max_tokens": 900, "temperature": 0}  # greedily this model never ends by itself
    whole, one = live.seconds(**long), live.seconds(messages=HELLO, max_tokens=1)
    assert whole > 5 * one, "otherwise this test shows nothing"
    for more in ({"stream": True}, {}):
        body = json.dumps({"model": "tiny", **long, **more}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", live.port)) as client:
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            if more:
                assert b"200 OK" in client.recv(64)
            else:
                time.sleep(one + 0.2)  # its batch is under way
        assert live.seconds(messages=HELLO, max_tokens=1) < one + whole / 3


def test_who_leaves_the_queue_is_never_begun(server: Server) -> None:
    lane, adapter = server.lane("tiny")
    ended = threading.Event()
    gone = Request([Message(role="user", content="hello")], Sampling(max_tokens=5), adapter, cancelled=lambda: True)
    here = Request([Message(role="user", content="hello")], Sampling(max_tokens=5), adapter, on_end=ended.set)
    lane.submit((gone, lambda error: None))
    lane.submit((here, lambda error: None))
    assert ended.wait(30)
    assert (gone.prompt_tokens, here.tokens) == (0, 5)


@pytest.mark.parametrize("kind", ["full", "dora", "soft", "lora"])
def test_unloading_frees_the_memory(server: Server, shelf: Shelf, kind: str) -> None:
    threads = lanes()
    server.load("guest", shelf[kind])
    lane, adapter = server.lane("guest")
    generate(lane.model, server.tokenizer, [Request([Message(role="user", content="hi")], Sampling(), adapter)])
    kept = [weakref.ref(part) for name, part in lane.model.named_parameters() if kind != "lora" or adapter in name]
    assert kept
    server.unload("guest")
    gc.collect()
    assert not any(part() is not None for part in kept)
    assert wait_until(lambda: lanes() <= threads)
    assert list(server.models()) == ["tiny"]


def test_who_asks_a_lane_that_was_closed_is_told_so(server: Server, shelf: Shelf) -> None:
    """Asked before, while, and after it is closed: nobody waits for ever."""
    server.load("guest", shelf["full"])
    lane, adapter = server.lane("guest")
    told: list[str] = []
    for _ in range(40):
        lane.submit(_counted(adapter, told))
    assert wait_until(lambda: bool(told))
    closing = threading.Thread(target=server.unload, args=("guest",))
    closing.start()
    for _ in range(10):
        lane.submit(_counted(adapter, told))
    closing.join()
    for _ in range(10):
        lane.submit(_counted(adapter, told))
    assert wait_until(lambda: len(told) == 60, 60)
    assert set(told) <= {"length", "stop", "This model was unloaded. Load it again."}
    assert told.count("length") + told.count("stop") > 0


def _counted(adapter: str, told: list[str]) -> tuple[Request, Any]:
    request = Request([Message(role="user", content="hi")], Sampling(max_tokens=2), adapter)
    request.on_end = lambda: told.append(request.finish_reason)
    return request, lambda error: told.append(str(error))


def lanes() -> int:
    return sum(thread.name == "lane" for thread in threading.enumerate())


def wait_until(true: Any, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_a_lane_is_one_model_and_one_thread(shelf: Shelf) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(shelf.base)
    tokenizer: Any = AutoTokenizer.from_pretrained(shelf.base)
    threads = lanes()
    lane = Lane(model, tokenizer)
    assert lanes() == threads + 1 and lane.context == 1024
    lane.close()
    assert wait_until(lambda: lanes() == threads)
