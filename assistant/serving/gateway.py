"""One OpenAI-compatible address for all that is served, whichever engine holds it.

Owns passing requests on: each goes to the server that holds its model, a soft prompt is put before its chat, and the
answer comes back under the name that was asked for. Refuses to start engines and to know prompts: a program sends the
whole chat, as `usage` shows it. Whoever listens hears of each exchange when it has ended (`exchange`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from assistant.serving.exchange import Heard, Listener
from assistant.serving.openai_model import OpenAIModel, with_soft_prompt
from assistant.serving.served import ServedModel
from prompts.errors import EngineError

_SECONDS = 600
LOG_HEADER = "x-tunewright-log"
_BROKEN_OFF = "The engine stopped in mid-reply."
_MOST_TOKENS = 256  # in the lines to copy: without a limit vLLM goes on to the end of the context


def _nobody(name: str) -> Listener | None:
    return None


def gateway(
    prefix: str,
    served: Callable[[], dict[str, ServedModel]],
    find: Callable[[str], OpenAIModel],
    listener: Callable[[str], Listener | None] = _nobody,
) -> APIRouter:
    """Routes for `/models` and `/chat/completions` under a prefix such as /v1.

    `served` tells what there is, and `find` who answers under a name; it raises `EngineError` for an unknown one.
    `listener` says who is told of a request to a name once it has ended, if anybody; it must not block. Nobody is told
    of a request with the header `X-Tunewright-Log: no`.
    """
    routes = APIRouter(prefix=prefix)

    @routes.get("/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_listed(model) for model in served().values()]}

    @routes.post("/chat/completions")
    async def chat(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            if not isinstance(body, dict):
                raise ValueError("it is no object")
        except ValueError as error:
            return _error(400, f"The body is no JSON request: {error}.")
        try:
            model = find(str(body.get("model", "")))
        except EngineError as error:
            return _error(404, str(error))
        name = str(body.get("model"))
        hears = None if request.headers.get(LOG_HEADER) == "no" else listener(name)
        return await _passed_on(model, name, body, Heard(hears, body.get("messages")))

    return routes


def _listed(model: ServedModel) -> dict[str, Any]:
    parent = model.base.name if model.artefact else None
    return {"id": model.name, "object": "model", "owned_by": "tunewright", "parent": parent}


async def _passed_on(model: OpenAIModel, name: str, body: dict[str, Any], heard: Heard) -> Response:
    asked = {**body, "model": model.name}
    if isinstance(body.get("messages"), list):
        asked["messages"] = with_soft_prompt(body["messages"], model.soft_prompt)
    # A proxy set in the environment is not for this machine's own ports.
    client = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(_SECONDS, connect=10))
    headers = {"Authorization": f"Bearer {model.api_key}"}
    request = client.build_request("POST", f"{model.url}/chat/completions", json=asked, headers=headers)
    try:
        answer = await client.send(request, stream=True)
    except httpx.TransportError:
        await client.aclose()
        return _unanswered(
            heard, f"The engine of {name} does not answer; if it stopped, it is started again by itself."
        )

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for line in answer.aiter_lines():
                heard.line(line)
                yield _renamed(line, model.name, name).encode() + b"\n"
        except httpx.TransportError:
            heard.failed(_BROKEN_OFF)
            yield f'data: {{"error": {{"message": "{_BROKEN_OFF}", "code": 503}}}}\n\n'.encode()
        finally:  # also where the client leaves: the engine then stops writing
            heard.ended()
            await answer.aclose()
            await client.aclose()

    kind = answer.headers.get("content-type", "application/json")
    if kind.startswith("text/event-stream"):
        return StreamingResponse(lines(), status_code=answer.status_code, media_type="text/event-stream")
    try:
        whole = (await answer.aread()).decode()
    except httpx.TransportError:
        return _unanswered(heard, _BROKEN_OFF)
    finally:
        await answer.aclose()
        await client.aclose()
    heard.body(whole)
    if answer.is_error:
        heard.failed(f"status {answer.status_code}")
    heard.ended()
    return Response(_renamed(whole, model.name, name), answer.status_code, media_type="application/json")


def _unanswered(heard: Heard, message: str) -> JSONResponse:
    heard.failed(message)
    heard.ended()
    return _error(503, message)


def _renamed(text: str, old: str, new: str) -> str:
    """A piece of an answer under the name that was asked for: a soft prompt answers under its base's."""
    if old == new:
        return text
    head, data = ("data: ", text.removeprefix("data: ")) if text.startswith("data: ") else ("", text)
    try:
        record = json.loads(data)
    except ValueError:
        return text
    if isinstance(record, dict) and record.get("model") == old:
        record["model"] = new
    return head + json.dumps(record, ensure_ascii=False)


def _error(code: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code}}, code)


def usage(url: str, model: ServedModel, example: str = "") -> tuple[str, str]:
    """A line for curl and one for Python that ask this model with its own prompt, ready to be copied."""
    messages = [message.model_dump() for message in model.prompt.messages(example or "your text")]
    extra = _held(model)
    asked = {"model": model.name, "messages": messages, "temperature": 0, "max_tokens": _MOST_TOKENS, **extra}
    body = json.dumps(asked, ensure_ascii=False)
    curl = f"curl {url}/chat/completions -H 'Content-Type: application/json' -d {_quoted(body)}"
    more = f",\n    extra_body={extra!r}" if extra else ""
    python = (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{url}", api_key="none")\n'
        "reply = client.chat.completions.create(\n"
        f"    model={model.name!r},\n"
        f"    messages={_wrapped(messages)},\n"
        "    temperature=0,\n"
        f"    max_tokens={_MOST_TOKENS}{more},\n"
        ")\n"
        "print(reply.choices[0].message.content)"
    )
    return curl, python


def _held(model: ServedModel) -> dict[str, Any]:
    allowed = model.prompt.allowed
    if allowed is None:
        return {}
    held = {"choice": list(allowed.choices)} if allowed.choices else {"json": allowed.guided_schema}
    return {"structured_outputs": held}


def _quoted(text: str) -> str:
    """For a shell, within single quotes."""
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"


def _wrapped(messages: Sequence[dict[str, Any]]) -> str:
    rows = "".join(f"        {message!r},\n" for message in messages)
    return f"[\n{rows}    ]"
