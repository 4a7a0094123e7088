"""A `ChatModel` over any OpenAI-compatible server: the embedded engine, vLLM, or somebody else's.

Owns the translation between our messages and the protocol. Refuses to know who runs the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assistant.hosts import is_here
from prompts.allowed import Allowed
from prompts.chat_model import GREEDY, Chunk, Message, Sampling
from prompts.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError
    from openai.types.chat import ChatCompletionChunk

SOFT_ROLE = "soft_prompt"


@dataclass(frozen=True)
class OpenAIModel:
    """The model `name` behind `url` (which ends in /v1).

    `soft_prompt` goes before every chat, as vLLM's prompt embeddings: base64 of a tensor that torch saved.

    Our own engines speak vLLM's `structured_outputs`. Others (`is_ours` False) are held to a schema by OpenAI's
    `response_format`; they have no word for choices, so that these are only asked for by the prompt.
    """

    name: str
    url: str
    api_key: str = "none"
    is_ours: bool = True
    soft_prompt: str = ""

    async def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        """Stream a reply. Raises `EngineError` where the server fails or refuses."""
        from openai import APIConnectionError, OpenAIError

        turns: list[Any] = with_soft_prompt([message.model_dump() for message in messages], self.soft_prompt)
        try:
            # A client belongs to the event loop it was made in, and callers come from several: one for each stream.
            async with self._client() as client:
                events = await client.chat.completions.create(
                    model=self.name,
                    messages=turns,
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    seed=sampling.seed,
                    stop=list(sampling.stop) or None,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_body=self._extra(sampling),
                )
                async for event in events:
                    yield _chunk(event)
        except APIConnectionError as error:  # where it breaks off in mid-reply too
            raise EngineError(f"The server at {self.url} does not answer.", hint=self._when_away) from error
        except OpenAIError as error:
            raise EngineError(f"{self.name}: {_reason(error)}") from error

    @property
    def _when_away(self) -> str:
        ours = "Ask again in a minute: an engine that stopped is started again by itself."
        return ours if self.is_ours else "Is it running there?"

    def _extra(self, sampling: Sampling) -> dict[str, Any] | None:
        """What OpenAI's own protocol has no word for."""
        drawn = {"top_k": sampling.top_k} if self.is_ours and sampling.top_k else {}
        return {**drawn, **(self._held_to(sampling.allowed) or {})} or None

    def _held_to(self, allowed: Allowed | None) -> dict[str, Any] | None:
        """The part of the request that says what the reply may be."""
        if allowed is None or (allowed.choices and not self.is_ours):
            return None
        if allowed.choices:
            return {"structured_outputs": {"choice": list(allowed.choices)}}
        if self.is_ours:
            return {"structured_outputs": {"json": allowed.guided_schema}}
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": allowed.schema_object},
            }
        }

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # A proxy set in the environment is not for this machine's own ports; and reading certificates that are not
        # needed takes 30 ms, in which the other pane of a comparison would miss the embedded engine's batch.
        http = DefaultAsyncHttpxClient(trust_env=False, verify=False) if is_here(self.url) else None
        return AsyncOpenAI(base_url=self.url, api_key=self.api_key, max_retries=0, http_client=http)


def _chunk(event: ChatCompletionChunk) -> Chunk:
    choice = event.choices[0] if event.choices else None
    return Chunk(
        text=(choice.delta.content or "") if choice else "",
        model=event.model,
        finish_reason=choice.finish_reason if choice else None,
        completion_tokens=event.usage.completion_tokens if event.usage else None,
        prompt_tokens=event.usage.prompt_tokens if event.usage else None,
    )


def with_soft_prompt(messages: list[dict[str, Any]], soft_prompt: str) -> list[dict[str, Any]]:
    """A chat with a soft prompt before it, as the first turn of a role that `vllm`'s chat template knows."""
    if not soft_prompt:
        return messages
    return [{"role": SOFT_ROLE, "content": [{"type": "prompt_embeds", "data": soft_prompt}]}, *messages]


def _reason(error: OpenAIError) -> str:
    """The server's own sentence, without the client's "Error code: 400 - {...}" around it."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else body
    message = inner.get("message") if isinstance(inner, dict) else inner
    return str(message or error)
