"""The keystone: one small protocol for anything that answers a chat.

Owns messages, sampling parameters and the `ChatModel` protocol. Refuses to know who stands behind it: the
embedded engine, vLLM, a remote endpoint, base, tuned and scripted models all look the same from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from prompts.allowed import Allowed

Role = Literal["system", "user", "assistant"]


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str


class Sampling(BaseModel):
    """How a reply is drawn. Temperature 0 is greedy, `top_k` 0 takes all tokens, and a reply ends before a text of
    `stop`; the same `seed` draws the same reply again. `allowed` is what the engine holds the reply to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    seed: int | None = Field(None, ge=0)
    stop: tuple[str, ...] = Field((), max_length=4)
    allowed: Allowed | None = None


GREEDY = Sampling()


class Chunk(BaseModel):
    """A piece of a streamed reply. `model` is the name that the server gave, not the one that was asked for."""

    model_config = ConfigDict(frozen=True)

    text: str = ""
    model: str = ""
    finish_reason: str | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None


class Reply(BaseModel):
    """A whole reply."""

    model_config = ConfigDict(frozen=True)

    text: str
    model: str
    finish_reason: str | None
    completion_tokens: int | None
    prompt_tokens: int | None = None


class ChatModel(Protocol):
    """Anything that answers a chat, one piece at a time."""

    @property
    def name(self) -> str:
        """The name under which the model is asked for."""
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        """Stream a reply. Raises `EngineError` where the model cannot be reached."""
        ...


async def complete(model: ChatModel, messages: Sequence[Message], sampling: Sampling = GREEDY) -> Reply:
    """The whole reply of a streamed answer."""
    text, name, reason, tokens, read = "", "", None, None, None
    async for chunk in model.stream(messages, sampling):
        text += chunk.text
        name = chunk.model or name
        reason = chunk.finish_reason or reason
        tokens = chunk.completion_tokens or tokens
        read = chunk.prompt_tokens or read
    return Reply(text=text, model=name, finish_reason=reason, completion_tokens=tokens, prompt_tokens=read)


async def complete_all(
    model: ChatModel,
    prompts: Sequence[Sequence[Message]],
    sampling: Sampling = GREEDY,
    *,
    at_once: int = 8,
    on_reply: Callable[[int, Reply], None] = lambda index, reply: None,
) -> list[Reply]:
    """Answer every prompt, `at_once` of them in flight, and return the replies in order.

    `on_reply` gets each one's index and reply as it comes. The first error stops the others and is raised as itself,
    not in a group.
    """
    gate = asyncio.Semaphore(at_once)

    async def one(index: int, messages: Sequence[Message]) -> Reply:
        async with gate:
            reply = await complete(model, messages, sampling)
        on_reply(index, reply)
        return reply

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, messages)) for index, messages in enumerate(prompts)]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
