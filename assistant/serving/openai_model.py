"""A `ChatModel` over any OpenAI-compatible server: the embedded engine, vLLM, or somebody else's.

Owns the translation between our messages and the protocol. Refuses to know who runs the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from prompts.chat_model import GREEDY, Chunk, Message, Sampling
from prompts.errors import EngineError


@dataclass(frozen=True)
class OpenAIModel:
    """The model `name` behind `url` (which ends in /v1)."""

    name: str
    url: str
    api_key: str = "none"

    async def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        """Stream a reply. Raises `EngineError` where the server fails or refuses."""
        from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

        try:
            # A client belongs to the event loop it was made in, and callers come from several: one for each stream.
            async with AsyncOpenAI(base_url=self.url, api_key=self.api_key, max_retries=0) as client:
                events = await client.chat.completions.create(
                    model=self.name,
                    messages=[{"role": m.role, "content": m.content} for m in messages],  # type: ignore[misc]
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async for event in events:
                    choice = event.choices[0] if event.choices else None
                    yield Chunk(
                        text=(choice.delta.content or "") if choice else "",
                        model=event.model,
                        finish_reason=choice.finish_reason if choice else None,
                        completion_tokens=event.usage.completion_tokens if event.usage else None,
                    )
        except APIConnectionError as error:
            raise EngineError(f"The server at {self.url} does not answer.", hint="Start the engine again.") from error
        except APIStatusError as error:
            raise EngineError(f"{self.name}: the server refused: {error.message}") from error
        except OpenAIError as error:
            raise EngineError(f"{self.name}: {error}") from error
