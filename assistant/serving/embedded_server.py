"""The embedded engine: an OpenAI-compatible server on Transformers and PEFT, where vLLM is not installed.

Run as `python -m assistant.serving.embedded_server FOLDER NAME PORT COMPUTE_JSON`. Imports torch, so it is always a
process of its own. Owns lanes: base and plain LoRA adapters share one model and one batch, each request bound to its
adapter by name; whatever cannot share a batch (DoRA, soft prompts, full models) gets a model and a thread of its own,
and still streams at the same time. Speaks vLLM's calls for adapters.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from peft import PeftConfig
from pydantic import BaseModel, ConfigDict, Field
from transformers import AutoConfig, AutoModelForCausalLM

from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError, TunewrightError
from trainers.generate import BASE, Request, can_share_batch, generate
from trainers.hardware import Compute
from trainers.modeling import attach, load_base, load_tokenizer
from trainers.prefixes import Prefixes

_LOG = logging.getLogger("uvicorn.error")
_BATCH = 16
# Requests that come together, as both panes of a comparison do, should share a batch.
_GATHER_SECONDS = 0.05


# A request, and what is called where it fails. Text and end go through the request's own callbacks.
Job = tuple[Request, Callable[[Exception], None]]


class Lane:
    """One model and one thread that answers what is queued for it, batch by batch."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.lock = threading.Lock()  # adapters are added between batches, never within one
        self.prefixes = Prefixes()
        self._tokenizer = tokenizer
        self._queue: queue.Queue[Job] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a request. Its callbacks are called from the lane's thread."""
        self._queue.put(job)

    def close(self) -> None:
        """Let go of the model. What is still queued gets an error."""
        with self.lock:
            self.prefixes.clear()
            self.model = None

    def _work(self) -> None:
        while True:
            jobs = [self._queue.get()]
            time.sleep(_GATHER_SECONDS)
            while len(jobs) < _BATCH and not self._queue.empty():
                jobs.append(self._queue.get())
            with self.lock:
                self._answer(jobs)

    def _answer(self, jobs: list[Job]) -> None:
        error: Exception = EngineError("The reply was cut off.", hint="Ask again.")
        try:
            if self.model is None:
                raise EngineError("This model was unloaded.", hint="Load it again.")
            generate(self.model, self._tokenizer, [request for request, _ in jobs], prefixes=self.prefixes)
        except Exception as caught:
            error = caught
            if len(jobs) > 1 and not any(request.tokens for request, _ in jobs):
                for job in jobs:  # one request's fault must not be the others'
                    self._answer([job])
                return
            if not isinstance(error, TunewrightError):
                _LOG.error("A batch of %d failed", len(jobs), exc_info=error)
        for request, on_error in jobs:
            if not request.finish_reason:  # the others have ended already, each when it was done
                on_error(error)


class Server:
    """The models that are there, by name, and the lane that answers for each."""

    def __init__(self, folder: Path, name: str, compute: Compute) -> None:
        self._folder, self._compute = folder, compute
        self.base_name = name
        self.tokenizer = load_tokenizer(folder)
        self._shared = Lane(load_base(folder, compute), self.tokenizer)
        self._lanes: dict[str, tuple[Lane, str]] = {name: (self._shared, BASE)}
        self._changing = threading.Lock()
        self._numbers = itertools.count(1)

    def names(self) -> dict[str, str | None]:
        """Name to parent; None for the base."""
        return {name: None if name == self.base_name else self.base_name for name in list(self._lanes)}

    def lane(self, name: str) -> tuple[Lane, str]:
        """The lane and the adapter name within it. Raises `EngineError` for an unknown model."""
        try:
            return self._lanes[name]
        except KeyError:
            raise _unknown(name) from None

    def load(self, name: str, path: Path) -> None:
        """Add an adapter or a full model under a name. Raises `EngineError` where it is no such thing."""
        with self._changing:
            if name in self._lanes:
                raise EngineError(f"A model named {name} is loaded already.", hint="Unload it first.")
            try:
                self._lanes[name] = self._load(path)
            except TunewrightError:
                raise
            except Exception as error:
                _LOG.error("Loading %s failed", path, exc_info=error)
                reason = " ".join(str(error).split())[:300]
                raise EngineError(f"{path} cannot be loaded: {reason}", hint="Was it made for this base?") from error

    def _load(self, path: Path) -> tuple[Lane, str]:
        if (path / "adapter_config.json").is_file():
            return self._load_adapter(path)
        if (path / "config.json").is_file():
            return Lane(load_base(path, self._compute), load_tokenizer(path)), BASE
        raise EngineError(f"{path} holds neither an adapter nor a model.", hint="Was the run finished?")

    def _load_adapter(self, path: Path) -> tuple[Lane, str]:
        # Not the served name: PEFT builds module names of it, and those may hold no dot.
        adapter = f"adapter{next(self._numbers):04}"
        config = PeftConfig.from_pretrained(path)
        if not can_share_batch(config):
            _check_width(config, self._shared.model.config)
            return Lane(attach(load_base(self._folder, self._compute), path, adapter), self.tokenizer), adapter
        # An adapter that does not fit fails half way in and leaves its base changed. So it is first put on a skeleton.
        attach(_skeleton(self._folder), path, adapter)
        with self._shared.lock:
            self._shared.prefixes.clear()
            self._shared.model = attach(self._shared.model, path, adapter)
        return self._shared, adapter

    def unload(self, name: str) -> None:
        """Forget a model. Raises `EngineError` for an unknown one and for the base."""
        with self._changing:
            if name == self.base_name:
                raise EngineError(f"{name} is the base model.", hint="Stop the engine instead.")
            lane, adapter = self.lane(name)
            del self._lanes[name]
            if lane is not self._shared:
                lane.close()
                return
            with lane.lock:
                lane.prefixes.clear()
                lane.model = _without(lane.model, adapter)


def _unknown(name: str) -> EngineError:
    return EngineError(f"There is no model named {name} here.", hint="Load it first.")


def _skeleton(folder: Path) -> Any:
    """The base model without weights: it takes no memory, and its shapes say whether an adapter fits."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def _check_width(config: Any, base: Any) -> None:
    """A soft prompt of another width would only fail when it is asked."""
    width = getattr(config, "token_dim", None)
    if width and width != base.get_text_config().hidden_size:
        raise EngineError(
            f"The soft prompt is {width} wide and this base model {base.get_text_config().hidden_size}.",
            hint="Use the base it was made for.",
        )


def _without(model: Any, adapter: str) -> Any:
    """The shared model without one adapter; without its last one, the untouched base."""
    if len(model.peft_config) == 1:
        return model.unload()
    other = next(name for name in model.peft_config if name != adapter)
    model.set_adapter(other, inference_mode=True)  # rows name their adapters, but PEFT warns when the active one goes
    model.delete_adapter(adapter)
    return model


class Structured(BaseModel):
    """vLLM's `structured_outputs`, as far as it is understood here; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid")

    choice: tuple[str, ...] = ()
    json_: dict[str, Any] | str | None = Field(None, alias="json")


class ResponseFormat(BaseModel):
    """OpenAI's `response_format`; of types other than `json_schema` only `text` asks for nothing."""

    type: Literal["text", "json_schema"]
    json_schema: dict[str, Any] = {}


def as_json(schema: dict[str, Any] | str) -> str:
    return schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)


class ChatBody(BaseModel):
    """The part of OpenAI's chat completion request that is understood here."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stream: bool = False
    structured_outputs: Structured | None = None
    response_format: ResponseFormat | None = None

    def sampling(self) -> Sampling:
        limit = self.max_completion_tokens or self.max_tokens or 256
        return Sampling(max_tokens=limit, temperature=self.temperature, top_p=self.top_p, allowed=self._allowed())

    def _allowed(self) -> Allowed | None:
        """What the reply is held to, in vLLM's words or in OpenAI's."""
        held = self.structured_outputs or Structured()
        schema = held.json_ or (self.response_format.json_schema.get("schema") if self.response_format else None)
        if not held.choice and schema is None:
            return None
        try:
            return Allowed(choices=held.choice, json_schema="" if schema is None else as_json(schema))
        except ValueError as error:
            raise EngineError(
                f"The reply cannot be held to this: {error}.", hint="Give choices or a schema."
            ) from error


class AdapterBody(BaseModel):
    lora_name: str
    lora_path: str = ""


def build_app(server: Server) -> FastAPI:
    """The HTTP side. Errors have OpenAI's shape."""
    app = FastAPI(title="Tunewright embedded engine")

    @app.exception_handler(TunewrightError)
    def refuse(_: Any, error: TunewrightError) -> JSONResponse:
        return _error(400, str(error))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        listed = [{"id": name, "object": "model", "parent": parent} for name, parent in server.names().items()]
        return {"object": "list", "data": listed}

    @app.post("/v1/load_lora_adapter")
    def load(body: AdapterBody) -> dict[str, str]:
        server.load(body.lora_name, Path(body.lora_path))
        return {"status": "ok"}

    @app.post("/v1/unload_lora_adapter")
    def unload(body: AdapterBody) -> dict[str, str]:
        server.unload(body.lora_name)
        return {"status": "ok"}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatBody) -> JSONResponse | StreamingResponse:
        events = _run(*server.lane(body.model), body, body.sampling())
        if body.stream:
            return StreamingResponse(_as_sse(events), media_type="text/event-stream")
        return await _whole(events)

    return app


async def _run(lane: Lane, adapter: str, body: ChatBody, sampling: Sampling) -> AsyncIterator[dict[str, Any]]:
    """The events of one reply, in OpenAI's chunk shape; the last one has the usage, or there is one with an error."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Any]()
    gone = threading.Event()

    def put(item: Any) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, item)

    request = Request(
        messages=body.messages,
        sampling=sampling,
        adapter=adapter,
        on_text=put,
        on_end=lambda: put(request),
        cancelled=gone.is_set,
    )
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}
    head["model"] = body.model
    lane.submit((request, put))
    try:
        while True:
            piece = await pieces.get()
            if isinstance(piece, Exception):
                yield {"error": {"message": str(piece), "type": type(piece).__name__, "code": 400}}
                return
            if isinstance(piece, Request):
                yield {**head, "choices": [_choice({}, request.finish_reason)]}
                yield {**head, "choices": [], "usage": {"completion_tokens": request.tokens}}
                return
            yield {**head, "choices": [_choice({"role": "assistant", "content": piece}, None)]}
    finally:
        gone.set()


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def _as_sse(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    async for event in events:
        yield f"data: {json.dumps(event)}\n\n"
    yield "data: [DONE]\n\n"


async def _whole(events: AsyncIterator[dict[str, Any]]) -> JSONResponse:
    text, reason, last = "", None, {}
    async for event in events:
        if "error" in event:
            return _error(400, event["error"]["message"])
        for choice in event["choices"]:
            text += choice["delta"].get("content", "")
            reason = choice["finish_reason"] or reason
        last = event
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": reason}]
    return JSONResponse({**last, "object": "chat.completion", "choices": choices})


def _error(code: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code}}, code)


def main() -> None:
    folder, name, port, compute = sys.argv[1:]
    try:
        server = Server(Path(folder), name, Compute.model_validate_json(compute))
    except TunewrightError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    # A stream that is still open must not hold up the end.
    uvicorn.run(build_app(server), host="127.0.0.1", port=int(port), log_level="info", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
