"""Collecting streamed replies, with a scripted model behind the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from prompts.chat_model import GREEDY, Chunk, Message, Sampling, complete, complete_all
from prompts.errors import EngineError


class Echo:
    """Answers with the last message in two pieces, and fails where it is told to."""

    name = "echo"

    def __init__(self) -> None:
        self.in_flight = self.most_in_flight = 0

    async def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        said = messages[-1].content
        if said == "fail":
            raise EngineError("The engine is gone.", hint="Start it again.")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.001 * (9 - len(said)))
        yield Chunk(text=said[:1], model="echo-1")
        yield Chunk(text=said[1:])
        yield Chunk(finish_reason="stop", completion_tokens=len(said))
        self.in_flight -= 1


def asking(*said: str) -> list[list[Message]]:
    return [[Message(role="user", content=text)] for text in said]


def test_a_reply_joins_its_pieces_and_keeps_the_servers_name() -> None:
    reply = asyncio.run(complete(Echo(), asking("hello")[0]))
    assert (reply.text, reply.model, reply.finish_reason, reply.completion_tokens) == ("hello", "echo-1", "stop", 5)


def test_replies_come_back_in_order_with_a_limit_in_flight() -> None:
    model, done = Echo(), []
    said = ["a", "bbbbbbb", "cc", "ddd", "eeeee"]
    replies = asyncio.run(
        complete_all(model, asking(*said), at_once=2, on_reply=lambda index, reply: done.append(index))
    )
    assert [reply.text for reply in replies] == said
    assert model.most_in_flight == 2
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_an_engines_error_arrives_as_itself() -> None:
    with pytest.raises(EngineError, match="The engine is gone"):
        asyncio.run(complete_all(Echo(), asking("a", "fail", "b")))
