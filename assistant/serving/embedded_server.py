"""The embedded engine: an OpenAI-compatible server on Transformers and PEFT, where vLLM is not installed.

Run as `python -m assistant.serving.embedded_server FOLDER NAME PORT COMPUTE_JSON`. Imports torch, so it is always a
process of its own. Owns lanes: base and plain LoRA adapters share one model and one batch, each request bound to its
adapter by name; whatever cannot share a batch (DoRA, soft prompts, full models) gets a model and a thread of its own,
and still streams at the same time. Speaks vLLM's calls for adapters.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from peft import PeftConfig, PeftModel
from pydantic import BaseModel

from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError, TunewrightError
from trainers.generate import BASE, Request, can_share_batch, generate
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer

_BATCH = 16
# Requests that come together, as both panes of a comparison do, should share a batch.
_GATHER_SECONDS = 0.02


class Lane:
    """One model and one thread that answers what is queued for it, batch by batch."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.lock = threading.Lock()  # adapters are added between batches, never within one
        self._tokenizer = tokenizer
        self._queue: queue.Queue[tuple[Request, Any]] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, request: Request, on_end: Any) -> None:
        """Queue a request; `on_end(error or None)` is called from the lane's thread."""
        self._queue.put((request, on_end))

    def _work(self) -> None:
        while True:
            jobs = [self._queue.get()]
            time.sleep(_GATHER_SECONDS)
            while len(jobs) < _BATCH and not self._queue.empty():
                jobs.append(self._queue.get())
            with self.lock:
                self._answer(jobs)

    def _answer(self, jobs: list[tuple[Request, Any]]) -> None:
        try:
            generate(self.model, self._tokenizer, [request for request, _ in jobs])
            error = None
        except Exception as caught:
            error = caught
        if error and len(jobs) > 1:  # one request's fault must not be the others'
            for job in jobs:
                self._answer([job])
            return
        for _, on_end in jobs:
            on_end(error)


class Server:
    """The models that are there, by name, and the lane that answers for each."""

    def __init__(self, folder: Path, name: str, compute: Compute) -> None:
        self._folder, self._compute = folder, compute
        self.base_name = name
        self.tokenizer = load_tokenizer(folder)
        self._shared = Lane(load_base(folder, compute), self.tokenizer)
        self._lanes: dict[str, tuple[Lane, str]] = {name: (self._shared, BASE)}

    def names(self) -> dict[str, str | None]:
        """Name to parent; None for the base."""
        return {name: None if name == self.base_name else self.base_name for name in self._lanes}

    def lane(self, name: str) -> tuple[Lane, str]:
        """The lane and the adapter name within it. Raises KeyError for an unknown model."""
        return self._lanes[name]

    def load(self, name: str, path: Path) -> None:
        """Add an adapter or a full model under a name. Raises `EngineError` where it is no such thing."""
        if name in self._lanes:
            raise EngineError(f"A model named {name} is loaded already.")
        if (path / "adapter_config.json").is_file():
            self._lanes[name] = self._load_adapter(name, path)
        elif (path / "config.json").is_file():
            self._lanes[name] = (Lane(load_base(path, self._compute), load_tokenizer(path)), BASE)
        else:
            raise EngineError(f"{path} holds neither an adapter nor a model.")

    def _load_adapter(self, name: str, path: Path) -> tuple[Lane, str]:
        if not can_share_batch(PeftConfig.from_pretrained(path)):
            own = PeftModel.from_pretrained(load_base(self._folder, self._compute), path, adapter_name=name)
            return Lane(own, self.tokenizer), name
        shared = self._shared
        with shared.lock:
            if isinstance(shared.model, PeftModel):
                shared.model.load_adapter(path, adapter_name=name)
            else:
                shared.model = PeftModel.from_pretrained(shared.model, path, adapter_name=name)
        return shared, name

    def unload(self, name: str) -> None:
        """Forget a model. Raises KeyError for an unknown one."""
        lane, adapter = self._lanes.pop(name)
        if lane is self._shared:
            with lane.lock:
                self._drop(adapter)

    def _drop(self, adapter: str) -> None:
        model = self._shared.model
        if len(model.peft_config) > 1:
            model.delete_adapter(adapter)
        else:  # the last one: go back to the untouched base
            self._shared.model = model.unload()


class Turn(BaseModel):
    role: str
    content: str


class ChatBody(BaseModel):
    """The part of OpenAI's chat completion request that is understood here."""

    model: str
    messages: list[Turn]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stream: bool = False

    def sampling(self) -> Sampling:
        limit = self.max_completion_tokens or self.max_tokens or 256
        return Sampling(max_tokens=limit, temperature=self.temperature, top_p=self.top_p)


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

    @app.post("/v1/unload_lora_adapter", response_model=None)
    def unload(body: AdapterBody) -> dict[str, str] | JSONResponse:
        if body.lora_name not in server.names() or body.lora_name == server.base_name:
            return _error(404, f"There is no adapter {body.lora_name}.")
        server.unload(body.lora_name)
        return {"status": "ok"}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatBody) -> JSONResponse | StreamingResponse:
        if body.model not in server.names():
            return _error(404, f"There is no model {body.model}.")
        events = _run(server, body)
        if body.stream:
            return StreamingResponse(_as_sse(events), media_type="text/event-stream")
        return await _whole(events)

    return app


async def _run(server: Server, body: ChatBody) -> AsyncIterator[dict[str, Any]]:
    """The events of one reply, in OpenAI's chunk shape; the last one has the usage, or there is one with an error."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Any]()
    gone = threading.Event()
    lane, adapter = server.lane(body.model)

    def put(item: Any) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, item)

    request = Request(
        messages=[Message.model_validate(turn.model_dump()) for turn in body.messages],
        sampling=body.sampling(),
        adapter=adapter,
        on_text=put,
        cancelled=gone.is_set,
    )
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}
    head["model"] = next(name for name in server.names() if server.lane(name) == (lane, adapter))
    lane.submit(request, lambda error: put(error or request))
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
    server = Server(Path(folder), name, Compute.model_validate_json(compute))
    uvicorn.run(build_app(server), host="127.0.0.1", port=int(port), log_level="info")


if __name__ == "__main__":
    main()
