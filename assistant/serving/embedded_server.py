"""The embedded engine: an OpenAI-compatible server on Transformers and PEFT, where vLLM is not installed.

Run as `python -m assistant.serving.embedded_server FOLDER NAME PORT COMPUTE_JSON`. Imports torch, so it is always a
process of its own. Owns the process and HTTP, with vLLM's calls for adapters. What is said is `embedded_protocol`, who
answers `embedded_lanes`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import Request as HttpRequest

from assistant.serving.embedded_lanes import Lane, Served, Server, UnknownModelError
from assistant.serving.embedded_protocol import AdapterBody, ChatBody, Shape, failure, invalid, logprobs, usage
from prompts.errors import TunewrightError
from trainers.generate import Request
from trainers.hardware import Compute
from trainers.logprobs import TokenLogprob

# A piece of text and the log-probabilities of the tokens since the last piece; there are none where none are asked for.
Piece = tuple[str, list[TokenLogprob]]
_CLIENT_LEFT = 499  # nginx's code; nobody reads it


def build_app(server: Server) -> FastAPI:
    """The HTTP side. Errors have OpenAI's shape."""
    app = FastAPI(title="Tunewright embedded engine")
    _tell_errors(app)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/version")
    def which() -> dict[str, str]:
        return {"version": version("tunewright"), "engine": "Tunewright embedded engine"}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_card(name, served) for name, served in server.models().items()]}

    @app.post("/v1/load_lora_adapter")
    def load(body: AdapterBody) -> dict[str, Any]:
        proof = server.load(body.lora_name, Path(body.lora_path), body.probes)
        return {"status": "ok", "difference": proof.difference, "noise": proof.noise}

    @app.post("/v1/unload_lora_adapter")
    def unload(body: AdapterBody) -> dict[str, str]:
        server.unload(body.lora_name)
        return {"status": "ok"}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatBody, http: HttpRequest) -> Response:
        lane, adapter = server.lane(body.model)
        request = Request(
            messages=body.messages,
            sampling=body.sampling(),
            adapter=adapter,
            open_ended=body.open_ended,
            top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        )
        pieces = _follow(lane, request)
        answer = _begin(body, request, pieces) if body.stream else _whole(body, request, pieces)
        return await _unless_gone(http, answer)

    return app


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(UnknownModelError)
    def unknown(_: Any, error: UnknownModelError) -> JSONResponse:
        return JSONResponse(failure(404, str(error), "NotFoundError"), 404)

    @app.exception_handler(TunewrightError)
    def refuse(_: Any, error: TunewrightError) -> JSONResponse:
        return JSONResponse(failure(400, str(error)), 400)

    @app.exception_handler(RequestValidationError)
    def refuse_body(_: Any, error: RequestValidationError) -> JSONResponse:
        return JSONResponse(failure(400, invalid(error.errors())), 400)

    @app.exception_handler(Exception)
    def fail(_: Any, error: Exception) -> JSONResponse:
        return JSONResponse(_failed(error), 500)


def _card(name: str, served: Served) -> dict[str, Any]:
    """vLLM's entry of a model, and how far it is from its base."""
    return {
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "tunewright",
        "root": str(served.root),
        "parent": served.parent,
        "max_model_len": served.lane.context,
        "difference": served.proof.difference if served.proof else None,
        "noise": served.proof.noise if served.proof else None,
    }


async def _follow(lane: Lane, request: Request) -> AsyncGenerator[Piece, None]:
    """The pieces of one reply as they come. Raises what the lane raises. Closing it before the end ends the row."""
    loop, pieces, gone, told = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event(), 0

    def put(item: Any) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, item)

    def say(text: str) -> None:
        nonlocal told
        put((text, request.logprobs[told:]))
        told = len(request.logprobs)

    request.on_text, request.on_end, request.cancelled = say, lambda: put(None), gone.is_set
    lane.submit((request, put))
    try:
        while (piece := await pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        gone.set()


async def _unless_gone(http: HttpRequest, answer: Coroutine[Any, Any, Response]) -> Response:
    """The answer; where the client leaves before it is there, its row ends."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(_left(http))
    try:
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=_CLIENT_LEFT)
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _left(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _begin(body: ChatBody, request: Request, pieces: AsyncGenerator[Piece, None]) -> Response:
    """A stream. What fails before its first piece is an error with its own code, as in vLLM."""
    first = await anext(pieces, None)
    return StreamingResponse(_events(body, request, first, pieces), media_type="text/event-stream")


async def _events(
    body: ChatBody, request: Request, piece: Piece | None, pieces: AsyncGenerator[Piece, None]
) -> AsyncIterator[str]:
    shape, told = Shape(body.model), 0
    yield _event(shape.chunk({"role": "assistant", "content": ""}))
    try:
        async with aclosing(pieces):
            while piece is not None:
                text, entries = piece
                told += len(entries)
                yield _event(shape.chunk({"content": text}, **_logprobs(body, entries)))
                piece = await anext(pieces, None)
        yield _event(shape.chunk({}, **_logprobs(body, request.logprobs[told:]), **_end(request)))
        if body.wants_usage:
            yield _event(shape.usage_chunk(_usage(request)))
    except Exception as error:
        yield _event(failure(400, str(error)) if isinstance(error, TunewrightError) else _failed(error))
    yield "data: [DONE]\n\n"


async def _whole(body: ChatBody, request: Request, pieces: AsyncGenerator[Piece, None]) -> Response:
    async with aclosing(pieces):
        async for _ in pieces:
            pass
    told = _logprobs(body, request.logprobs) | _end(request)
    return JSONResponse(Shape(body.model).whole(request.text, _usage(request), **told))


def _event(record: dict[str, Any]) -> str:
    return f"data: {json.dumps(record)}\n\n"


def _logprobs(body: ChatBody, entries: list[TokenLogprob]) -> dict[str, Any]:
    return {"logprobs": logprobs(entries)} if body.logprobs and entries else {}


def _end(request: Request) -> dict[str, Any]:
    return {"finish_reason": request.finish_reason, "stop_reason": request.stopped_by or None}


def _usage(request: Request) -> dict[str, int]:
    return usage(request.prompt_tokens, request.tokens)


def _failed(error: Exception) -> dict[str, Any]:
    reason = " ".join(str(error).split())[:300]
    return failure(500, f"The reply failed: {type(error).__name__}: {reason}", "InternalServerError")


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
